"""What a stage reads and no stage makes enters the ledger first: landed objects, and days of the catalogue."""

from infra import archive
from infra.stages import catalogued_day, chain, landing
from infra.stages.workspace import Workspace


def register(workspace: Workspace, stage: chain.Stage) -> None:
    """Enter whatever has come from outside for a stage."""
    for kind in stage.inputs:
        if kind in archive.landing_prefixes():
            landing.register(workspace, kind=kind)
    register_catalogued(workspace, stage)


def register_catalogued(workspace: Workspace, stage: chain.Stage) -> None:
    """Enter what the catalogue holds for a stage."""
    if catalogued_day.KIND in stage.inputs:
        catalogued_day.register(workspace)
