"""A retrieved profile as a product: identity, titles, provenance; nothing of it depends on when it is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from processors import timescales
from processors.arrays import FloatArray
from products import provenance, schema

PRODUCT = "occultation-profile"
COORDINATES = (
    "impact_parameter",
    "impact_height",
    "height",
    "altitude",
    "latitude",
    "longitude",
)
TIME_EPOCH = np.datetime64("2000-01-01T00:00:00", "ns")
CONVENTIONS = "CF-1.11, ACDD-1.3"
GIVEN_BENDING = "bending angle as given by"
STRETCHES = 6
"""Changes of the spacing of levels up to which each is told [1]."""
CONVENTIONS_OF_ALL = {
    "frame": (
        "positions are Earth-fixed, WGS 84; the centre of curvature is fixed in the inertial frame that coincides with"
        " the Earth-fixed one at reference_time"
    ),
    "bending_angle": "positive toward the Earth, of the whole path, at a common impact parameter of both signals",
    "impact_parameter": "refractive index times distance from center_of_curvature at the tangent point",
    "altitude": (
        "altitude = r - radius_of_curvature - undulation with r = impact_parameter / refractive index: above the geoid"
        " as it is at the reference point"
    ),
    "tangent_point": (
        "latitude and longitude are geodetic and those of the lowest point of the bent ray of the level; azimuth is"
        " from transmitter to receiver, clockwise from true north"
    ),
    "gravity": (
        "normal gravity of WGS 84 at the reference latitude (Somigliana), falling with the inverse square of altitude"
        " plus effective radius; geopotential_height is its integral over 9.80665 m s-2"
    ),
    "uncertainty": (
        "one standard deviation. Random: noise of the phases or of the bending angle, irregular ionosphere and clocks,"
        " structure finer than the resolution. Systematic, common to many levels: background, ionosphere carried below"
        " the loss of the second signal and its residual, bridged gaps, geometry. The total is the root of the summed"
        " squares. The bias below super-refraction is flagged, not in it"
    ),
}
CONVENTIONS_OF_PHASES = {
    "excess_phase": "positive for delay: optical path minus distance, the distance from the transmitter at transmission"
    " to the receiver at reception",
    "orbits": "receiver at reception, transmitter at transmission, both in the Earth-fixed axes of the receive time",
    "reference_point": (
        "tangent point on the ellipsoid of the straight line between the satellites at reference_time, the moment the"
        " line touches the ellipsoid; sphere of the ellipsoid's curvature along the azimuth there"
    ),
    "ionosphere": (
        "bending_angle is corrected to first order, a1 + f2^2 / (f1^2 - f2^2) <a1 - a2>, and for the residual,"
        " kappa <a1 - a2>^2, with the smoothed difference of the signals"
    ),
}
CONVENTIONS_OF_BENDING = {
    "reference_point": "time, place, azimuth, radius and undulation as given with the bending angle; the centre of"
    " curvature is that of the ellipsoid there where the file does not state it Earth-fixed",
    "ionosphere": "as corrected by the centre that made the bending angle",
}
BACKGROUND_BESIDE_PHASES = (
    "is merged with it by observation_weight: in bending_angle_optimized and what follows from that, not in"
    " bending_angle"
)
BACKGROUND_BESIDE_GIVEN = (
    "goes on above the bending angle the centre had merged with its own background, or is merged by observation_weight"
    " where it had merged none"
)
BACKGROUND_INDICES = {
    "background_f107": "F10.7 of the previous day",
    "background_f107_average": "its 81-day mean",
    "background_ap": "Ap",
}
IDENTITY = (
    "occultation_id",
    "transmitter",
    "receiver",
    "mission",
    "source_id",
    "first_signal_frequency",
    "second_signal_frequency",
    "first_signal",
    "second_signal",
    "uncertainty_source",
    "dry_refractivity_coefficient",
    "bending_method",
    "background_model",
    "background_f107",
    "background_f107_average",
    "background_ap",
    "background_fit_layer",
    "processing_center",
    "findings",
    "receiver_orbit_residual",
    "transmitter_orbit_residual",
)


@dataclass(frozen=True)
class Publication:
    """Who publishes and on what terms.

    Attributes
    ----------
    institution : str
        Institution that makes the product.
    naming_authority : str
        Authority that keeps the identities unique.
    acknowledgement : str
        Whom the users should acknowledge.
    license : str
        Terms of use.
    product_version : str
        Version of the product definition.
    """

    institution: str = "terralimb"
    naming_authority: str = "terralimb"
    acknowledgement: str = "transmitters: the operators of the global navigation satellite systems"
    license: str = "as stated by the publishing data centre"
    product_version: str = "1.0"


def profile_from_retrieval(
    retrieved: xr.Dataset,
    *,
    parameters: Any,
    inputs: Mapping[str, str] | None = None,
    publication: Publication | None = None,
) -> xr.Dataset:
    """Dress a retrieved profile for publication and check it against the table.

    Parameters
    ----------
    retrieved : xr.Dataset
        What `retrieval.occultation.profile_retrieval.retrieve` returned.
    parameters : object
        Parameters of the retrieval (a dataclass or mapping), whose hash is recorded.
    inputs : Mapping[str, str], optional
        SHA-256 by name of the inputs.
    publication : Publication, optional
        Who publishes.

    Returns
    -------
    xr.Dataset
        Product dataset: `reference_time` in UTC, CF attributes on all variables, ACDD attributes on the whole.

    Raises
    ------
    products.schema.SchemaError
        Where a value breaks the table of published variables.
    """
    rows = schema.table(PRODUCT)
    moment = timescales.utc_from_gps(float(retrieved["reference_time"]))
    source = retrieved.assign(reference_time=((), (moment - TIME_EPOCH) / np.timedelta64(1, "s")))
    product = xr.Dataset({name: _published(source[name], rows.get(str(name))) for name in source.variables})
    product = product.set_coords([name for name in COORDINATES if name in product])
    product.attrs = {
        **_titles(retrieved, moment),
        **_identity(retrieved, publication or Publication()),
        **_duration(retrieved),
        **_extent(product),
        **_origin(retrieved, parameters=parameters, inputs=inputs or {}),
        **_conventions(retrieved),
    }
    return schema.check(product, product=PRODUCT)


def _published(variable: xr.DataArray, row: schema.PublishedVariable | None) -> xr.Variable:
    """Values in the type and with the attributes of the table; what the table does not know is left for its check."""
    values = variable.to_numpy()
    if row is None:
        return xr.Variable(variable.dims, values)
    return xr.Variable(variable.dims, values.astype(row.dtype), row.attributes())


def _titles(retrieved: xr.Dataset, moment: timescales.Instants) -> dict[str, Any]:
    """Titles in English and Chinese, summary, keywords."""
    name = retrieved.attrs["occultation_id"]
    return {
        "title": f"Radio occultation profile {name}",
        "title_zh": f"无线电掩星廓线 {name}",
        "summary": (
            "Bending angle, refractivity, dry pressure and dry temperature of the radio occultation of"
            f" {retrieved.attrs['transmitter']} by {retrieved.attrs['receiver']} at {_iso(moment)}, with standard"
            " deviations, quality flags and the reason the profile ends."
        ),
        "summary_zh": "无线电掩星弯曲角、折射率、干气压与干温度廓线，附不确定度、质量标志与截断原因。",
        "keywords": "radio occultation, bending angle, refractivity, dry temperature, atmosphere, GNSS",
        "keywords_zh": "无线电掩星, 弯曲角, 折射率, 干温度, 大气, 全球导航卫星系统",
    }


def _identity(retrieved: xr.Dataset, publication: Publication) -> dict[str, Any]:
    """Identity, conventions and publisher."""
    return {
        "Conventions": CONVENTIONS,
        "id": str(retrieved.attrs["occultation_id"]),
        "naming_authority": publication.naming_authority,
        "institution": publication.institution,
        "creator_name": publication.institution,
        "creator_type": "institution",
        "creator_institution": publication.institution,
        "publisher_name": publication.institution,
        "publisher_type": "institution",
        "publisher_institution": publication.institution,
        "acknowledgement": publication.acknowledgement,
        "project": "terralimb",
        "program": "terralimb",
        "license": publication.license,
        "product_version": publication.product_version,
        "processing_level": "Level 2",
        "standard_name_vocabulary": "CF Standard Name Table v93",
        "cdm_data_type": "Profile",
        "platform": str(retrieved.attrs["receiver"]),
        "instrument": "GNSS radio occultation receiver",
        **{name: retrieved.attrs[name] for name in IDENTITY if name in retrieved.attrs},
    }


def _duration(retrieved: xr.Dataset) -> dict[str, Any]:
    """Extent in time of the record behind the profile."""
    start, end = (float(retrieved.attrs[name]) for name in ("record_start", "record_end"))
    interval = float(retrieved.attrs.get("sampling_interval", 0.0))
    return {
        "time_coverage_start": _iso(timescales.utc_from_gps(start)),
        "time_coverage_end": _iso(timescales.utc_from_gps(end)),
        "time_coverage_duration": f"PT{end - start:.2f}S",
        "time_coverage_resolution": f"PT{interval:.3f}S",
    }


def _extent(product: xr.Dataset) -> dict[str, Any]:
    """Extent in space."""
    altitude = product["altitude"].to_numpy()
    north, east = track(product)
    extent: dict[str, Any] = {
        "geospatial_vertical_min": float(altitude.min()),
        "geospatial_vertical_max": float(altitude.max()),
        "geospatial_vertical_positive": "up",
        "geospatial_vertical_units": "m",
        "geospatial_vertical_resolution": _resolution(product),
        "geospatial_bounds_crs": "EPSG:4326",
        "geospatial_bounds_vertical_crs": "EPSG:5773",
        "geospatial_lat_units": "degrees_north",
        "geospatial_lon_units": "degrees_east",
    }
    ends = ", ".join(f"{north[index]:.5f} {east[index]:.5f}" for index in (0, -1))
    return extent | {
        "geospatial_lat_min": float(north.min()),
        "geospatial_lat_max": float(north.max()),
        # Across the date line the western end is the greater number, as ACDD and GeoJSON have it.
        "geospatial_lon_min": _within_circle(float(east.min())),
        "geospatial_lon_max": _within_circle(float(east.max())),
        "geospatial_bounds": f"LINESTRING ({ends})",
    }


def track(product: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Tangent points of a profile in order of height.

    Parameters
    ----------
    product : xr.Dataset
        Product dataset, or what was retrieved.

    Returns
    -------
    tuple
        Latitude [degree] and longitude [degree], the latter without a jump at the date line, so that it may lie beyond
        180 degrees; the reference point where no tangent point is known.
    """
    north, east = product["latitude"].to_numpy(), product["longitude"].to_numpy()
    known = np.isfinite(north) & np.isfinite(east)
    if not known.any():
        return np.array([float(product["reference_latitude"])]), np.array([float(product["reference_longitude"])])
    return north[known], np.unwrap(east[known], period=360.0)


