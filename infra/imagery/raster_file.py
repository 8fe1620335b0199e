"""Rasters as files of any size: read by window into values, written by window into a cloud-optimized GeoTIFF.

A raster keeps its encoding: what is made of it is stored in the numbers it came in (data type, scale, offset), so that
a program which reads stored numbers and one which applies scale and offset both find the unit they had.
"""

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.errors
import rasterio.shutil
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from infra.imagery import _encoding_kernels
from processors.imagery import grid
from processors.quality import BadInputError
from products import cog

Float32Array: TypeAlias = npt.NDArray[np.float32]

ASSUMED_SCALE = 1e-4
"""Reflectance of one digital number of integers that state no scale [1]."""
LARGEST_REFLECTANCE = 1.5
"""Stored numbers above this cannot be reflectance as they stand [1]."""
_CACHE_OCTETS = 192 << 20
_SAMPLE = 512
_SMALLEST_PIXEL = 1e-9


class Encoding(NamedTuple):
    """How values are stored.

    value = number * scale + offset, in the unit of the raster.
    """

    dtype: str
    """Data type of the numbers."""
    scales: tuple[float, ...]
    """Factor of every band."""
    offsets: tuple[float, ...]
    """Constant of every band."""
    nodata: float | None
    """Number that stands for no data; None where every number is a value."""


