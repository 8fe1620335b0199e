"""Files of a fused scene: a raster, its quality bits and a map for every date, and one report of the fusion."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from processors.imagery import grid, qa
from products import cog, fusion_plot, fusion_report, quicklook

SCALE = 1e-4
"""Reflectance of one stored number [1]."""
NODATA = -32768
"""Stored number of no data."""

COG_MEDIA_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
_LARGEST = 32767
_COLOR = ("red", "green", "blue")
_INFRARED = ("nir", "red", "green")
_EDGE = 480
_METHODS = (
    quicklook.LegendEntry(value=qa.Source.NONE, colour="#c9cbce", label_en="No value", label_zh="无数值"),
    quicklook.LegendEntry(value=qa.Source.OBSERVED, colour="#8fbf88", label_en="Observed", label_zh="观测"),
    quicklook.LegendEntry(
        value=qa.Source.TEMPORAL_INTERPOLATION, colour="#f2d16b", label_en="Interpolated in time", label_zh="时间插值"
    ),
    quicklook.LegendEntry(
        value=qa.Source.TEMPORAL_REGRESSION,
        colour="#e9a23b",
        label_en="From radar and other dates",
        label_zh="多源回归",
    ),
    quicklook.LegendEntry(
        value=qa.Source.EXTERNAL_REGRESSION, colour="#c8702f", label_en="From another sensor", label_zh="外部影像"
    ),
    quicklook.LegendEntry(
        value=qa.Source.SPATIAL_NEIGHBORS, colour="#7b6fb0", label_en="From neighbours", label_zh="空间邻近"
    ),
    quicklook.LegendEntry(value=qa.Source.NEAREST_DATE, colour="#b3261e", label_en="Nearest date", label_zh="最近日期"),
)


class FusedFile(NamedTuple):
    """One file."""

    kind: str
    """`fused_raster`, `fused_quality`, `fused_map`, `fusion_report` or `fusion_page`."""
    name: str
    """Name within the fusion, without suffix; empty for the report."""
    suffix: str
    """Suffix with its dot."""
    media_type: str
    body: bytes


def files(fused: xr.Dataset) -> Iterator[FusedFile]:
    """Make the files of a fused scene, one at a time.

    Parameters
    ----------
    fused : xr.Dataset
        As `processors.imagery.fusion.fuse` gives it: `reflectance`, `reflectance_sigma` (time, band, y, x) [1], `qa`
        and `source` (time, y, x).

    Yields
    ------
    FusedFile
        Date by date, then the report.
    """
    names = _dates(fused)
    for index, name in enumerate(names):
        date = fused.isel(time=index)
        yield FusedFile("fused_raster", name, ".tif", COG_MEDIA_TYPE, _raster(date, fused))
        yield FusedFile("fused_quality", name, "-qa.tif", COG_MEDIA_TYPE, _quality(date, fused))
        yield FusedFile("fused_map", name, ".png", "image/png", _map(date, fused))
    report = summary(fused)
    yield FusedFile("fusion_report", "", ".json", "application/json", _document(report))
    yield FusedFile("fusion_page", "", ".html", "text/html", _page(fused, report).encode())


def summary(fused: xr.Dataset) -> dict[str, Any]:
    """What the report of a fusion says.

    Parameters
    ----------
    fused : xr.Dataset
        A fused scene.

    Returns
    -------
    dict
        Shares of observed and filled pixels and the median uncertainty by date, hold-out scores, co-registration,
        inputs.
    """
    registration = json.loads(fused.attrs.get("coregistration", "[]"))
    insufficient = json.loads(fused.attrs.get("insufficient_dates", "[]"))
    unknown = sum(record["status"] == "unknown" for record in registration)
    warnings = [f"{date}: hardly anything was seen, values come from other dates" for date in insufficient]
    if unknown:
        warnings.append(f"the place of {unknown} of {len(registration)} dates could not be checked against the others")
    return {
        "status": "flagged" if insufficient else "ok",
        "area": fused.attrs.get("area", ""),
        "sensor": fused.attrs.get("sensor", ""),
        "radiometric_level": fused.attrs.get("radiometric_level", ""),
        "warnings": warnings,
        "dates": [_about(fused, index) for index in range(fused.sizes["time"])],
        "coregistration": registration,
        "hold_out": json.loads(fused.attrs.get("holdout", "[]")),
        "inputs": json.loads(fused.attrs.get("inputs", "[]")),
    }


def _dates(fused: xr.Dataset) -> list[str]:
    """Day of every date, with the time where a day has several."""
    times = [np.datetime_as_string(value, unit="s") for value in fused["time"].values]
    days = [str(text[:10]).replace("-", "") for text in times]
    clocks = [str(text[10:]).replace(":", "").lower() for text in times]
    return [day if days.count(day) == 1 else f"{day}{clock}" for day, clock in zip(days, clocks, strict=True)]


def _about(fused: xr.Dataset, index: int) -> dict[str, Any]:
    date = fused.isel(time=index)
    values, sigma = date["reflectance"].values, date["reflectance_sigma"].values
    known = np.isfinite(values).all(axis=0)
    bits = date["qa"].values
    share = {
        "observed": date["observed"].values & known,
        "filled": (bits & np.uint16(qa.QaBit.FILLED)) > 0,
        "cloud": (bits & np.uint16(qa.QaBit.CLOUD)) > 0,
        "shadow": (bits & np.uint16(qa.QaBit.SHADOW)) > 0,
        "insufficient": (bits & np.uint16(qa.QaBit.INSUFFICIENT)) > 0,
    }
    return {
        "date": f"{np.datetime_as_string(fused['time'].values[index], unit='s')}Z",
        "with_data": round(float(known.mean()), 4),
        **{name: round(float(mask.mean()), 4) for name, mask in share.items()},
        "median_sigma": round(float(np.median(sigma[:, known])), 5) if known.any() else None,
    }


def _raster(date: xr.Dataset, fused: xr.Dataset) -> bytes:
    layers, variables = [], {}
    for variable, ending in (("reflectance", ""), ("reflectance_sigma", "_sigma")):
        for band in (str(name) for name in fused["band"].values):
            variables[f"{band}{ending}"] = (("y", "x"), _stored(date[variable].sel(band=band).values))
            layers.append(
                cog.RasterLayer(
                    variable=f"{band}{ending}", description=f"{band}{ending}", units="1", nodata=NODATA, scale=SCALE
                )
            )
    return cog.encode(_gridded(variables, fused), layers=layers, tags=_tags(date, fused))


def _quality(date: xr.Dataset, fused: xr.Dataset) -> bytes:
    variables = {name: (("y", "x"), date[name].values.astype(np.uint16)) for name in ("qa", "source")}
    variables["days"] = (("y", "x"), _days_away(date, fused))
    bits = {"FLAG_MASKS": ",".join(str(bit.value) for bit in qa.QaBit), "FLAG_MEANINGS": _meanings(qa.QaBit)}
    codes = {"FLAG_VALUES": ",".join(str(code.value) for code in qa.Source), "FLAG_MEANINGS": _meanings(qa.Source)}
    layers = [
        cog.RasterLayer(variable="qa", description="quality bits", units="1", nodata=65535, tags=bits),
        cog.RasterLayer(variable="source", description="source", units="1", nodata=65535, tags=codes),
        cog.RasterLayer(variable="days", description="days to the nearest observation", units="d", nodata=65535),
    ]
    return cog.encode(_gridded(variables, fused), layers=layers, tags=_tags(date, fused), resampling="NEAREST")


def _days_away(date: xr.Dataset, fused: xr.Dataset) -> npt.NDArray[np.uint16]:
    """Whole days between a date and the nearest one on which a pixel was observed; 65535 where it never was."""
    distance = np.abs((fused["time"].values - date["time"].values) / np.timedelta64(1, "D"))
    nearest = np.full(date["observed"].shape, np.inf)
    for index, away in enumerate(distance):
        seen = fused["observed"].values[index]
        nearest[seen] = np.minimum(nearest[seen], away)
    return np.where(np.isfinite(nearest), np.minimum(np.rint(nearest), 65534), 65535).astype(np.uint16)


def _meanings(members: Any) -> str:
    return " ".join(str(member.name).lower() for member in members)


def _stored(values: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    numbers = np.clip(np.rint(values.astype(np.float64) / SCALE), -_LARGEST, _LARGEST)
    return np.where(np.isfinite(numbers), numbers, NODATA).astype(np.int16)


def _gridded(variables: Mapping[str, Any], fused: xr.Dataset) -> xr.Dataset:
    return grid.assign(xr.Dataset(variables), grid.geobox_of(fused))


def _tags(date: xr.Dataset, fused: xr.Dataset) -> dict[str, str]:
    moment = np.datetime_as_string(date["time"].values, unit="s")
    return {
        "ACQUISITIONDATETIME": f"{moment}Z",
        "AREA": str(fused.attrs.get("area", "")),
        "SENSOR": str(fused.attrs.get("sensor", "")),
        "RADIOMETRIC_LEVEL": str(fused.attrs.get("radiometric_level", "")),
        "INPUTS": str(fused.attrs.get("inputs", "[]")),
    }


def _map(date: xr.Dataset, fused: xr.Dataset) -> bytes:
    bands = _shown(fused)
    picture = date["reflectance"].sel(band=list(bands))
    layer = xr.DataArray(picture.values, dims=("band", "y", "x"))
    image = grid.assign(layer.to_dataset(name="image"), grid.geobox_of(fused))["image"]
    infrared = bands != _COLOR
    text = quicklook.MapText(
        title_en=f"Fused imagery, {'near infrared' if infrared else 'natural colour'}",
        title_zh=f"融合影像({'近红外假彩色' if infrared else '自然色'})",
        date=str(np.datetime_as_string(date["time"].values, unit="D")),
        source="; ".join(str(fused.attrs[name]) for name in ("sensor", "area") if fused.attrs.get(name)),
    )
    if len(bands) < len(_COLOR):
        values = image.isel(band=0)
        low, high = np.nanpercentile(values.values, (2, 98)) if bool(np.isfinite(values).any()) else (0.0, 1.0)
        bar = quicklook.ColourBar(
            colour_map="viridis", minimum=float(low), maximum=float(high), label_en=bands[0], label_zh=bands[0]
        )
        return quicklook.render(values, legend=bar, text=text)
    return quicklook.render(image, legend=quicklook.NaturalColour(), text=text)


def _shown(fused: xr.Dataset) -> tuple[str, ...]:
    """Bands of a picture: natural colour, else near infrared, else the first one."""
    held = [str(name) for name in fused["band"].values]
    for wanted in (_COLOR, _INFRARED):
        if all(name in held for name in wanted):
            return wanted
    return (held[0],)


def _page(fused: xr.Dataset, report: Mapping[str, Any]) -> str:
    """Page of the report, with a date before and after."""
    filled = [row["filled"] for row in report["dates"]]
    # Half observed and half filled shows most: what was there, and what was made of it.
    chosen = int(np.argmax([share * (1.0 - share) for share in filled]))
    date = fused.isel(time=chosen)
    step = max(1, -(-max(fused.sizes["y"], fused.sizes["x"]) // _EDGE))
    thin = date.isel(y=slice(step // 2, None, step), x=slice(step // 2, None, step))
    values = thin["reflectance"].sel(band=list(_shown(fused))).transpose("band", "y", "x").values
    image = values if len(values) == len(_COLOR) else values[0]
    sigma = thin["reflectance_sigma"].mean("band").values
    day = str(np.datetime_as_string(date["time"].values, unit="D"))
    panels = [
        fusion_plot.Panel(title="observed", image=np.where(thin["observed"].values, image, np.nan)),
        fusion_plot.Panel(title="fused", image=image),
        fusion_plot.Panel(title="origin of the values", image=thin["source"].values, legend=_METHODS),
        fusion_plot.Panel(title="uncertainty", image=sigma, label="one sigma, mean of the bands [1]"),
    ]
    geobox = grid.geobox_of(fused)
    width = grid.pixel_size(geobox) * geobox.shape[1]
    picture = fusion_plot.draw(panels, title="Fusion", date=day, width=width)
    caption = f"{day}, of which {filled[chosen]:.0%} was filled"
    return fusion_report.page(
        report,
        title=f"Fused imagery of {report['area'] or 'one area'}",
        lead=f"{fused.sizes['time']} dates, {report['sensor']}",
        pictures=[fusion_report.Picture(caption, picture)],
    )


def _document(report: Mapping[str, Any]) -> bytes:
    return (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode()
