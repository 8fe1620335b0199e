"""BUFR encoder: one occultation profile as one message, WMO No. 306 volume I.2, FM 94, edition 4.

The sequence of elements is a table beside this module (`bufr_310026.yaml`), so a replacement of 3 10 026 is another
table. Levels are chosen, never smoothed or interpolated; what an element cannot hold is sent as missing and reported.
"""

import collections
import functools
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import yaml

from processors.arrays import BoolArray, FloatArray, IntArray
from products import occultation_exchange as exchange

TABLE = "bufr_310026.yaml"
EDITION = 4
UNKNOWN_CENTRE = 65_535
TRANSMITTER_CLASSES = {"G": 401, "R": 402, "E": 403, "C": 404, "J": 405}
METEOROLOGY = ("pressure", "temperature", "specific_humidity")


@dataclass(frozen=True)
class Bulletin:
    """What a message says beyond the profile.

    Attributes
    ----------
    centre : int or None
        Originating centre, WMO common code table C-11; None is sent as missing.
    subcentre : int
        Sub-centre, C-12 [1].
    offline : bool
        Whether the product is not near real time.
    most_levels : int
        Levels at most in each profile of the message [1].
    highest : float
        Impact height above the geoid up to which levels are sent [m].
    """

    centre: int | None = None
    subcentre: int = 0
    offline: bool = False
    most_levels: int = 300
    highest: float = 60_000.0


class _Element(NamedTuple):
    descriptor: str
    width: int
    scale: int = 0
    reference: int = 0
    name: str | None = None
    value: int | None = None


class _Group(NamedTuple):
    name: str
    width: int
    of: tuple["_Element | _Group", ...]


class _Sequence(NamedTuple):
    sequence: str
    master_table_version: int
    category: int
    international_subcategory: int
    local_subcategory: int
    elements: tuple[_Element | _Group, ...]


class _Block(NamedTuple):
    """Coded numbers (..., column), bits per column, and how many values of which element were out of its range."""

    codes: IntArray
    widths: IntArray
    outside: collections.Counter[str]


class _Content(NamedTuple):
    """Values by element name, and repetitions by group name."""

    values: dict[str, FloatArray]
    counts: dict[str, int]


def encode(profile: xr.Dataset, *, bulletin: Bulletin | None = None) -> bytes:
    """Encode a profile as a BUFR message.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset, checked against the table.
    bulletin : Bulletin, optional
        Originator and size of the message.

    Returns
    -------
    bytes
        One message, the same for the same profile.
    """
    return encoded(profile, bulletin=bulletin).content


def encoded(profile: xr.Dataset, *, bulletin: Bulletin | None = None) -> exchange.Encoded:
    """Encode a profile as a BUFR message and report what it could not hold.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset, checked against the table.
    bulletin : Bulletin, optional
        Originator and size of the message.

    Returns
    -------
    exchange.Encoded
        The message, and the number of values set missing by element name.
    """
    settings, sequence = bulletin or Bulletin(), _sequence()
    content = _content(profile, settings)
    block = _block(sequence.elements, content, shape=())
    sections = (
        _identification(exchange.start_time(profile), settings, sequence),
        _description(sequence.sequence),
        _section(b"\x00" + _packed(block.codes, block.widths)),
    )
    body = b"".join(sections) + b"7777"
    return exchange.Encoded(b"BUFR" + _octets(8 + len(body), 3) + _octets(EDITION, 1) + body, dict(block.outside))


@functools.cache
def _sequence() -> _Sequence:
    text = resources.files("products").joinpath(TABLE).read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    return _Sequence(**(table | {"elements": _parsed(table["elements"])}))


def _parsed(rows: Iterable[Mapping[str, Any]]) -> tuple[_Element | _Group, ...]:
    return tuple(
        _Group(row["group"], row["width"], _parsed(row["of"])) if "group" in row else _Element(**row) for row in rows
    )


def _content(profile: xr.Dataset, bulletin: Bulletin) -> _Content:
    bits = exchange.quality_bits(profile, offline=bulletin.offline)
    parts = (
        _bending(profile, bits, bulletin),
        _refractivity(profile, bits, bulletin),
        _meteorology(profile, bits, bulletin),
    )
    values = functools.reduce(operator.or_, (part.values for part in parts), _header(profile, bits, bulletin))
    return _Content(values, functools.reduce(operator.or_, (part.counts for part in parts)))


