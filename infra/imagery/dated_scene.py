"""Rasters of known date: which file is a view, its mask or the terrain, when it was taken and what it shows."""

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from infra.imagery import height_file, raster_file, tiling
from processors.imagery import gap_filling, grid, resampling
from processors.quality import BadInputError

OPTICAL, RADAR = "optical", "radar"
_MASK = "_mask"
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NETCDF_MARKS = (b"CDF\1", b"CDF\2", b"CDF\5", b"\x89HDF")
_DATE_TAGS = ("ACQUISITIONDATETIME", "TIFFTAG_DATETIME")
_SENTINEL2 = {
    "b02": "blue",
    "b03": "green",
    "b04": "red",
    "b05": "rededge1",
    "b06": "rededge2",
    "b07": "rededge3",
    "b08": "nir",
    "b8a": "nir08",
    "b11": "swir1",
    "b12": "swir2",
}
_OPTICAL_NAMES = {
    **{name: name for name in _SENTINEL2.values()},
    **_SENTINEL2,
    **{name.replace("b0", "b"): band for name, band in _SENTINEL2.items()},
    "swir16": "swir1",
    "swir22": "swir2",
    "nir1": "nir",
}
_POLARIZATIONS = ("vv", "vh", "hh", "hv")
_LARGEST_POWER = 100.0


class DatedScene(NamedTuple):
    """One view of the area."""

    path: Path
    mask: Path | None
    """Class raster beside it."""
    moment: np.datetime64 | None
    """Time of acquisition (UTC); None where nothing states it."""
    kind: str
    """`optical` (any measured series) or `radar`."""
    bands: tuple[str, ...]
    """Names in the order of the file; known ones in our terms."""
    named: bool
    """Whether the file names its bands."""
    known: bool
    """Whether a band is one of the optical ones we know, so that values are reflectance."""
    sun_elevation: float
    """Elevation of the sun, NaN where it is not stated [degree]."""
    encoding: raster_file.Encoding
    """How the file stores its values, the assumed scale of reflectance included."""
    factor: float
    """What values read plainly are multiplied by [1]."""
    power: bool
    """Whether radar values are intensities, not decibels."""
    warnings: tuple[str, ...]


class Folder(NamedTuple):
    """What a folder holds."""

    stacks: tuple[Path, ...]
    """NetCDF files."""
    scenes: tuple[Path, ...]
    """GeoTIFFs of one date each."""
    terrain: Path | None
    """Elevation raster."""
    warnings: tuple[str, ...]


def folder(path: Path) -> Folder:
    """Sort the files of a folder by their first octets and names.

    Parameters
    ----------
    path : Path
        The folder.

    Returns
    -------
    Folder
        What was found, and a warning for every file that is left aside.

    Raises
    ------
    BadInputError
        `no_scene` where there is no raster.
    """
    if not path.is_dir():
        raise BadInputError("no_scene", f"{path} is no folder")
    files = sorted(item for item in path.iterdir() if item.is_file() and not item.name.startswith("."))
    kinds = {item: _kind(item) for item in files}
    rasters = [item for item in files if kinds[item] == "tiff"]
    masks = [item for item in rasters if item.stem.lower().endswith(_MASK)]
    terrain = [item for item in rasters if item.stem.lower() == "dem"]
    scenes = [item for item in rasters if item not in masks and item not in terrain]
    stems = {item.stem for item in scenes}
    warnings = [f"{item.name} is no raster and was left aside" for item in files if not kinds[item]]
    warnings += [f"{item.name} masks no scene" for item in masks if item.stem[: -len(_MASK)] not in stems]
    stacks = tuple(item for item in files if kinds[item] == "netcdf")
    if not scenes and not stacks:
        raise BadInputError("no_scene", f"{path} holds neither GeoTIFFs of dated scenes nor a NetCDF stack")
    return Folder(stacks, tuple(scenes), terrain[0] if terrain else None, tuple(warnings))


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if head in _TIFF_MARKS:
        return "tiff"
    return "netcdf" if head in _NETCDF_MARKS else ""


