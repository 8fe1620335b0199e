"""Landed scenes as files of the unit that works on them."""

from collections.abc import Sequence
from pathlib import Path

from odc.geo.geobox import GeoBox

from infra import archive, ledger
from infra.imagery import scene_reading
from infra.stages.execution import NotApplicableError
from infra.stages.workspace import Workspace
from processors.imagery import grid


def fetched(landed: ledger.Granule, workspace: Workspace) -> Path:
    """A landed file under the name it had, for names tell formats apart; read from the store once a unit."""
    path = workspace.scratch_folder(archive.short(landed.sha256)) / archive.landing_name(landed.key)
    if not path.exists():
        with path.open("wb") as file:
            for piece in workspace.stretches(landed):
                file.write(piece)
    return path


def files(scenes: Sequence[ledger.Granule], workspace: Workspace) -> list[Path]:
    """Files of surveyed scenes, in their order.

    Parameters
    ----------
    scenes : sequence of Granule
        Facts of scenes.
    workspace : Workspace
        Stores.

    Returns
    -------
    list of Path
        The landed files.

    Raises
    ------
    NotApplicableError
        One is no longer in the landing store.
    """
    landed = {granule.sha256: granule for granule in workspace.ledger.granules(["landed_scene"])}
    gone = [facts.id for facts in scenes if facts.attributes["sha256"] not in landed]
    if gone:
        raise NotApplicableError(f"{', '.join(gone)} is no longer in the landing store")
    return [fetched(landed[facts.attributes["sha256"]], workspace) for facts in scenes]


def window(scene: scene_reading.Scene, box: Sequence[float]) -> GeoBox:
    """Part of a scene's own grid inside a box.

    Parameters
    ----------
    scene : Scene
        Open scene.
    box : sequence of float
        West, south, east, north [degree].

    Returns
    -------
    GeoBox
        The part.

    Raises
    ------
    NotApplicableError
        They do not overlap.
    """
    own = grid.geographic_bounds(scene.geobox)
    west, south = max(box[0], own[0]), max(box[1], own[1])
    east, north = min(box[2], own[2]), min(box[3], own[3])
    if west >= east or south >= north:
        raise NotApplicableError(f"{scene.path.name} lies outside the box")
    return grid.within(scene.geobox, (west, south, east, north))