def _header(profile: xr.Dataset, bits: frozenset[int], bulletin: Bulletin) -> dict[str, FloatArray]:
    """Identity, time, quality and geometry of the whole profile."""
    start, receiver = exchange.start_time(profile), exchange.receiver(profile)
    transmitter = str(profile.attrs["transmitter"])
    moment = start.astype("datetime64[us]").item()
    increment = (exchange.reference_time(profile) - start) / np.timedelta64(1, "s")
    values = {
        "satellite": receiver.satellite,
        "instrument": receiver.instrument,
        "centre": bulletin.centre,
        "software": _software(str(profile.attrs["processing_software"])),
        **{name: getattr(moment, name) for name in ("year", "month", "day", "hour", "minute")},
        "second": moment.second + 1e-6 * moment.microsecond,
        "quality_bits": sum(1 << (16 - bit) for bit in bits),
        "confidence": exchange.confidence(bits),
        "transmitter_class": TRANSMITTER_CLASSES.get(transmitter[0]),
        "transmitter_number": int(transmitter[1:]),
        "time_increment": increment,
        "latitude": profile["reference_latitude"],
        "longitude": profile["reference_longitude"],
        **dict(zip(("center_x", "center_y", "center_z"), profile["center_of_curvature"].to_numpy(), strict=True)),
        **{name: profile[name] for name in ("radius_of_curvature", "azimuth", "undulation")},
    }
    return {name: np.array(np.nan if value is None else value, dtype=np.float64) for name, value in values.items()}


def _software(name: str) -> int | None:
    """Version as one number: 1.2.3 is 1023."""
    version = re.search(r"(\d+)\.(\d+)\.(\d+)", name)
    return None if version is None else int(version[1]) * 1000 + int(version[2]) * 10 + int(version[3])


def _bending(profile: xr.Dataset, bits: frozenset[int], bulletin: Bulletin) -> _Content:
    """Rows of the first, the second and the corrected signal; only the last where the signals are not there."""
    impact = profile["impact_parameter"].to_numpy()
    names = ("bending_angle_l1", "bending_angle_l2", "bending_angle")
    frequencies = [profile.attrs.get(f"{order}_signal_frequency", np.nan) for order in ("first", "second")] + [0.0]
    angles = np.stack([profile[name].to_numpy() for name in names], axis=-1)
    if not np.isfinite(angles[:, :2]).any():
        angles, frequencies = angles[:, 2:], frequencies[2:]
    wanted = np.isfinite(angles).any(axis=1) & (impact <= _highest_impact(profile, bulletin))
    chosen = levels(wanted, most=bulletin.most_levels)
    impact, angles = impact[chosen], angles[chosen]
    sigma = np.full(angles.shape, np.nan)
    sigma[:, -1] = profile["bending_angle_uncertainty"].to_numpy()[chosen]
    known_at = exchange.impact_of_levels(profile)
    longitude = exchange.at(impact, known_at, profile["longitude"].to_numpy(), period=360.0)
    values = {
        "bending_latitude": exchange.at(impact, known_at, profile["latitude"].to_numpy()),
        "bending_longitude": longitude,
        "mean_frequency": np.array(frequencies, dtype=np.float64),
        "impact_parameter": impact[:, np.newaxis],
        "bending_angle": angles,
        "bending_angle_uncertainty": sigma,
        "bending_confidence": np.where(np.isfinite(angles[:, -1]), exchange.confidence(bits), np.nan),
    }
    return _Content(values, {"bending": len(chosen), "signal": angles.shape[1]})


def _refractivity(profile: xr.Dataset, bits: frozenset[int], bulletin: Bulletin) -> _Content:
    """Refractivity up to the highest observed ray, trusted by the weight of the observation."""
    impact, rays = exchange.impact_of_levels(profile), profile["impact_parameter"].to_numpy()
    observed = rays[np.isfinite(profile["bending_angle"].to_numpy())]
    # half a metre forgives rounding of the same ray
    top = min(observed.max(initial=-np.inf) + 0.5, _highest_impact(profile, bulletin))
    chosen = levels(impact <= top, most=bulletin.most_levels)
    values = {
        "altitude": profile["altitude"].to_numpy()[chosen],
        "refractivity": profile["refractivity"].to_numpy()[chosen],
        "refractivity_uncertainty": profile["refractivity_uncertainty"].to_numpy()[chosen],
        "refractivity_confidence": exchange.refractivity_confidence(profile, bits)[chosen],
    }
    return _Content(values, {"refractivity": len(chosen)})


def _highest_impact(profile: xr.Dataset, bulletin: Bulletin) -> float:
    return float(profile["radius_of_curvature"]) + float(profile["undulation"]) + bulletin.highest


def _meteorology(profile: xr.Dataset, bits: frozenset[int], bulletin: Bulletin) -> _Content:
    """Pressure, temperature and humidity where the variational retrieval gave them."""
    height = profile["geopotential_height"].to_numpy()
    names = (*METEOROLOGY, *(f"{name}_uncertainty" for name in METEOROLOGY))
    fields = {name: profile[name].to_numpy() if name in profile else np.full(height.shape, np.nan) for name in names}
    wanted = np.isfinite(np.stack([fields[name] for name in METEOROLOGY])).any(axis=0)
    chosen = levels(wanted & (height <= bulletin.highest), most=bulletin.most_levels)
    values = {name: field[chosen] for name, field in fields.items()}
    values["geopotential_height"] = height[chosen]
    values["meteorology_confidence"] = np.full(len(chosen), exchange.confidence(bits))
    return _Content(values, {"meteorology": len(chosen)})