def recognize(path: Path) -> DatedScene:
    """Tell date, bands and kind of a raster.

    Parameters
    ----------
    path : Path
        A raster; `<stem>_mask.tif` beside it is its mask.

    Returns
    -------
    DatedScene
        What the file says of itself.

    Raises
    ------
    BadInputError
        What the raster is refused for.
    """
    with raster_file.open_raster(path) as raster:
        names, named, tags, plain = raster.descriptions, raster.named, raster.tags, raster.encoding
    polarizations = [_polarization(name) for name in names]
    radar = all(polarizations)
    bands = [polarization or "" for polarization in polarizations] if radar else [band_name(name) for name in names]
    if len(set(bands)) < len(bands):
        raise BadInputError("band_missing", f"{path.name} names a band twice: {', '.join(bands)}")
    known = not radar and bool(set(bands) & set(_SENTINEL2.values()))
    with raster_file.open_raster(path, reflectance=known) as raster:
        encoding, notes = raster.encoding, list(raster.warnings)
    moment, note = _moment(path.name, tags)
    notes += [note] if note else []
    return DatedScene(
        path,
        _mask_of(path),
        moment,
        RADAR if radar else OPTICAL,
        tuple(bands),
        named,
        known,
        _sun_elevation(tags),
        encoding,
        encoding.scales[0] / plain.scales[0],
        radar and _is_power(path),
        tuple(notes),
    )


def recognize_all(paths: Sequence[Path]) -> list[DatedScene]:
    """Tell date, bands and kind of the rasters of one series, which share the scale of their numbers.

    Parameters
    ----------
    paths : sequence of Path
        Rasters.

    Returns
    -------
    list of DatedScene
        In the order of the paths; an empty one without a stated scale takes that of the others.

    Raises
    ------
    BadInputError
        `mixed_input` where some scenes state a scale or offset that the others, stating none, may lack.
    """
    scenes = [recognize(path) for path in paths]
    assumed = any(scene.factor != 1.0 for scene in scenes)
    _refuse_mixed_scales(scenes)
    return [_scaled(scene) if assumed and scene.known and _states_no_scale(scene) else scene for scene in scenes]


def _refuse_mixed_scales(scenes: Sequence[DatedScene]) -> None:
    """An offset that one date states and another does not is a step in time that nobody would see."""
    bare = [scene for scene in scenes if scene.factor != 1.0]
    stated = [scene for scene in scenes if scene.known and scene.factor == 1.0 and _scaled_otherwise(scene.encoding)]
    if bare and stated:
        first = stated[0].encoding
        raise BadInputError(
            "mixed_input",
            f"{stated[0].path.name} states scale {first.scales[0]:g} and offset {first.offsets[0]:g}, "
            f"{bare[0].path.name} states none: put them into the tags of every scene",
        )


def _scaled_otherwise(encoding: raster_file.Encoding) -> bool:
    """Whether integers are stored in another way than reflectance x 10000."""
    usual = set(encoding.scales) <= {1.0, raster_file.ASSUMED_SCALE} and set(encoding.offsets) == {0.0}
    return np.dtype(encoding.dtype).kind in "iu" and not usual


def _states_no_scale(scene: DatedScene) -> bool:
    plain = set(scene.encoding.scales) == {1.0} and set(scene.encoding.offsets) == {0.0}
    return plain and np.dtype(scene.encoding.dtype).kind in "iu"


def _scaled(scene: DatedScene) -> DatedScene:
    scales = (raster_file.ASSUMED_SCALE,) * len(scene.bands)
    return scene._replace(encoding=scene.encoding._replace(scales=scales), factor=raster_file.ASSUMED_SCALE)


