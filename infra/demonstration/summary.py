"""What a demonstration run found, made and proved; for people as a table, for programs as a mapping."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from infra import archive, ledger
from infra.demonstration.verification import Verification
from infra.stages import chain
from infra.stages.workspace import Workspace

LAND_SECTORS = ("natural-resources", "rural-revitalization", "ecology", "transport", "emergency")
SECTORS = ("weather", *LAND_SECTORS)


@dataclass(frozen=True)
class Summary:
    """Result of one run of the demonstration."""

    counts: dict[str, int]
    missing_sectors: list[str]
    products_per_sector: dict[str, int]
    seconds_per_stage: dict[str, float]
    troubles: list[dict[str, str]]
    verification: Verification
    new_outcomes: int
    landed: dict[str, int]
    left_alone: list[str]
    seconds: float
    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether everything that landed was used and every product is proved."""
        return not self.missing_sectors and not self.troubles and not self.verification.problems

    def as_mapping(self) -> dict[str, Any]:
        """The summary as one object."""
        return {
            "succeeded": self.succeeded,
            "counts": self.counts,
            "missing_sectors": self.missing_sectors,
            "products_per_sector": self.products_per_sector,
            "seconds_per_stage": {name: round(value, 3) for name, value in self.seconds_per_stage.items()},
            "landed": self.landed,
            "left_alone": self.left_alone,
            "new_outcomes": self.new_outcomes,
            "troubles": self.troubles,
            "verified": self.verification.checked,
            "problems": list(self.verification.problems),
            "seconds": round(self.seconds, 1),
            "addresses": self.addresses,
        }

    def show(self, console: Console) -> None:
        """Print the summary."""
        console.print(self._counts_table())
        console.print(self._stage_table())
        for trouble in self.troubles:
            console.print(f"[red]{trouble['state']}[/red] {_words(trouble)}", soft_wrap=True)
        if self.left_alone:
            first = ", ".join(self.left_alone[:3])
            console.print(
                escape(f"{len(self.left_alone)} files are no input of the main job: {first} ..."), soft_wrap=True
            )
        for name, address in self.addresses.items():
            console.print(f"{name:14s}{address}", highlight=False, soft_wrap=True)
        console.print(self._verdict())

    def _counts_table(self) -> Table:
        table = Table(
            "what",
            Column("number", justify="right"),
            title="what arrived and what left",
            title_justify="left",
            show_header=False,
        )
        for name, count in self.counts.items():
            table.add_row(name, str(count))
        for sector in SECTORS:
            table.add_row(f"products: {sector}", str(self.products_per_sector.get(sector, 0)))
        return table

    def _stage_table(self) -> Table:
        table = Table(
            "stage", Column("seconds", justify="right"), title="time spent in the stages", title_justify="left"
        )
        for stage in chain.STAGES:
            table.add_row(stage.name, f"{self.seconds_per_stage.get(stage.name, 0.0):.2f}")
        return table

    def _verdict(self) -> str:
        checked = f"{self.verification.checked} files of {self.verification.items} items checked"
        news = "nothing new to do" if not self.new_outcomes else f"{self.new_outcomes} units done"
        colour, word = ("green", "success") if self.succeeded else ("red", "NOT complete")
        absent = f"; no product for {', '.join(self.missing_sectors)}" if self.missing_sectors else ""
        return f"[bold {colour}]{word}[/]: {checked}, {news}, {self.seconds:.1f} s{absent}"


def _words(trouble: dict[str, str]) -> str:
    return escape(f"{trouble['stage']} {trouble['unit']}: {trouble['reason']}")


def counts(workspace: Workspace) -> dict[str, int]:
    """How much of everything the ledger and the catalogue hold."""
    held = workspace.ledger.granule_counts()
    received = [outcome.report for outcome in workspace.ledger.latest_outcomes("decode_recordings").values()]
    packets = [granule.attributes["packets"] for granule in workspace.ledger.granules(["completeness"])]
    return {
        "recordings": sum("frames" in report for report in received),
        "frames": sum(report.get("frames", 0) for report in received),
        "frames missing": sum(report.get("missing_frames", 0) for report in received),
        "packets": sum(packets),
        "occultations": held.get("level1b", 0),
        "profiles": held.get("profile", 0),
        "days of profiles": held.get("profile_aggregate", 0),
        "scenes": held.get("scene", 0),
        "fused scenes": held.get("fused", 0),
        "auxiliary files": held.get("auxiliary", 0),
        "catalogue items": workspace.catalog.counts().states.get("published", 0),
    }


def missing_sectors(workspace: Workspace) -> list[str]:
    """Sectors that should have a product, by what has arrived, and have none."""
    held = workspace.ledger.granule_counts()
    weather = any(held.get(kind) for kind in ("landed_occultation", "level0_occultation", "level1b"))
    land = any(held.get(kind) for kind in ("landed_scene", "level0_strip", "scene"))
    expected = (("weather",) if weather else ()) + (LAND_SECTORS if land else ())
    made = workspace.catalog.counts().sectors
    return [sector for sector in expected if not made.get(sector)]


def troubles(book: ledger.Ledger, *, landed: Collection[str], after: int) -> list[dict[str, str]]:
    """Units that did not end well, each with its reason.

    Those count that read a file of this run (`landed`: landing keys), stand downstream of one, or were done since
    `after`; what other runs left in the same installation is theirs to report.
    """
    groups = _groups_of(book, landed)
    return [
        {"stage": outcome.stage, "unit": outcome.unit, "state": outcome.state, "reason": outcome.reason or ""}
        for outcome in book.latest_outcomes().values()
        if outcome.state not in {"done", "not_applicable"}
        and (outcome.unit in landed or outcome.group in groups or outcome.sequence > after)
    ]


def _groups_of(book: ledger.Ledger, landed: Collection[str]) -> set[str]:
    """Groups with a granule made from one of the landed files: its identity or group carries the content's hash."""
    marks = {archive.landing_mark(key) for key in landed}
    kinds = {kind for stage in chain.STAGES for kind in stage.outputs}
    return {
        granule.group
        for granule in book.granules(kinds)
        if any(mark in granule.id or mark in granule.group for mark in marks)
    }
