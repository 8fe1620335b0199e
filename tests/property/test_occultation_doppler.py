"""Bending from Doppler: the inverse of a ray drawn by hand."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.occultation import abel, geometric_optics

RADIUS = 6_370_000.0


def drawn_ray(
    impact: float, bending: float, velocities: list[float]
) -> tuple[geometric_optics.RayGeometry, np.ndarray]:
    """Ends of a ray of given impact parameter and bending in the x-y plane, and the Doppler it causes."""
    near, far = 7_170_000.0, 26_560_000.0
    separation = bending + np.arccos(impact / near) + np.arccos(impact / far)
    transmitter = far * np.array([[1.0, 0.0, 0.0]])
    receiver = near * np.array([[np.cos(separation), np.sin(separation), 0.0]])
    receiver_velocity = np.array([[*velocities[:2], 0.0]])
    transmitter_velocity = np.array([[*velocities[2:], 0.0]])
    geometry = geometric_optics.ray_geometry(
        receiver,
        receiver_velocity=receiver_velocity,
        transmitter_position=transmitter,
        transmitter_velocity=transmitter_velocity,
    )
    leaving = np.pi - np.arcsin(impact / far)
    arriving = separation + np.arcsin(impact / near)
    ray_out = np.array([np.cos(leaving), np.sin(leaving), 0.0])
    ray_in = np.array([np.cos(arriving), np.sin(arriving), 0.0])
    path_rate = receiver_velocity @ ray_in - transmitter_velocity @ ray_out
    return geometry, path_rate - geometry.distance_rate


speeds = st.floats(-500.0, 500.0)


@given(st.floats(0.0, 100_000.0), st.floats(0.0, 0.03), st.tuples(speeds, speeds, speeds))
@settings(deadline=None, max_examples=60)
def test_doppler_of_a_drawn_ray_gives_its_impact_parameter_and_bending(
    height: float, bending: float, extra: tuple[float, float, float]
) -> None:
    impact = RADIUS + height
    velocities = [6_500.0 + extra[0], 3_000.0 + extra[1], extra[2], 2_000.0]
    geometry, doppler = drawn_ray(impact, bending, velocities)
    found = geometric_optics.bending_angle_from_doppler(doppler, geometry=geometry)
    np.testing.assert_allclose(found.impact_parameter, impact, atol=1e-2)
    np.testing.assert_allclose(found.bending_angle, bending, atol=1e-8)


@given(st.floats(5_500.0, 9_000.0), st.floats(5e-5, 4e-4))
@settings(deadline=None, max_examples=6)
def test_abel_pair_returns_the_profile(scale: float, surface: float) -> None:
    radius = RADIUS + np.arange(0.0, 130_000.0, 100.0)
    refractivity = 1e6 * surface * np.exp(-(radius - RADIUS) / scale)
    levels = radius * (1.0 + 1e-6 * refractivity)
    bending = abel.bending_from_refractivity(refractivity, radius=radius, levels=levels)
    found = abel.refractivity_from_bending(bending, impact_parameter=levels)
    below = radius < RADIUS + 70_000.0
    np.testing.assert_allclose(found.refractivity[below], refractivity[below], rtol=3e-4)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_abel_is_linear_in_the_bending(seed: int) -> None:
    generator = np.random.default_rng(seed)
    levels = RADIUS + np.cumsum(generator.uniform(50.0, 400.0, 200))
    operator = abel.operator(levels, scale=7_000.0)
    one, two = generator.normal(size=(2, levels.size))
    np.testing.assert_allclose(operator @ (one + 2.0 * two), operator @ one + 2.0 * (operator @ two), atol=1e-12)
    assert (np.tril(operator, -1) == 0.0).all()
    assert (operator[np.triu_indices(levels.size)] > 0.0).all()
