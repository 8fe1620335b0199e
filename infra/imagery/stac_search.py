"""Search of STAC APIs for scenes, for those who have network.

Needs the optional extra `stac` (`pystac-client` for the search, `odc-stac` to load); nothing else here does.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.imagery import external_scene, grid, scene_layers, sentinel2
from processors.quality import BadInputError


class Found(NamedTuple):
    """An item of a search."""

    identity: str
    """Identifier of the item."""
    collection: str
    """Its collection."""
    time: np.datetime64
    """Acquisition (UTC)."""
    cloud_cover: float | None
    """Stated cloud cover [percent]."""
    assets: Mapping[str, str]
    """Asset key to address."""
    item: Any
    """The item itself, for `load`."""


def search(
    api: str,
    *,
    collections: Sequence[str],
    bounds: tuple[float, float, float, float],
    start: np.datetime64,
    end: np.datetime64,
    limit: int = 100,
    largest_cloud_cover: float | None = None,
) -> list[Found]:
    """Scenes of an area and period, oldest first.

    Parameters
    ----------
    api : str
        Address of the STAC API.
    collections : sequence of str
        Collections to search.
    bounds : tuple of float
        West, south, east, north [degree].
    start, end : np.datetime64
        Period (UTC).
    limit : int
        Largest number of items [1].
    largest_cloud_cover : float, optional
        Items that state more are left out; items that state nothing stay [percent].

    Returns
    -------
    list of Found
        Each acquisition once, in time order.

    Raises
    ------
    BadInputError
        `axes_swapped`, `dates_swapped`, `search_failed`.
    RuntimeError
        Where `pystac-client` is not installed.
    """
    _check(bounds, start, end)
    client = _imported("pystac_client", "pystac-client")
    period = "/".join(str(moment.astype("datetime64[s]")) + "Z" for moment in (start, end))
    try:
        catalog = client.Client.open(api)
        request = catalog.search(
            collections=list(collections), bbox=list(bounds), datetime=period, max_items=limit, limit=min(limit, 100)
        )
        items = list(request.items())
    except (client.exceptions.APIError, OSError) as error:
        raise BadInputError("search_failed", f"{api} does not answer the search: {error}") from error
    found = {entry.identity: entry for entry in (_found(item) for item in items)}
    kept = [entry for entry in found.values() if _clear_enough(entry, largest_cloud_cover)]
    return sorted(kept, key=lambda entry: (entry.time, entry.identity))


def load(entries: Sequence[Found], *, bands: Mapping[str, str], geobox: GeoBox, area: str = "") -> xr.Dataset:
    """Scene stack of Sentinel-2 level 2A items on a grid.

    Parameters
    ----------
    entries : sequence of Found
        Items of one search.
    bands : Mapping
        Asset key to band name.
    geobox : GeoBox
        The grid.
    area : str
        Name of the area.

    Returns
    -------
    xr.Dataset
        See `external_scene`; each item decoded by its own scale and offset.

    Raises
    ------
    BadInputError
        `offset_missing`, `scale_missing`, `nodata_missing`, `outside_area`, `offset_implausible`.
    RuntimeError
        Where `odc-stac` is not installed.
    """
    if not entries:
        raise BadInputError("all_nodata", "the search found nothing to load")
    loader = _imported("odc.stac", "odc-stac")
    layers = []
    for entry in entries:
        metadata = sentinel2.metadata_from_item(entry.item.to_dict(), locations={key: key for key in bands})
        decodings = {layer.location: layer.decoding for layer in metadata.layers}
        raw = loader.load([entry.item], bands=list(bands), geobox=geobox, resampling="nearest")
        layers.append(_decoded(raw, decodings, bands, entry))
    names = list(bands.values())
    dataset = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), np.stack(layers), {"units": "1"})},
        coords={"time": [entry.time for entry in entries], "band": names},
        attrs={"area": area, "sensor": "sentinel-2 msi", "source": ", ".join(entry.identity for entry in entries)},
    )
    order = sorted(names, key=external_scene.band_order)
    return grid.assign(dataset.sel(band=order).sortby("time"), geobox)


def _decoded(
    raw: xr.Dataset, decodings: Mapping[str, scene_layers.Decoding], bands: Mapping[str, str], entry: Found
) -> Any:
    values = np.stack([decodings[key].values(np.squeeze(raw[key].values)) for key in bands])
    if not bool(np.isfinite(values).any()):
        raise BadInputError("outside_area", f"{entry.identity} holds no data in the area")
    sentinel2.check_offset(values, identity=entry.identity)
    return values


def _check(bounds: tuple[float, float, float, float], start: np.datetime64, end: np.datetime64) -> None:
    west, south, east, north = bounds
    if not (-90.0 <= south < north <= 90.0 and -180.0 <= west < east <= 180.0):
        raise BadInputError("axes_swapped", f"{bounds} are no west, south, east, north in degrees")
    if end < start:
        raise BadInputError("dates_swapped", f"the period ends ({end}) before it starts ({start})")


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeError(f"the STAC search needs {package}: install the extra `stac` (terralimb[stac])") from error


def _found(item: Any) -> Found:
    moment = scene_layers.moment(str(item.properties.get("datetime") or ""), what=f"datetime of {item.id}")
    cover = item.properties.get("eo:cloud_cover")
    assets = {key: asset.href for key, asset in item.assets.items()}
    return Found(item.id, item.collection_id or "", moment, None if cover is None else float(cover), assets, item)


def _clear_enough(entry: Found, largest: float | None) -> bool:
    return largest is None or entry.cloud_cover is None or entry.cloud_cover <= largest
