"""The chain: every stage, what it reads and what it makes, in the order of the data's path.

This table is the one place where the order of work stands; the scheduler's DAGs, the plain runner and the sweep read
it. It imports nothing heavy: DAG files import it while they are parsed.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage of the chain.

    `function` is the dotted place of the function that does one unit. A unit is one granule of a kind in `inputs`, or
    all of them in a group where `by_group`; `variants`, where given, is the dotted place of a function that, told a
    unit and the ledger, names the variants it is made in. `context` names kinds of which every unit also reads what its
    group holds: it is due again when that changes. `waits_for` names kinds whose arrival may end a unit's waiting.
    Tasks run in `pool` with `priority`; the larger comes first.
    """

    name: str
    dag: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    function: str
    by_group: bool = False
    variants: str | None = None
    context: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    batch: int = 16
    pool: str = "default_pool"
    priority: int = 1


EMERGENCY_POOL = "emergency"
"""Pool whose slots nothing else may take."""
EMERGENCY_PRIORITY = 1000

STAGES: tuple[Stage, ...] = (
    Stage(
        name="ingest_auxiliary",
        dag="ingest_auxiliary",
        inputs=("landed_auxiliary",),
        outputs=("auxiliary",),
        function="infra.stages.auxiliary:ingest",
    ),
    Stage(
        name="decode_recordings",
        dag="ingest_downlink",
        inputs=("landed_downlink",),
        outputs=("frames", "fragment", "rejected_frames", "channel_packets"),
        function="infra.stages.downlink:decode_recording",
        batch=1,
    ),
    Stage(
        name="splice_frames",
        dag="ingest_downlink",
        inputs=("fragment",),
        outputs=("frames",),
        function="infra.stages.downlink:splice_frames",
        by_group=True,
    ),
    Stage(
        name="reassemble_packets",
        dag="ingest_downlink",
        inputs=("frames",),
        outputs=("channel_packets",),
        function="infra.stages.downlink:reassemble_packets",
        by_group=True,
        batch=4,
    ),
    Stage(
        name="assemble_level0",
        dag="ingest_downlink",
        inputs=("channel_packets",),
        outputs=("completeness", "packets", "navigation", "level0_occultation", "level0_strip"),
        function="infra.stages.level0:assemble",
        by_group=True,
        batch=4,
    ),
    Stage(
        name="ingest_occultations",
        dag="ingest_occultations",
        inputs=("landed_occultation",),
        outputs=("level1b",),
        function="infra.stages.occultation:ingest_phase",
    ),
    Stage(
        name="calibrate_strips",
        dag="ingest_downlink",
        inputs=("level0_strip",),
        outputs=("scene",),
        function="infra.stages.imagery:calibrate_strip",
        batch=4,
    ),
    Stage(
        name="ingest_scenes",
        dag="ingest_scenes",
        inputs=("landed_scene",),
        outputs=("scene",),
        function="infra.stages.imagery:ingest_scene",
        batch=8,
    ),
    Stage(
        name="survey_scenes",
        dag="ingest_scenes",
        inputs=("landed_scene",),
        outputs=("scene_facts",),
        function="infra.stages.emergency:survey",
        batch=8,
    ),
    Stage(
        name="respond_emergency",
        dag="respond_emergency",
        inputs=("scene_facts",),
        outputs=("sector_product", "alert"),
        function="infra.stages.emergency:respond",
        variants="infra.stages.emergency:wanted",
        batch=1,
        pool=EMERGENCY_POOL,
        priority=EMERGENCY_PRIORITY,
    ),
    Stage(
        name="calibrate_occultations",
        dag="retrieve_occultations",
        inputs=("level0_occultation",),
        outputs=("level1b",),
        function="infra.stages.occultation:calibrate",
        context=("navigation",),
        waits_for=("auxiliary",),
    ),
    Stage(
        name="retrieve_occultations",
        dag="retrieve_occultations",
        inputs=("level1b",),
        outputs=("profile",),
        function="infra.stages.occultation:retrieve",
    ),
    Stage(
        name="publish_profiles",
        dag="publish_profiles",
        inputs=("profile",),
        outputs=("item",),
        function="infra.stages.publish:publish",
    ),
    Stage(
        name="aggregate_profiles",
        dag="aggregate_profiles",
        inputs=("occultation_day",),
        outputs=("profile_aggregate",),
        function="infra.stages.occultation_day:aggregate",
        waits_for=("item",),
        batch=1,
    ),
    Stage(
        name="publish_aggregates",
        dag="aggregate_profiles",
        inputs=("profile_aggregate",),
        outputs=("item",),
        function="infra.stages.publish:publish",
    ),
    Stage(
        name="fuse_imagery",
        dag="fuse_imagery",
        inputs=("scene",),
        outputs=("fused", "fused_raster", "fused_quality", "fused_map", "fusion_report", "fusion_page"),
        function="infra.stages.imagery:fuse",
        by_group=True,
        batch=1,
    ),
    Stage(
        name="build_sector_products",
        dag="build_sector_products",
        inputs=("fused",),
        outputs=("sector_product", "alert"),
        function="infra.stages.sectors:build",
        variants="infra.stages.sectors:products_and_districts",
        batch=8,
    ),
    Stage(
        name="publish_catalogue",
        dag="publish_catalogue",
        inputs=("sector_product", "alert"),
        outputs=("item",),
        function="infra.stages.publish:publish",
    ),
)


def stage(name: str) -> Stage:
    """Stage called `name`.

    Raises
    ------
    KeyError
        No stage of that name is in the chain.
    """
    for candidate in STAGES:
        if candidate.name == name:
            return candidate
    raise KeyError(f"no stage {name!r} in the chain; it has {', '.join(s.name for s in STAGES)}")


def stages_of(dag: str) -> tuple[Stage, ...]:
    """Stages one DAG runs, in order."""
    return tuple(stage for stage in STAGES if stage.dag == dag)


def asset(kind: str) -> dict[str, str]:
    """Name and address of the asset whose event says that granules of `kind` came to be."""
    return {"name": kind, "uri": f"terralimb://{kind}"}
