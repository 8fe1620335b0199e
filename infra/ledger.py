"""The ledger: every granule the system holds and the outcome of every stage on it, append-only.

Facts are stored, work is computed. A unit of a stage is due when the granules it would read now are not those of its
last finished outcome; so nothing is lost when an event is, order of arrival does not matter and re-running is harmless.
"""

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from infra import database

metadata = sa.MetaData()

granule_table = sa.Table(
    "granule",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("group_id", sa.Text, nullable=False),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("current", sa.Boolean, nullable=False),
    sa.Column("registered_at", sa.Text, nullable=False),
    sa.UniqueConstraint("kind", "id", "sha256"),
    sa.Index(
        "granule_current",
        "kind",
        "id",
        unique=True,
        sqlite_where=sa.text("current"),
        postgresql_where=sa.text("current"),
    ),
    sa.Index("granule_group", "kind", "group_id"),
)

outcome_table = sa.Table(
    "outcome",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("group_id", sa.Text, nullable=False),
    sa.Column("inputs_sha256", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("report", sa.JSON, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Text, nullable=False),
    sa.Index("outcome_latest", "stage", "unit", "sequence"),
)

State = Literal["done", "partial", "quarantined", "not_applicable", "waiting", "interrupted", "failed"]
FINISHED: frozenset[str] = frozenset({"done", "partial", "quarantined", "not_applicable"})


@dataclass(frozen=True)
class Granule:
    """One file the system holds, by identity (kind, id) and content (sha256)."""

    kind: str
    id: str
    sha256: str
    group: str
    bucket: str
    key: str
    size: int
    attributes: dict[str, Any] = field(default_factory=dict)
    registered_at: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a stage made of one unit."""

    stage: str
    unit: str
    group: str
    inputs_sha256: str
    state: State
    reason: str | None = None
    report: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    finished_at: str = ""
    sequence: int = 0


def digest_of(granules: Iterable[Granule]) -> str:
    """SHA-256 that changes whenever the set of granules does, whatever their order."""
    rows = sorted([granule.kind, granule.id, granule.sha256] for granule in granules)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def utc_now() -> str:
    """Time of a ledger row, ISO 8601 in UTC. It never enters a product."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


class Ledger:
    """Granules and outcomes in the database behind `engine`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def record(self, outcome: Outcome, granules: Sequence[Granule] = ()) -> None:
        """Add the granules a unit produced and its outcome, in one transaction."""
        with self._engine.begin() as connection:
            for granule in granules:
                _register(connection, granule)
            connection.execute(outcome_table.insert(), [_outcome_row(outcome)])

    def register(self, granules: Iterable[Granule]) -> int:
        """Add granules that arrived from outside; returns how many were new."""
        with self._engine.begin() as connection:
            return sum([_register(connection, granule) for granule in granules])

    def granules(
        self, kinds: Iterable[str], *, group: str | None = None, ids: Iterable[str] | None = None
    ) -> list[Granule]:
        """Current granules of `kinds`, in order of identity."""
        table = granule_table
        query = sa.select(table).where(table.c.current, table.c.kind.in_(list(kinds)))
        if group is not None:
            query = query.where(table.c.group_id == group)
        if ids is not None:
            query = query.where(table.c.id.in_(list(ids)))
        with database.reading(self._engine) as connection:
            rows = connection.execute(query.order_by(table.c.kind, table.c.id)).mappings().all()
        return [_granule(row) for row in rows]

    def contents(self, kind: str) -> set[tuple[str, str]]:
        """All (id, sha256) ever registered of `kind`."""
        query = sa.select(granule_table.c.id, granule_table.c.sha256).where(granule_table.c.kind == kind)
        with database.reading(self._engine) as connection:
            return {(row.id, row.sha256) for row in connection.execute(query)}

    def latest_outcomes(self, stage: str | None = None) -> dict[tuple[str, str], Outcome]:
        """Newest outcome of every (stage, unit)."""
        table = outcome_table
        newest = sa.select(sa.func.max(table.c.sequence)).group_by(table.c.stage, table.c.unit)
        query = sa.select(table).where(table.c.sequence.in_(newest)).order_by(table.c.sequence)
        if stage is not None:
            query = query.where(table.c.stage == stage)
        with database.reading(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return {(row["stage"], row["unit"]): _outcome(row) for row in rows}

    def failures(self, stage: str, unit: str, inputs_sha256: str) -> int:
        """Number of times `stage` failed on `unit` with just these inputs."""
        table = outcome_table
        same = (table.c.stage == stage) & (table.c.unit == unit) & (table.c.inputs_sha256 == inputs_sha256)
        query = sa.select(sa.func.count()).select_from(table).where(same, table.c.state == "failed")
        with database.reading(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def last_sequence(self) -> int:
        """Sequence of the newest outcome, so that a caller can tell what happened since."""
        query = sa.select(sa.func.coalesce(sa.func.max(outcome_table.c.sequence), 0))
        with database.reading(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def granule_counts(self) -> dict[str, int]:
        """Number of current granules of every kind."""
        table = granule_table
        query = sa.select(table.c.kind, sa.func.count()).where(table.c.current).group_by(table.c.kind)
        with database.reading(self._engine) as connection:
            return {kind: int(count) for kind, count in connection.execute(query)}

    def seconds_per_stage(self) -> dict[str, float]:
        """Time spent in every stage over all its outcomes [s]."""
        totals: dict[str, float] = defaultdict(float)
        query = sa.select(outcome_table.c.stage, outcome_table.c.seconds)
        with database.reading(self._engine) as connection:
            for stage, seconds in connection.execute(query):
                totals[stage] += seconds
        return dict(totals)


def _register(connection: sa.Connection, granule: Granule) -> bool:
    table = granule_table
    same = (table.c.kind == granule.kind) & (table.c.id == granule.id)
    held = set(connection.execute(sa.select(table.c.sha256).where(same)).scalars())
    connection.execute(table.update().where(same, table.c.current).values(current=False))
    if granule.sha256 in held:
        # The content is known; where it lies now and what is said of it may have changed.
        place = {name: getattr(granule, name) for name in ("bucket", "key", "attributes")}
        content = same & (table.c.sha256 == granule.sha256)
        connection.execute(table.update().where(content).values(current=True, group_id=granule.group, **place))
        return False
    connection.execute(table.insert(), [_granule_row(granule)])
    return True


def _granule_row(granule: Granule) -> dict[str, Any]:
    row = {name: getattr(granule, name) for name in ("kind", "id", "sha256", "bucket", "key", "size", "attributes")}
    return {**row, "group_id": granule.group, "current": True, "registered_at": utc_now()}


def _granule(row: sa.RowMapping) -> Granule:
    names = ("kind", "id", "sha256", "bucket", "key", "size", "attributes", "registered_at")
    return Granule(group=row["group_id"], **{name: row[name] for name in names})


def _outcome_row(outcome: Outcome) -> dict[str, Any]:
    names = ("stage", "unit", "inputs_sha256", "state", "reason", "report", "seconds")
    row = {name: getattr(outcome, name) for name in names}
    return {**row, "group_id": outcome.group, "finished_at": utc_now()}


def _outcome(row: sa.RowMapping) -> Outcome:
    names = ("stage", "unit", "inputs_sha256", "state", "reason", "report", "seconds", "finished_at", "sequence")
    return Outcome(group=row["group_id"], **{name: row[name] for name in names})
