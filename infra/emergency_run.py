"""An emergency request answered here and now, through the stages the scheduler runs."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from infra import archive, ledger, object_store, publication
from infra.stages import chain, emergency, execution, landing
from infra.stages.workspace import Workspace

Announce = Callable[[str], None]
_MADE = {"done", "partial"}


@dataclass(frozen=True)
class Answer:
    """What became of one product of one scene."""

    scene: str
    """Key of the scene in the landing bucket."""
    product: str
    """Product code."""
    state: str
    """State of the unit: `done`, `partial`, `not_applicable`, `quarantined`, `failed`, `interrupted`, `waiting`."""
    reason: str | None
    """Why it is not plainly done."""
    item: str | None
    """Item of the catalogue, None where nothing was published."""
    alerts: tuple[str, ...]
    """Alerts published with it."""
    seconds: float
    """Time the product took [s]."""


@dataclass(frozen=True)
class Reply:
    """All answers to a request."""

    request: str
    """Identity of the request."""
    answers: tuple[Answer, ...]
    """One per scene and product."""
    unreadable: tuple[tuple[str, str], ...]
    """Landed scenes that could not be read, with the reason."""
    missing: tuple[str, ...]
    """Products asked for that no scene gave."""
    seconds: float
    """From the request to the last publication [s]."""

    @property
    def made(self) -> bool:
        """Whether any product was published and none went wrong on the way."""
        trouble = any(one.state not in {*_MADE, "not_applicable"} for one in self.answers)
        return any(one.item for one in self.answers) and not trouble and not self.unreadable

    @property
    def succeeded(self) -> bool:
        """Whether every product asked for was published, and nothing went wrong on the way."""
        return self.made and not self.missing


def land(files: Iterable[Path], workspace: Workspace, *, source: str = "operator") -> list[str]:
    """Put scenes into the landing bucket, as any source does.

    Parameters
    ----------
    files : iterable of Path
        Scenes.
    workspace : Workspace
        Stores of the installation.
    source : str
        Folder of the landing bucket.

    Returns
    -------
    list of str
        Their keys.
    """
    bucket, keys = workspace.settings.bucket("landing"), []
    for file in files:
        digest = object_store.digest_of(file)
        name = f"{archive.short(digest.sha256)}-{file.name}"
        key = archive.landing_key("landed_scene", source, "emergency", name)
        workspace.store.put_new(bucket, key, file, media_type="application/octet-stream")
        keys.append(key)
    return keys


def answer(asked: emergency.Request, workspace: Workspace, announce: Announce) -> Reply:
    """Register a request and do everything it wants of the scenes that have landed.

    Parameters
    ----------
    asked : Request
        The request.
    workspace : Workspace
        Stores of the installation.
    announce : callable
        Told what begins.

    Returns
    -------
    Reply
        What was made, with the reasons where it was not.
    """
    began, before = time.monotonic(), workspace.ledger.last_sequence()
    identity = emergency.register(asked, workspace)
    announce("looking at what has landed")
    landing.register(workspace, kind="landed_scene")
    _run("survey_scenes", workspace)
    units = [unit for unit in _due("respond_emergency", workspace) if str(unit.variant).startswith(f"{identity}.")]
    for number, unit in enumerate(units, 1):
        announce(f"{number} of {len(units)}: {str(unit.variant).partition('.')[2]} of {_scene_of(unit)}")
        _run_units("respond_emergency", [unit], workspace)
    announce("publishing")
    _run_units("publish_catalogue", _due("publish_catalogue", workspace, identity), workspace)
    publication.deliver_outbox(
        store=workspace.store, catalog=workspace.catalog, catalogue_bucket=workspace.settings.bucket("catalogue")
    )
    answers = tuple(_answers(identity, workspace))
    given = {one.product for one in answers if one.state in _MADE and one.item}
    return Reply(
        identity,
        answers,
        tuple(_unreadable(workspace, after=before)),
        tuple(code for code in asked.products if code not in given),
        time.monotonic() - began,
    )


def _due(stage: str, workspace: Workspace, group: str | None = None) -> list[execution.Unit]:
    return execution.due_units(chain.stage(stage), workspace.ledger, group=group)


def _run(stage: str, workspace: Workspace) -> None:
    _run_units(stage, _due(stage, workspace), workspace)


def _run_units(stage: str, units: list[execution.Unit], workspace: Workspace) -> None:
    """Do units one by one: what one of them fails on stands in its outcome and keeps no other from being made."""
    for unit in units:
        try:
            execution.run_units(chain.stage(stage), [unit], workspace)
        except execution.StageFailedError:
            continue


def _scene_of(unit: execution.Unit) -> str:
    return archive.landing_name(str(unit.granules[0].attributes["key"]))


def _answers(identity: str, workspace: Workspace) -> list[Answer]:
    facts = {granule.id: granule.attributes for granule in workspace.ledger.granules([emergency.FACTS])}
    found = []
    for (_stage, unit), outcome in workspace.ledger.latest_outcomes("respond_emergency").items():
        scene, _, variant = unit.partition("/")
        asked, _, product = variant.partition(".")
        if asked == identity and scene in facts:
            found.append(_answer(str(facts[scene]["key"]), product, outcome, workspace))
    return sorted(found, key=lambda one: (one.scene, one.product))


def _answer(scene: str, product: str, outcome: ledger.Outcome, workspace: Workspace) -> Answer:
    item = outcome.report.get("item")
    published = item is not None and workspace.catalog.item(item) is not None
    return Answer(
        scene=scene,
        product=product,
        state=outcome.state,
        reason=outcome.reason,
        item=item if published else None,
        alerts=tuple(outcome.report.get("alerts", ())),
        seconds=outcome.seconds,
    )


def _unreadable(workspace: Workspace, *, after: int) -> list[tuple[str, str]]:
    outcomes = workspace.ledger.latest_outcomes("survey_scenes")
    return [
        (unit, outcome.reason or "")
        for (_stage, unit), outcome in outcomes.items()
        if outcome.sequence > after and outcome.state in {"quarantined", "failed", "interrupted"}
    ]