def _within_circle(longitude: float) -> float:
    """Longitude from -180 to 180 degrees."""
    return (longitude + 180.0) % 360.0 - 180.0


def _resolution(product: xr.Dataset) -> str:
    """Spacing of the levels in words, from the levels themselves."""
    height = product["impact_height"].to_numpy()
    spacing = np.round(np.diff(height)).astype(np.int64)
    # Where the spacing changes; the last stretch has no end.
    ends = np.flatnonzero(np.diff(spacing))
    words = f"levels {spacing.min()} to {spacing.max()} m apart in impact height"
    if ends.size < STRETCHES:
        layers = [f"{spacing[end]} m to {height[end + 1] / 1e3:.4g} km" for end in ends]
        words = "levels in impact height: " + ", ".join([*layers, f"{spacing[-1]} m above"])
    return words + ("; see bending_angle_resolution" if "bending_angle_resolution" in product else "")


def _origin(retrieved: xr.Dataset, *, parameters: Any, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Software, parameters and inputs."""
    version = provenance.software_version()
    listed = "; ".join(f"{name} sha256:{digest}" for name, digest in sorted(inputs.items()))
    began = _given_bending(retrieved) or "excess phases, level 1B"
    return {
        "source": (
            f"radio occultation of {retrieved.attrs['transmitter']} observed by {retrieved.attrs['receiver']}: {began}"
        ),
        "history": f"retrieved by terralimb {version} from {began}",
        "processing_software": f"terralimb {version}",
        "processing_parameters_sha256": provenance.parameters_hash(parameters),
        "processing_inputs": listed or "not stated",
        "references": "docs of terralimb: occultation retrieval",
        "comment": "SI units, degrees, N-units. Frames, signs and conventions: the attributes whose names begin with"
        " convention_.",
    }


def _given_bending(retrieved: xr.Dataset) -> str | None:
    """What a profile of another centre's bending angle began with; None where it began with phases."""
    method = str(retrieved.attrs.get("bending_method", ""))
    return method if method.startswith(GIVEN_BENDING) else None


def _conventions(retrieved: xr.Dataset) -> dict[str, str]:
    """Frames, signs and conventions, those of the steps this profile went through."""
    attributes = retrieved.attrs
    said = {f"convention_{name}": text for name, text in CONVENTIONS_OF_ALL.items()}
    own = CONVENTIONS_OF_PHASES if _given_bending(retrieved) is None else CONVENTIONS_OF_BENDING
    said |= {f"convention_{name}": text for name, text in own.items()}
    if "dry_refractivity_coefficient" in attributes:
        coefficient = float(attributes["dry_refractivity_coefficient"])
        said["convention_refractivity"] = (
            f"N = 1e6 (n - 1); dry pressure and temperature by N = k1 p / T with k1 = {coefficient:g} K Pa-1, no water"
            " vapour"
        )
    if "background_model" in attributes:
        said["convention_background"] = _background(attributes)
    return said


def _background(attributes: Mapping[str, Any]) -> str:
    """What the background is and how it was used."""
    name = str(attributes["background_model"])
    indices = [
        f"{words} {attributes[key]:g}"
        for key, words in BACKGROUND_INDICES.items()
        if key in attributes and name.startswith("MSIS")
    ]
    driven = f" with {', '.join(indices)}" if indices else ""
    given = str(attributes.get("bending_method", "")).startswith(GIVEN_BENDING)
    use = BACKGROUND_BESIDE_GIVEN if given else BACKGROUND_BESIDE_PHASES
    layer = attributes.get("background_fit_layer")
    fitted = f" between {layer[0] / 1e3:g} and {layer[1] / 1e3:g} km impact height" if layer is not None else ""
    return f"{name}{driven}; its bending angle, scaled to the observation{fitted} (background_fit_ variables), {use}"


def _iso(moment: timescales.Instants) -> str:
    """UTC moment to the second, ISO 8601."""
    return f"{np.datetime_as_string(moment, unit='s')}Z"