class RasterFile:
    """An open raster whose values are read by window.

    Parameters
    ----------
    dataset : rasterio.DatasetReader
        The open file.
    path : Path
        Its path, for messages.
    reflectance : bool
        Whether values are reflectance: integers that state no scale then count ten thousandths, with a warning.
    """

    def __init__(self, dataset: Any, path: Path, *, reflectance: bool) -> None:
        self._dataset = dataset
        self.path = path
        self.name = path.name
        self.shape: tuple[int, int] = dataset.shape
        transparency = _has_transparency(dataset)
        self.count: int = dataset.count - transparency
        self.transform = dataset.transform
        self.crs = dataset.crs
        self.tags: dict[str, str] = dict(dataset.tags())
        told = dataset.descriptions[: self.count]
        self.descriptions = tuple(text or f"band_{number}" for number, text in enumerate(told, 1))
        self.named = any(told)
        self.warnings: list[str] = []
        self._masked = transparency or _masked_by_dataset(dataset)
        self.geobox = self._located()
        self.encoding = self._encoded(reflectance=reflectance)

    def read(self, window: Window | None = None, bands: Sequence[int] | None = None) -> Float32Array:
        """Values of a window.

        Parameters
        ----------
        window : rasterio.windows.Window, optional
            Whole pixels; may reach beyond the raster. Default: everything.
        bands : sequence of int, optional
            Bands from 1; default all.

        Returns
        -------
        Float32Array
            Values (band, y, x), NaN where there are none.

        Raises
        ------
        BadInputError
            `truncated` where the file cannot be read there.
        """
        wanted = list(bands or range(1, self.count + 1))
        whole = window or Window(0, 0, self.shape[1], self.shape[0])
        inner = _clipped(whole, self.shape)
        values = np.full((len(wanted), int(whole.height), int(whole.width)), np.nan, dtype=np.float32)
        if inner.width <= 0 or inner.height <= 0:
            return values
        try:
            numbers = self._dataset.read(wanted, window=inner)
            seen = self._dataset.dataset_mask(window=inner) > 0 if self._masked else None
        except rasterio.errors.RasterioError as error:
            raise BadInputError("truncated", f"{self.path}: cannot be read to its end: {error}") from error
        row, column = int(inner.row_off - whole.row_off), int(inner.col_off - whole.col_off)
        part = values[:, row : row + int(inner.height), column : column + int(inner.width)]
        gap = np.nan if self.encoding.nodata is None else self.encoding.nodata
        for layer, band, target in zip(numbers, wanted, part, strict=True):
            scale, offset = self.encoding.scales[band - 1], self.encoding.offsets[band - 1]
            _encoding_kernels.decode(layer, scale, offset, _as_stored(gap, layer.dtype), target)
        if seen is not None:
            part[:, ~seen] = np.nan
        return values

    def sample(self, bands: Sequence[int] | None = None, *, size: int = _SAMPLE) -> Float32Array:
        """Values on a thinned grid, every so many pixels, nearest neighbor.

        Parameters
        ----------
        bands : sequence of int, optional
            Bands from 1; default all.
        size : int
            Largest number of rows and columns [1].

        Returns
        -------
        Float32Array
            Values (band, y, x), NaN where there are none.
        """
        wanted = list(bands or range(1, self.count + 1))
        step = max(1, -(-max(self.shape) // size))
        rows = range(step // 2, self.shape[0], step)
        lines = [self.read(Window(0, row, self.shape[1], 1), wanted)[:, 0, step // 2 :: step] for row in rows]
        return np.stack(lines, axis=1)

    def _located(self) -> GeoBox | None:
        transform = self.transform
        if transform.b or transform.d:
            raise BadInputError("grid_irregular", f"{self.path}: the raster is rotated against its axes")
        if not np.isfinite(tuple(transform)[:6]).all() or min(abs(transform.a), abs(transform.e)) < _SMALLEST_PIXEL:
            raise BadInputError("grid_irregular", f"{self.path}: its pixels have no size")
        if self.crs is None:
            self.warnings.append(f"{self.name} states no coordinate reference system")
            return None
        if transform.e > 0 or transform.a < 0:
            raise BadInputError(
                "grid_flipped", f"{self.path}: rows run north or columns west; turn the raster north-up first"
            )
        try:
            crs = grid.coordinate_system(self.crs.to_wkt())
            geobox = GeoBox(self.shape, transform, f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.to_wkt())
            doubt = _doubted(self.shape, tuple(transform)[:6], str(geobox.crs))
            if doubt and crs.is_geographic:
                raise BadInputError("axes_swapped", doubt)
        except BadInputError as error:
            raise BadInputError(error.cause, f"{self.path}: {error}") from error
        if doubt:
            self.warnings.append(f"{self.name}: {doubt}")
        return geobox

    def _encoded(self, *, reflectance: bool) -> Encoding:
        dataset = self._dataset
        kinds = sorted(set(dataset.dtypes))
        if len(kinds) > 1:
            raise BadInputError("mixed_types", f"{self.path}: bands of different data types: {', '.join(kinds)}")
        if np.dtype(kinds[0]).kind not in "iuf":
            raise BadInputError("mixed_types", f"{self.path}: values of type {kinds[0]} are no measurements")
        if not (np.isfinite([*dataset.scales, *dataset.offsets]).all() and all(dataset.scales)):
            raise BadInputError("scale_invalid", f"{self.path}: a scale of zero or none makes no values of its numbers")
        marks = {number for number in dataset.nodatavals if number is not None}
        if len({repr(number) for number in marks}) > 1:
            raise BadInputError("nodata_missing", f"{self.path}: the bands declare different no-data values")
        nodata = marks.pop() if marks else None
        count = self.count
        encoding = Encoding(kinds[0], tuple(dataset.scales[:count]), tuple(dataset.offsets[:count]), nodata)
        return self._as_reflectance(encoding) if reflectance else encoding

    def _as_reflectance(self, encoding: Encoding) -> Encoding:
        """Integers without scale count ten thousandths where they cannot be reflectance as they stand."""
        stated = set(encoding.scales) != {1.0} or set(encoding.offsets) != {0.0}
        if stated or np.dtype(encoding.dtype).kind == "f":
            return encoding
        if np.dtype(encoding.dtype).itemsize == 1:
            raise BadInputError(
                "scale_missing", f"{self.path}: numbers of 8 bits state no scale, so their reflectance is unknown"
            )
        self.encoding = encoding
        values = self.sample()
        if not bool((values > LARGEST_REFLECTANCE).any()):
            return encoding
        self.warnings.append(f"{self.name} states no scale: integers are taken as reflectance x 10000")
        return encoding._replace(scales=(ASSUMED_SCALE,) * self.count)


@contextlib.contextmanager
def open_raster(path: Path | str, *, reflectance: bool = False) -> Iterator[RasterFile]:
    """Open a raster for reading by window.

    Parameters
    ----------
    path : Path or str
        File of any format GDAL reads.
    reflectance : bool
        Whether values are reflectance: integers that state no scale then count ten thousandths, with a warning.

    Yields
    ------
    RasterFile
        The raster.

    Raises
    ------
    BadInputError
        `unreadable`, `grid_irregular` (rotated), `grid_flipped`, `crs_missing` (a local or obfuscated system),
        `axes_swapped` (degrees beyond the globe), `mixed_types`, `nodata_missing`, `scale_invalid`, `scale_missing`,
        `truncated`.
    """
    location = Path(path)
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=_CACHE_OCTETS):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            dataset = rasterio.open(location)
        except rasterio.errors.RasterioIOError as error:
            raise BadInputError("unreadable", f"{location} is no readable raster: {error}") from error
        with dataset:
            yield RasterFile(dataset, location, reflectance=reflectance)


def fused_encoding(encoding: Encoding) -> Encoding:
    """Encoding of fused bands followed by one sigma band each.

    Parameters
    ----------
    encoding : Encoding
        Of the fine input.

    Returns
    -------
    Encoding
        The bands as they came; sigma with the same scale and no offset; a no-data number where there was none.
    """
    count = len(encoding.scales)
    return encoding._replace(
        scales=encoding.scales * 2, offsets=encoding.offsets + (0.0,) * count, nodata=declared_nodata(encoding)
    )


def declared_nodata(encoding: Encoding) -> float:
    """The no-data number of an encoding, chosen where it has none: the end of the range that is never dark water.

    Parameters
    ----------
    encoding : Encoding
        Of a raster.

    Returns
    -------
    float
        NaN for floating point, the largest unsigned or the smallest signed number.
    """
    if encoding.nodata is not None:
        return encoding.nodata
    kind = np.dtype(encoding.dtype)
    if kind.kind == "f":
        return float("nan")
    return float(np.iinfo(kind).max if kind.kind == "u" else np.iinfo(kind).min)


class RasterWriter:
    """Writes a raster by window; the cloud-optimized GeoTIFF takes its name when everything is written.

    Parameters
    ----------
    path : Path
        Final name.
    shape : tuple of int
        Rows and columns.
    transform : affine.Affine
        Pixel to map.
    crs : Any
        Coordinate reference system, None where there is none.
    encoding : Encoding
        How the values are stored; scale and offset of every band.
    descriptions : sequence of str
        Name of every band.
    tags : Mapping
        Metadata of the file.
    categorical : bool
        Whether the bands are classes: overviews then take the most frequent one.
    plain : bool
        Whether an uncompressed GeoTIFF without overviews is wanted instead.
    """

    def __init__(
        self,
        path: Path,
        *,
        shape: tuple[int, int],
        transform: Any,
        crs: Any,
        encoding: Encoding,
        descriptions: Sequence[str],
        tags: Mapping[str, str] | None = None,
        categorical: bool = False,
        plain: bool = False,
    ) -> None:
        if len(encoding.scales) != len(descriptions) or len(encoding.offsets) != len(descriptions):
            raise ValueError(f"{len(descriptions)} bands with {len(encoding.scales)} scales")
        self.path = Path(path)
        self.shape = shape
        self.clipped = 0
        self._profile = {
            "driver": "GTiff",
            "height": shape[0],
            "width": shape[1],
            "count": len(descriptions),
            "dtype": encoding.dtype,
            "transform": transform,
            "crs": crs,
            "nodata": declared_nodata(encoding),
            "tiled": True,
            "blockxsize": 512,
            "blockysize": 512,
            "interleave": "band",
            # Else four bands of octets would be taken for a picture with transparency.
            "photometric": "MINISBLACK",
            "alpha": "NO",
            "BIGTIFF": "IF_SAFER",
        }
        self._encoding = encoding._replace(nodata=declared_nodata(encoding))
        self._descriptions = tuple(descriptions)
        self._tags = dict(tags or {})
        self._categorical = categorical
        self._plain = plain
        self._open = contextlib.ExitStack()
        self._dataset: Any = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInputError("unwritable", f"{self.path} cannot be written: {error}") from error
        self._open.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        self._open.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE_OCTETS))
        try:
            self._dataset = rasterio.open(self._temporary, "w", **self._profile)
        except (rasterio.errors.RasterioError, ValueError) as error:
            self._open.close()
            self._temporary.unlink(missing_ok=True)
            raise BadInputError("unwritable", f"{self.path} cannot be written: {error}") from error
        self._dataset.scales, self._dataset.offsets = self._encoding.scales, self._encoding.offsets
        self._dataset.colorinterp = (ColorInterp.gray,) + (ColorInterp.undefined,) * (self._dataset.count - 1)
        self._dataset.update_tags(**self._tags)
        for number, text in enumerate(self._descriptions, 1):
            self._dataset.set_band_description(number, text)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._dataset.close()
            if kind is None:
                self._finish()
        finally:
            self._open.close()
            for leftover in (self._temporary, self._finished):
                leftover.unlink(missing_ok=True)

    @property
    def _temporary(self) -> Path:
        return self.path.with_name(f".{self.path.name}.writing.tif")

    @property
    def _finished(self) -> Path:
        return self.path.with_name(f".{self.path.name}.finished.tif")

    def write(self, values: npt.NDArray[Any], window: Window | None = None) -> None:
        """Write the values of a window.

        Parameters
        ----------
        values : array
            Values (band, y, x), NaN where there are none.
        window : rasterio.windows.Window, optional
            Whole pixels inside the raster; default everything.
        """
        numbers = np.empty(values.shape, dtype=self._encoding.dtype)
        for band, layer in enumerate(values):
            numbers[band] = self._stored(band, np.ascontiguousarray(layer, dtype=np.float32))
        self._dataset.write(numbers, window=window)

    def _stored(self, band: int, layer: Float32Array) -> npt.NDArray[Any]:
        scale, offset, gap = self._encoding.scales[band], self._encoding.offsets[band], self._encoding.nodata
        kind = np.dtype(self._encoding.dtype)
        if kind.kind == "f":
            numbers = ((layer - offset) / scale).astype(kind) if (scale, offset) != (1.0, 0.0) else layer.astype(kind)
            return numbers if gap is None or np.isnan(gap) else np.where(np.isnan(numbers), kind.type(gap), numbers)
        limits = np.iinfo(kind)
        numbers = np.empty(layer.shape, dtype=kind)
        self.clipped += _encoding_kernels.encode(
            layer, scale, offset, float(limits.min), float(limits.max), float(gap or 0.0), numbers
        )
        return numbers

    def _finish(self) -> None:
        """Copy into the final layout and rename: nobody sees half a file."""
        if self._plain:
            self._temporary.replace(self.path)
            return
        options = cog.creation_options(np.dtype(self._encoding.dtype), categorical=self._categorical)
        rasterio.shutil.copy(self._temporary, self._finished, driver="COG", **options)
        self._finished.replace(self.path)


@functools.lru_cache(maxsize=256)
def _doubted(shape: tuple[int, int], transform: tuple[float, ...], crs: str) -> str:
    """Why a grid cannot lie where its system says; nothing where it can."""
    try:
        grid.check_place(GeoBox(shape, Affine(*transform), crs))
    except BadInputError as error:
        return str(error)
    return ""


def _has_transparency(dataset: Any) -> bool:
    """Whether the last band says where data are, fully or not at all, and is none of the bands of values.

    Four bands of octets are declared a picture with transparency by many programs, whatever the fourth holds.
    """
    if dataset.count < 2 or dataset.colorinterp[-1] != ColorInterp.alpha or dataset.descriptions[-1]:
        return False
    rows, columns = (min(side, _SAMPLE) for side in dataset.shape)
    try:
        seen = np.unique(dataset.read(dataset.count, out_shape=(rows, columns)))
    except rasterio.errors.RasterioError as error:
        raise BadInputError("truncated", f"{dataset.name}: cannot be read to its end: {error}") from error
    return bool(np.isin(seen, (0, 1, 255, 65535)).all())


def _masked_by_dataset(dataset: Any) -> bool:
    """Whether a mask beside the bands, not a number among them, says where data are."""
    if ColorInterp.alpha in dataset.colorinterp:
        return False
    return any(MaskFlags.per_dataset in flags and MaskFlags.nodata not in flags for flags in dataset.mask_flag_enums)


def _as_stored(number: float, dtype: np.dtype[Any]) -> float:
    """A declared number as the data type holds it: float32 rasters often declare one of float64."""
    return float(dtype.type(number)) if dtype.kind == "f" else number


def _clipped(window: Window, shape: tuple[int, int]) -> Window:
    top, left = max(int(window.row_off), 0), max(int(window.col_off), 0)
    bottom = min(int(window.row_off + window.height), shape[0])
    right = min(int(window.col_off + window.width), shape[1])
    return Window(left, top, max(right - left, 0), max(bottom - top, 0))
