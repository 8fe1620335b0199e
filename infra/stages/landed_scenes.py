"""Landed scenes as files of the unit that works on them, and as one series of what was observed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from infra import archive, ledger
from infra.imagery import scene_reading
from infra.stages.execution import NotApplicableError
from infra.stages.workspace import Workspace
from infra.surface import active_fire
from processors.imagery import grid, observed_series, qa
from processors.quality import BadInputError
from retrieval.surface import fire_power

_EMPTY_BANDS = ("green", "red", "nir")
"""Bands of a series without reflectance, all without data, so that it has the shape products read."""
_IMPLAUSIBLE_SHARE = 0.01


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


def observed(scenes: Sequence[scene_reading.Scene], *, geobox: GeoBox, area: str) -> xr.Dataset:
    """Open scenes as one masked series, with the brightness temperatures they hold.

    Parameters
    ----------
    scenes : sequence of Scene
        Open scenes of one kind.
    geobox : GeoBox
        Grid wanted.
    area : str
        Name of the area.

    Returns
    -------
    xr.Dataset
        Series as `observed_series.observed` gives it; where all scenes hold the channels t4 and t11, also
        `brightness_temperature` (time, channel, y, x) [K]. At night it holds no reflectance.

    Raises
    ------
    BadInputError
        `temperature_implausible` where what is called kelvin is none; what the readers refuse.
    """
    channels = [name for name in scene_reading.CHANNELS if all(name in scene.channels for scene in scenes)]
    if not {"t4", "t11"} <= set(channels):
        return _reflecting(scenes, geobox, area)
    warmth = _temperature(scenes, channels, geobox, area)
    try:
        series = _reflecting(scenes, geobox, area)
    except BadInputError as error:
        # By night there is nothing to reflect.
        if error.cause not in {"all_nodata", "band_missing"}:
            raise
        series = _dark(warmth, geobox, area)
    return series.assign(brightness_temperature=warmth)


def _reflecting(scenes: Sequence[scene_reading.Scene], geobox: GeoBox, area: str) -> xr.Dataset:
    stack = scene_reading.stack(scenes, geobox=geobox, area=area)
    return observed_series.observed(stack, geobox=geobox, area=area)


def _temperature(
    scenes: Sequence[scene_reading.Scene], channels: Sequence[str], geobox: GeoBox, area: str
) -> xr.DataArray:
    stack = scene_reading.stack(scenes, geobox=geobox, bands=channels, area=area)
    values = stack["temperature"].rename(band="channel").transpose("time", "channel", "y", "x")
    values = values.where(values > 0.0)
    name = ", ".join(scene.path.name for scene in scenes)
    for channel in ("t4", "t11"):
        known = values.sel(channel=channel).values
        known = known[np.isfinite(known)]
        low, high = active_fire.PLAUSIBLE
        if known.size and float(np.mean((known < low) | (known > high))) > _IMPLAUSIBLE_SHARE:
            raise BadInputError(
                "temperature_implausible",
                f"{name}: {channel} holds {known.min():.4g} to {known.max():.4g}, no brightness temperature in kelvin",
            )
    return values.assign_attrs(units="K", **_sensor(scenes[-1]))


def _sensor(scene: scene_reading.Scene) -> dict[str, str]:
    """Sensor by the name its bands are known under, if the scene states one of those."""
    stated = scene.metadata.sensor.lower()
    return next(({"sensor": name} for name in fire_power.SENSORS if name in stated), {})


def _dark(warmth: xr.DataArray, geobox: GeoBox, area: str) -> xr.Dataset:
    """Series of scenes that hold temperatures alone."""
    dates, _, rows, columns = warmth.shape
    empty = np.full((dates, len(_EMPTY_BANDS), rows, columns), np.nan, dtype=np.float32)
    missing = warmth.isnull().any("channel").values
    axes = ("time", "band", "y", "x")
    series = xr.Dataset(
        {
            "reflectance": (axes, empty),
            "reflectance_sigma": (axes, empty.copy()),
            "qa": (("time", "y", "x"), missing.astype(np.uint16) * np.uint16(qa.QaBit.NODATA)),
        },
        coords={"time": warmth["time"], "band": list(_EMPTY_BANDS)},
        attrs={"area": area},
    )
    return grid.assign(series, geobox)
