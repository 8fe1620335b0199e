"""Where an occultation is: reference point, local sphere, and the ends of the rays about its centre.

The reference is the moment the straight line between the satellites touches the ellipsoid, a matter of geometry alone:
it needs no phase and no threshold. The centre of curvature is held fixed in the inertial frame of that moment.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from processors import constants
from processors.arrays import FloatArray
from processors.geodesy import curvature, ellipsoid, frames, geoid
from processors.quality import BadInputError
from retrieval.occultation import geometric_optics


class Reference(NamedTuple):
    """Reference point of an occultation.

    Attributes
    ----------
    time : float
        Reference time [s since 1980-01-06, GPS].
    latitude, longitude : float
        Geodetic coordinates [degree].
    azimuth : float
        Direction from transmitter to receiver, clockwise from north [degree].
    radius : float
        Radius of curvature along the azimuth [m].
    center : FloatArray
        Centre of curvature, Earth-fixed [m], shape (3,).
    undulation : float
        Geoid above the ellipsoid [m].
    """

    time: float
    latitude: float
    longitude: float
    azimuth: float
    radius: float
    center: FloatArray
    undulation: float


class Arc(NamedTuple):
    """Both ends of the rays in the inertial frame of the reference time, about the centre of curvature.

    Attributes
    ----------
    receiver, transmitter : frames.State
        Positions [m] and velocities [m s-1], shape (n, 3).
    geometry : geometric_optics.RayGeometry
        The same resolved into the plane of propagation.
    """

    receiver: frames.State
    transmitter: frames.State
    geometry: geometric_optics.RayGeometry


def straight_line_heights(level1b: xr.Dataset) -> FloatArray:
    """Height of the straight line between the satellites above the ellipsoid.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B.

    Returns
    -------
    FloatArray
        Height [m], shape (n,), negative where the line passes through the Earth.
    """
    point = ellipsoid.tangent_point(level1b["transmitter_position"].to_numpy(), level1b["receiver_position"].to_numpy())
    return ellipsoid.from_ecef(point).height


def locate(level1b: xr.Dataset) -> Reference:
    """Find the reference point.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B.

    Returns
    -------
    Reference
        Reference point and local sphere.

    Raises
    ------
    BadInputError
        `no_occultation` where the straight line never touches the ellipsoid.
    """
    time, height = level1b["time"].to_numpy(), straight_line_heights(level1b)
    if not height.min() < 0.0 < height.max():
        raise BadInputError(
            "no_occultation",
            f"the straight line between the satellites stays between {height.min() / 1e3:.1f} and"
            f" {height.max() / 1e3:.1f} km: within the record it never touches the Earth, where the reference would be",
        )
    order = np.argsort(height, kind="stable")
    moment = float(np.interp(0.0, height[order], time[order] - time[0]))
    receiver, transmitter = (
        np.array(
            [np.interp(moment, time - time[0], component) for component in level1b[f"{end}_position"].to_numpy().T]
        )
        for end in ("receiver", "transmitter")
    )
    point = ellipsoid.from_ecef(ellipsoid.tangent_point(transmitter, receiver))
    latitude, longitude = float(point.latitude), float(point.longitude)
    azimuth = float(ellipsoid.azimuth(latitude, longitude, receiver - transmitter))
    sphere = curvature.sphere(latitude, longitude, azimuth=azimuth)
    return Reference(
        time=float(time[0]) + moment,
        latitude=latitude,
        longitude=longitude,
        azimuth=azimuth,
        radius=sphere.radius,
        center=sphere.center,
        undulation=float(geoid.undulation(latitude, longitude)),
    )


def arc_about_center(level1b: xr.Dataset, *, reference: Reference) -> Arc:
    """Bring both orbits into the inertial frame of the reference time, relative to the centre of curvature.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B.
    reference : Reference
        Reference point.

    Returns
    -------
    Arc
        States and geometry by sample.
    """
    time = level1b["time"].to_numpy()
    states = []
    for end in ("receiver", "transmitter"):
        fixed = frames.State(level1b[f"{end}_position"].to_numpy(), level1b[f"{end}_velocity"].to_numpy())
        inertial = frames.inertial_from_earth_fixed(fixed, time=time, epoch=reference.time)
        states.append(frames.State(inertial.position - reference.center, inertial.velocity))
    receiver, transmitter = states
    geometry = geometric_optics.ray_geometry(
        receiver.position,
        receiver_velocity=receiver.velocity,
        transmitter_position=transmitter.position,
        transmitter_velocity=transmitter.velocity,
    )
    return Arc(receiver, transmitter, geometry)


def tangent_points(
    bending: geometric_optics.BendingAngle, *, arc: Arc, time: FloatArray, reference: Reference
) -> FloatArray:
    """Earth-fixed position of the lowest point of each ray.

    Half of the bending lies on either side of it, so it stands arccos(a/r) + bending/2 away from the receiver.

    Parameters
    ----------
    bending : geometric_optics.BendingAngle
        Impact parameter [m] and bending angle [rad] by sample.
    arc : Arc
        Ends of the rays.
    time : FloatArray
        Receive times [s since 1980-01-06, GPS].
    reference : Reference
        Reference point.

    Returns
    -------
    FloatArray
        Earth-fixed position [m], shape (n, 3), at the distance of the impact parameter from the centre.
    """
    up = arc.receiver.position / arc.geometry.receiver_radius[:, None]
    normal = np.cross(arc.transmitter.position, arc.receiver.position)
    along = np.cross(normal / np.linalg.norm(normal, axis=1)[:, None], up)
    angle = np.arccos(bending.impact_parameter / arc.geometry.receiver_radius) + 0.5 * bending.bending_angle
    direction = np.cos(angle)[:, None] * up - np.sin(angle)[:, None] * along
    position = reference.center + bending.impact_parameter[:, None] * direction
    return frames.rotate_about_pole(position, -constants.EARTH_ROTATION_RATE * (time - reference.time))
