"""A retrieved profile as a product: identity, titles, provenance; nothing of it depends on when it is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from processors import timescales
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
IDENTITY = (
    "occultation_id",
    "transmitter",
    "receiver",
    "mission",
    "source_id",
    "first_signal_frequency",
    "second_signal_frequency",
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
    north, east = product["latitude"].to_numpy(), product["longitude"].to_numpy()
    known = np.isfinite(north) & np.isfinite(east)
    extent: dict[str, Any] = {
        "geospatial_vertical_min": float(altitude.min()),
        "geospatial_vertical_max": float(altitude.max()),
        "geospatial_vertical_positive": "up",
        "geospatial_vertical_units": "m",
        "geospatial_vertical_resolution": "levels 50, 100 and 500 m apart, see bending_angle_resolution",
        "geospatial_bounds_crs": "EPSG:4326",
        "geospatial_bounds_vertical_crs": "EPSG:5773",
        "geospatial_lat_units": "degrees_north",
        "geospatial_lon_units": "degrees_east",
    }
    for short, values in (("lat", north[known]), ("lon", east[known])):
        if values.size:
            extent |= {f"geospatial_{short}_min": float(values.min()), f"geospatial_{short}_max": float(values.max())}
    if known.any():
        ends = ", ".join(f"{north[index]:.5f} {east[index]:.5f}" for index in np.flatnonzero(known)[[0, -1]])
        extent["geospatial_bounds"] = f"LINESTRING ({ends})"
    return extent


def _origin(retrieved: xr.Dataset, *, parameters: Any, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Software, parameters and inputs."""
    version = provenance.software_version()
    listed = "; ".join(f"{name} sha256:{digest}" for name, digest in sorted(inputs.items()))
    return {
        "source": f"radio occultation of {retrieved.attrs['transmitter']} observed by {retrieved.attrs['receiver']}",
        "history": f"retrieved by terralimb {version} from level 1B",
        "processing_software": f"terralimb {version}",
        "processing_parameters_sha256": provenance.parameters_hash(parameters),
        "processing_inputs": listed or "not stated",
        "references": "docs of terralimb: occultation retrieval",
        "comment": (
            "SI units, degrees, N-units. Latitude and longitude are those of the tangent point of the bent ray."
            " The centre of curvature is fixed in the inertial frame of reference_time;"
            " altitude = r - radius_of_curvature - undulation."
        ),
    }


def _iso(moment: timescales.Instants) -> str:
    """UTC moment to the second, ISO 8601."""
    return f"{np.datetime_as_string(moment, unit='s')}Z"