def _mask_of(path: Path) -> Path | None:
    beside = sorted(path.parent.glob(f"{path.stem}{_MASK}.*")) if "[" not in path.stem else []
    masks = [item for item in beside if item.suffix.lower() in (".tif", ".tiff")]
    return masks[0] if masks else None


def band_name(text: str) -> str:
    """Our name of a band where it is known, else the name it has.

    Parameters
    ----------
    text : str
        Description of a band, such as `B04`, `S2-L2A-B04` or `red`.

    Returns
    -------
    str
        Name of the band.
    """
    for part in (text.lower(), *reversed(re.split(r"[^a-z0-9]+", text.lower()))):
        if part in _OPTICAL_NAMES:
            return _OPTICAL_NAMES[part]
    return text


def _polarization(text: str) -> str | None:
    parts = re.split(r"[^a-z0-9]+", text.lower())
    return next((part for part in parts if part in _POLARIZATIONS), None)


def _moment(name: str, tags: dict[str, str]) -> tuple[np.datetime64 | None, str | None]:
    """Time from the acquisition tag, the date in the name, or the tag of the file's making; a warning on dispute."""
    upper = {key.upper(): value for key, value in tags.items()}
    acquired, made = (_parsed(upper.get(tag, "")) for tag in _DATE_TAGS)
    named = _date_in(Path(name).stem)
    if acquired is not None:
        return acquired, None
    if made is None or named is None:
        return (named if made is None else made), None
    if abs(made - named) < np.timedelta64(32, "D"):
        return made, None
    return named, f"{name}: the tag says {str(made)[:10]}, the name {str(named)[:10]}; the name was believed"


def _parsed(text: str) -> np.datetime64 | None:
    cleaned = text.strip().removesuffix("Z").replace("T", " ")
    day, _, clock = cleaned.partition(" ")
    try:
        moment = dt.datetime.fromisoformat(f"{day.replace(':', '-')} {clock or '00:00:00'}")
    except ValueError:
        return _date_in(text)
    aware = moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return np.datetime64(aware, "s")


_PATTERNS = (
    (r"(?<!\d)((?:19|20)\d\d)[-_.](\d\d)[-_.](\d\d)(?!\d)", "%Y%m%d"),
    (r"(?<!\d)((?:19|20)\d\d)(\d\d)(\d\d)(?!\d)", "%Y%m%d"),
    (r"(?<!\d)((?:19|20)\d\d)[-_.]?(\d\d\d)(?!\d)", "%Y%j"),
    (r"(?<!\d)((?:19|20)\d\d)[-_](\d\d)(?!\d)", "%Y%m"),
)


def _date_in(text: str) -> np.datetime64 | None:
    """First date in a text; a month stands for its first day."""
    for pattern, layout in _PATTERNS:
        for found in re.finditer(pattern, text):
            try:
                return np.datetime64(dt.datetime.strptime("".join(found.groups()), layout).date(), "s")  # noqa: DTZ007
            except ValueError:
                continue
    return None


def _sun_elevation(tags: dict[str, str]) -> float:
    upper = {key.upper(): value for key, value in tags.items()}
    for key, sign in (("SUN_ELEVATION", 1.0), ("MEAN_SUN_ELEVATION", 1.0), ("SUN_ZENITH", -1.0)):
        try:
            value = float(upper[key])
        except (KeyError, ValueError):
            continue
        return value if sign > 0 else 90.0 - value
    return float("nan")


def by_day(scenes: Sequence[DatedScene]) -> tuple[list[tuple[DatedScene, ...]], list[str]]:
    """Put the scenes of a calendar day together, in the order of time.

    Parameters
    ----------
    scenes : sequence of DatedScene
        Scenes whose date is known.

    Returns
    -------
    tuple
        The days, each with its scenes by time and name, the first of which leads; and a warning for every day of more
        than one.
    """
    days: dict[np.datetime64, list[DatedScene]] = {}
    for scene in sorted(scenes, key=lambda scene: (time_of(scene), scene.path.name)):
        days.setdefault(time_of(scene).astype("datetime64[D]"), []).append(scene)
    warnings = [
        f"{day}: {', '.join(view.path.name for view in views)} are of one day; the first leads, the others complete it"
        for day, views in days.items()
        if len(views) > 1
    ]
    return [tuple(views) for views in days.values()], warnings


