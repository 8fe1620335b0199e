"""One run of the demonstration: start, land, watch, prove, summarise, end."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from infra import archive, publication, settings
from infra.demonstration import input as landed_input
from infra.demonstration import run as chain_run
from infra.demonstration import summary, verification
from infra.embedded import installation
from infra.stages.workspace import Workspace


class Progress(Protocol):
    """Who shows how far it is."""

    def announce(self, text: str) -> None:
        """Say one thing that begins."""

    def stages(self, states: list[chain_run.StageState]) -> None:
        """Show the state of every stage."""


def run(
    chosen: settings.Settings, *, data: Path | None, with_scheduler: bool, seed: int, progress: Progress
) -> summary.Summary:
    """Run the main job on modelled input or on the files of `data`."""
    started = time.monotonic()
    files = _input(data, seed, progress)
    with installation.running(chosen, with_scheduler=with_scheduler, announce=progress.announce) as running:
        workspace = running.workspace
        before = workspace.ledger.last_sequence()
        progress.announce("landing the input")
        landed = land(workspace, files)
        keys = {archive.landing_version(file.key, file.body) for file in files}
        if running.scheduler is not None:
            progress.announce(f"the chain runs; watch it at {running.scheduler.url}")
            chain_run.run_scheduled(workspace, running.scheduler, progress.stages)
        else:
            chain_run.run_plain(workspace, progress.stages)
        publication.deliver_outbox(
            store=workspace.store, catalog=workspace.catalog, catalogue_bucket=workspace.settings.bucket("catalogue")
        )
        progress.announce("checking every product in the store")
        return summary.Summary(
            counts=summary.counts(workspace),
            missing_sectors=summary.missing_sectors(workspace),
            products_per_sector=dict(workspace.catalog.counts().sectors),
            seconds_per_stage=workspace.ledger.seconds_per_stage(),
            troubles=summary.troubles(workspace.ledger, landed=keys, after=before),
            verification=verification.verify(workspace),
            new_outcomes=workspace.ledger.last_sequence() - before,
            landed=landed,
            left_alone=landed_input.left_alone(data) if data is not None else [],
            seconds=time.monotonic() - started,
            addresses=_addresses(running),
        )


def _input(data: Path | None, seed: int, progress: Progress) -> list[landed_input.LandedFile]:
    if data is not None:
        return list(landed_input.from_folder(data))
    from infra.demonstration import modelled_input

    progress.announce("modelling a pass and a scene")
    return list(modelled_input.files(seed))


def land(workspace: Workspace, files: Iterable[landed_input.LandedFile]) -> dict[str, int]:
    """Put files into the landing bucket; returns how many were new and how many were there already."""
    counted = {"new": 0, "already there": 0}
    for file in files:
        key = archive.landing_version(file.key, file.body)
        stored = workspace.store.put_new(
            workspace.settings.bucket("landing"), key, file.body, media_type="application/octet-stream"
        )
        counted["already there" if stored.existed else "new"] += 1
    return counted


def _addresses(running: installation.Installation) -> dict[str, str]:
    addresses = {"state": str(running.settings.home)}
    if running.scheduler is not None:
        addresses["Airflow"] = f"{running.scheduler.url} while it runs: `make up` keeps it running"
    return addresses