def levels(wanted: BoolArray, *, most: int) -> IntArray:
    """Choose levels as evenly counted as they can be, so that they stay closest where the product's are.

    Parameters
    ----------
    wanted : BoolArray
        Levels that may be chosen.
    most : int
        Number of levels at most [1].

    Returns
    -------
    IntArray
        Increasing indices of the levels [1], the lowest and the highest among them, all where they are few enough.
    """
    candidates = np.flatnonzero(wanted)
    if candidates.size <= most:
        return candidates
    return candidates[np.rint(np.linspace(0, candidates.size - 1, most)).astype(np.int64)]


def _block(elements: Iterable[_Element | _Group], content: _Content, *, shape: tuple[int, ...]) -> _Block:
    blocks = [
        _repeated(entry, content, shape=shape) if isinstance(entry, _Group) else _coded(entry, content, shape=shape)
        for entry in elements
    ]
    outside = sum((block.outside for block in blocks), collections.Counter())
    codes = np.concatenate([block.codes for block in blocks], axis=-1)
    return _Block(codes, np.concatenate([block.widths for block in blocks]), outside)


def _repeated(group: _Group, content: _Content, *, shape: tuple[int, ...]) -> _Block:
    """A delayed replication: the count, then the elements as often."""
    count = content.counts[group.name]
    if count >= 1 << group.width:
        raise ValueError(f"{count} repetitions of {group.name} do not fit in {group.width} bits")
    inner = _block(group.of, content, shape=(*shape, count))
    codes = inner.codes.reshape(*shape, count * inner.widths.size)
    counted = np.full((*shape, 1), count, dtype=np.int64)
    widths = np.concatenate([[group.width], np.tile(inner.widths, count)])
    return _Block(np.concatenate([counted, codes], axis=-1), widths, inner.outside)


def _coded(element: _Element, content: _Content, *, shape: tuple[int, ...]) -> _Block:
    """Value times ten to the scale less the reference; all bits set where missing (FM 94, regulation 94.1.5)."""
    missing = (1 << element.width) - 1
    constant = np.array(np.nan if element.value is None else element.value, dtype=np.float64)
    given = constant if element.name is None else content.values[element.name]
    # repeated elements come with the levels first, so a scalar constant and a row of signals both spread over them
    values = np.broadcast_to(given, shape)
    scaled = np.rint(values * 10.0**element.scale) - element.reference
    outside = np.isfinite(values) & ((scaled < 0) | (scaled >= missing))
    held = np.isfinite(values) & ~outside
    codes = np.where(held, scaled, missing).astype(np.int64)[..., np.newaxis]
    lost = {str(element.name): int(outside.sum())} if outside.any() else {}
    return _Block(codes, np.array([element.width]), collections.Counter(lost))


def _packed(codes: IntArray, widths: IntArray) -> bytes:
    """Numbers as so many bits each, highest first, padded to whole octets."""
    places = np.arange(63, -1, -1)
    bits = ((codes[:, np.newaxis] >> places) & 1).astype(np.uint8)
    return np.packbits(bits[places < widths[:, np.newaxis]]).tobytes()


def _identification(start: np.datetime64, bulletin: Bulletin, sequence: _Sequence) -> bytes:
    """Section 1: originator, kind of data, tables and time."""
    moment = start.astype("datetime64[us]").item()
    centre = UNKNOWN_CENTRE if bulletin.centre is None else bulletin.centre
    return _section(
        _octets(0, 1)  # master table of meteorology
        + _octets(centre, 2)
        + _octets(bulletin.subcentre, 2)
        + bytes([0, 0])  # first issue; no optional section
        + bytes([sequence.category, sequence.international_subcategory, sequence.local_subcategory])
        + bytes([sequence.master_table_version, 0])  # no local tables
        + _octets(moment.year, 2)
        + bytes([moment.month, moment.day, moment.hour, moment.minute, moment.second])
    )


def _description(descriptor: str) -> bytes:
    """Section 3: one subset of observed data, not compressed, of one sequence."""
    kind, group, entry = int(descriptor[0]), int(descriptor[1:3]), int(descriptor[3:])
    return _section(b"\x00" + _octets(1, 2) + b"\x80" + _octets(kind << 14 | group << 8 | entry, 2))


def _section(body: bytes) -> bytes:
    return _octets(3 + len(body), 3) + body


def _octets(number: int, length: int) -> bytes:
    return number.to_bytes(length, "big")