def time_of(scene: DatedScene) -> np.datetime64:
    """Time of a scene that has one.

    Parameters
    ----------
    scene : DatedScene
        The scene.

    Returns
    -------
    np.datetime64
        Time of acquisition (UTC).
    """
    if scene.moment is None:
        raise ValueError(f"{scene.path} has no date")
    return scene.moment


def typical_size(scenes: Sequence[DatedScene]) -> float:
    """Size of the values of scenes in an unknown unit, by which they are brought to the size of reflectance.

    Parameters
    ----------
    scenes : sequence of DatedScene
        Scenes of one unit.

    Returns
    -------
    float
        Median over the scenes of the 98 % quantile of the absolute values, in their unit; 1 where they hold nothing.
    """
    sizes = []
    for scene in scenes:
        with raster_file.open_raster(scene.path) as raster:
            values = np.abs(raster.sample())
        known = values[np.isfinite(values)]
        sizes += [float(np.quantile(known, 0.98))] if known.size else []
    return max(float(np.median(sizes)), 1e-12) if sizes else 1.0


class Frame(NamedTuple):
    """The grid all scenes are brought to."""

    shape: tuple[int, int]
    transform: Any
    crs: Any
    geobox: GeoBox | None
    """None where the rasters state no reference system; they must then share their shape and transform."""


def frame(scenes: Sequence[DatedScene], *, finest: bool) -> Frame:
    """Grid of the first scene, or of the finest one.

    Parameters
    ----------
    scenes : sequence of DatedScene
        At least one.
    finest : bool
        Whether the smallest pixel leads rather than the first scene.

    Returns
    -------
    Frame
        Grid, transform and reference system.

    Raises
    ------
    BadInputError
        `grid_mismatch` where scenes without reference system differ in shape or transform, or only some have one.
    """
    frames = []
    for scene in scenes:
        with raster_file.open_raster(scene.path) as raster:
            frames.append(Frame(raster.shape, raster.transform, raster.crs, raster.geobox))
    located = [one for one in frames if one.geobox is not None]
    if len(located) == len(frames):
        # Sizes count as equal to a thousandth: the first of equals leads.
        return min(frames, key=lambda one: round(_pixel_size(one), 3)) if finest else frames[0]
    if located:
        raise BadInputError("grid_mismatch", "some of the scenes state a reference system and some do not")
    alike = all(one.shape == frames[0].shape and one.transform == frames[0].transform for one in frames)
    if not alike:
        raise BadInputError("grid_mismatch", "scenes without a reference system have different grids")
    return frames[0]


def _pixel_size(one: Frame) -> float:
    return grid.pixel_size(one.geobox) if one.geobox is not None else abs(float(one.transform.a))


def read(scene: DatedScene, target: Frame, tile: tiling.Tile) -> npt.NDArray[np.float32]:
    """Values of a scene on the common grid, with what its mask hides taken out.

    Parameters
    ----------
    scene : DatedScene
        The scene.
    target : Frame
        The common grid.
    tile : Tile
        Part wanted; its padded window is read.

    Returns
    -------
    array
        Values (band, y, x), NaN where hidden or missing; radar in decibels.
    """
    values = _values(scene.path, target, tile.padded, method=None) * np.float32(scene.factor)
    if scene.mask is not None:
        classes = _values(scene.mask, target, tile.padded, method="nearest", bands=(1,))[0]
        values[:, _hiding(classes, scene.mask)] = np.nan
    return decibels(values) if scene.power else values


def _hiding(classes: npt.NDArray[np.float32], path: Path) -> npt.NDArray[np.bool_]:
    """Clouds, thin clouds, shadows, and what the mask does not know; a mask that declares 0 no data means clear."""
    with raster_file.open_raster(path) as raster:
        clear_gap = raster.encoding.nodata == 0
    unknown = np.isnan(classes) & (not clear_gap) | (classes == 255)
    return np.asarray(np.isin(classes, gap_filling.MASKED_CLASSES) | unknown)


def _is_power(path: Path) -> bool:
    """Whether radar values are intensities: decibels of land are negative, intensities never."""
    with raster_file.open_raster(path) as raster:
        sample = raster.sample()
    known = sample[np.isfinite(sample)]
    if known.size == 0 or (known < 0).any():
        return False
    if float(np.median(known)) > _LARGEST_POWER:
        raise BadInputError("unit_missing", f"{path.name}: radar numbers are neither decibels nor intensities")
    return True


def decibels(power: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Intensity in decibels.

    Parameters
    ----------
    power : array
        Linear backscatter [1].

    Returns
    -------
    array
        Backscatter [dB], NaN where the intensity is not positive.
    """
    return np.asarray(10.0 * np.log10(np.where(power > 0, power, np.nan)), dtype=np.float32)


def _values(
    path: Path,
    target: Frame,
    window: Window,
    *,
    method: str | None,
    bands: Sequence[int] | None = None,
) -> npt.NDArray[np.float32]:
    """Values of a window of the common grid, resampled once where the raster lies on another one."""
    with raster_file.open_raster(path) as raster:
        if _same(raster, target):
            return raster.read(window, bands)
        if target.geobox is None or raster.geobox is None:
            raise BadInputError("grid_mismatch", f"{path.name} lies on another grid and states no reference system")
        locate = resampling.affine_locator(
            raster.transform, crs=raster.crs.to_wkt(), target_crs=grid.system(target.geobox).to_wkt()
        )
        block = resampling.Block(int(window.row_off), int(window.col_off), int(window.height), int(window.width))
        placement = resampling.place(target.geobox, locate, block=block)
        part = resampling.source_block(placement, raster.shape)
        count = len(bands or range(raster.count))
        if part.rows == 0 or part.columns == 0:
            return np.full((count, block.rows, block.columns), np.nan, dtype=np.float32)
        values = raster.read(Window(part.column, part.row, part.columns, part.rows), bands)
    chosen = method or resampling.method_for(placement.scale)
    return np.asarray(
        resampling.sample(values, placement, origin=(part.row, part.column), resampling=chosen), dtype=np.float32
    )


def _same(raster: raster_file.RasterFile, target: Frame) -> bool:
    if raster.geobox is not None and target.geobox is not None:
        return grid.same(raster.geobox, target.geobox)
    return raster.shape == target.shape and (raster.geobox is None) == (target.geobox is None)


def overlaps(scene: DatedScene, target: Frame) -> bool:
    """Whether a scene covers a part of the common grid.

    Parameters
    ----------
    scene : DatedScene
        The scene.
    target : Frame
        The common grid.

    Returns
    -------
    bool
        True also where grids cannot be compared.
    """
    if target.geobox is None:
        return True
    with raster_file.open_raster(scene.path) as raster:
        if raster.geobox is None:
            return True
        own = raster.geobox.extent.to_crs(grid.system(target.geobox))
    return bool(own.intersects(target.geobox.extent))


def terrain(path: Path, target: Frame, tile: tiling.Tile) -> npt.NDArray[np.float32]:
    """Elevation of a part of the common grid.

    Parameters
    ----------
    path : Path
        Elevation raster of one band.
    target : Frame
        The common grid.
    tile : Tile
        Part wanted; its padded window is read.

    Returns
    -------
    array
        Elevation (y, x) [m], NaN where there is none.
    """
    return height_file.plausible(np.asarray(_values(path, target, tile.padded, method=None, bands=(1,))[0]))[0]
