"""Wave optics against closed forms of vacuum, edges and rays; whole events against exact rays and statistics."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import fresnel, k0e

from infra import granule_format
from processors import constants
from processors.arrays import FloatArray
from processors.simulation import climates, occultation, phase_screens, wave_occultation

RADIUS = 6_370_000.0
RECEIVER, TRANSMITTER = RADIUS + 700e3, 26_560e3
SURFACE, SCALE = 2.6e-4, 7_000.0
QUARTER = phase_screens.ScreenLayout(points=3 * 2**12, spacing=12.8)
"""The layout for a quarter of the frequency: the same angles with a quarter of the points."""
LONG_WAVE = 0.25 * constants.GPS_L1
SMALL = replace(wave_occultation.EventParameters(), rate=20.0, layout=replace(QUARTER, points=2**12, spacing=38.4))
NOISE_FREE = wave_occultation.EventParameters(noise=0.0, clock=0.0, loss=False)


def nothing(altitude: FloatArray) -> FloatArray:
    return np.zeros_like(altitude)


def separation_of(bending: FloatArray, impact: FloatArray) -> FloatArray:
    return bending + np.arccos(impact / RECEIVER) + np.arccos(impact / TRANSMITTER)


def straight_line(separation: FloatArray) -> FloatArray:
    return np.sqrt(RECEIVER**2 + TRANSMITTER**2 - 2.0 * RECEIVER * TRANSMITTER * np.cos(separation))


def received(
    screen: phase_screens.LastScreen, impact: FloatArray, bending: FloatArray, margin: float = 8e3
) -> phase_screens.Received:
    """Field where the rays of these impact parameters arrive."""
    separation, radius = separation_of(bending, impact), np.full(impact.size, RECEIVER)
    across = phase_screens.crossing(screen, impact, receiver_radius=radius, separation=separation)
    return phase_screens.receive(
        screen, receiver_radius=radius, separation=separation, rays=np.stack([across, across]), margin=margin
    )


@lru_cache(maxsize=1)
def vacuum() -> phase_screens.LastScreen:
    return phase_screens.propagate(
        nothing,
        surface_radius=RADIUS,
        transmitter_radius=TRANSMITTER,
        frequency=LONG_WAVE,
        layout=QUARTER,
        opaque=False,
    )


def exponential(altitude: FloatArray) -> FloatArray:
    """Refractivity of ln n = SURFACE exp(-(n r - R)/SCALE)."""
    refractional = RADIUS + np.linspace(0.0, 125_000.0, 30_000)
    log_index = SURFACE * np.exp(-(refractional - RADIUS) / SCALE)
    return np.asarray(
        np.exp(CubicSpline(refractional * np.exp(-log_index) - RADIUS, np.log(1e6 * np.expm1(log_index)))(altitude))
    )


def exponential_bending(impact: FloatArray) -> FloatArray:
    return np.asarray(2.0 * impact * SURFACE * np.exp(-(impact - RADIUS) / SCALE) / SCALE * k0e(impact / SCALE))


def wave_excess(layout: phase_screens.ScreenLayout, frequency: float, impact: FloatArray) -> FloatArray:
    """Excess phase of waves minus that of the eikonal with the closed form of the bending [m], to a constant."""
    screen = phase_screens.propagate(
        exponential, surface_radius=RADIUS, transmitter_radius=TRANSMITTER, frequency=frequency, layout=layout
    )
    levels = RADIUS + np.arange(1_000.0, 140_000.0, 50.0)
    table = CubicSpline(levels, exponential_bending(levels)).antiderivative()
    bending = exponential_bending(impact)
    path = np.sqrt(RECEIVER**2 - impact**2) + np.sqrt(TRANSMITTER**2 - impact**2) + impact * bending
    path = path + table(levels[-1]) - table(impact) - straight_line(separation_of(bending, impact))
    field = received(screen, impact, bending).field * np.exp(-1j * screen.wave_number * path)
    return np.asarray(np.unwrap(np.angle(field)) / screen.wave_number)


def test_a_point_source_in_vacuum_gives_the_spherical_wave() -> None:
    impact = RADIUS + np.linspace(2_000.0, 30_000.0, 60)
    field = received(vacuum(), impact, np.zeros(60), margin=16e3).field
    np.testing.assert_allclose(np.abs(field), 1.0, atol=2e-3)
    np.testing.assert_allclose(np.angle(field), 0.0, atol=5e-4)


def test_vacuum_keeps_the_energy_between_two_rays() -> None:
    layout, screen = QUARTER, vacuum()
    across, place = layout.across, screen.transmitter
    centre = (place[0] * np.sin(place[1]), place[0] * np.cos(place[1]) - RADIUS)
    inside = (across > -20e3) & (across < 50e3)
    ahead = screen.position - centre[0]
    power = np.sum(np.abs(screen.field[inside]) ** 2 * ahead / np.hypot(ahead, across[inside] - centre[1]))
    angles = np.arctan((across[inside][[0, -1]] - centre[1]) / ahead)
    assert power * layout.spacing == pytest.approx(angles[1] - angles[0], rel=1e-3)


def test_an_edge_throws_the_shadow_of_fresnel() -> None:
    screen = vacuum()
    impact = RADIUS + 12_000.0 + np.linspace(-1_500.0, 3_000.0, 40)
    separation, radius = separation_of(np.zeros(40), impact), np.full(40, RECEIVER)
    across = phase_screens.crossing(screen, impact, receiver_radius=radius, separation=separation)
    # The edge stands half a step below the first point that is kept.
    edge = screen.layout.across[np.searchsorted(screen.layout.across, across[13])] - 0.5 * screen.layout.spacing
    cut = screen._replace(field=np.where(screen.layout.across > edge, screen.field, 0.0))
    rays = np.stack([np.full(40, edge - 9e3), np.full(40, across.max() + 9e3)])
    found = phase_screens.receive(cut, receiver_radius=radius, separation=separation, rays=rays, margin=8e3).field
    near = RECEIVER * np.sin(separation + screen.transmitter[1]) - screen.position
    far = straight_line(separation) - near
    depth = (across - edge) * np.sqrt(2.0 / (2.0 * np.pi / screen.wave_number) * (near + far) / (near * far))
    sine, cosine = fresnel(depth)
    expected = (0.5 + cosine + 1j * (0.5 + sine)) / (1.0 + 1j)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=0.012)
    assert np.interp(0.0, depth, np.abs(found) ** 2) == pytest.approx(0.25, abs=0.01)


def test_waves_and_rays_of_the_closed_form_agree_aloft() -> None:
    impact = RADIUS + np.arange(5_000.0, 31_000.0, 50.0)
    difference = wave_excess(phase_screens.ScreenLayout(), constants.GPS_L1, impact)
    assert np.ptp(difference[impact > RADIUS + 24e3]) < 0.02e-3
    assert np.ptp(difference[impact > RADIUS + 10e3]) < 0.1e-3
    # Lower down the waves, not the rays, know of the edge of the Earth.
    assert np.ptp(difference) < 3e-3
    # An error of the phase that changes with impact parameter is one of the bending: d(phase)/da.
    slope = np.polyfit(impact[impact < RADIUS + 15e3], difference[impact < RADIUS + 15e3], 1)[0]
    assert abs(slope) < 1e-5 * exponential_bending(np.array([RADIUS + 10e3]))[0]


def test_twice_the_screens_change_nothing_and_the_error_of_few_falls_with_the_square_of_their_thickness() -> None:
    impact = RADIUS + np.arange(12_000.0, 31_000.0, 60.0)

    def excess(factor: float) -> FloatArray:
        thinner = replace(QUARTER, thickness=tuple(factor * thickness for thickness in QUARTER.thickness))
        return wave_excess(thinner, LONG_WAVE, impact)

    half = excess(0.5)
    assert np.ptp(excess(1.0) - half) < 0.1e-3
    errors = [np.ptp(excess(factor) - half) for factor in (12.0, 24.0)]
    assert errors[1] / errors[0] == pytest.approx(4.0, abs=0.6)


def test_the_surface_throws_a_shadow() -> None:
    screen = phase_screens.propagate(
        nothing, surface_radius=RADIUS, transmitter_radius=TRANSMITTER, frequency=LONG_WAVE, layout=QUARTER
    )
    impact = RADIUS + np.array([-12_000.0, -3_000.0, 0.0, 8_000.0])
    amplitude = np.abs(received(screen, impact, np.zeros(4)).field)
    # A smooth black sphere takes more than half of the amplitude from the ray that grazes it: an edge takes half.
    assert amplitude[0] < 0.002
    assert amplitude[1] < 0.1
    assert 0.2 < amplitude[2] < 0.5
    assert amplitude[3] == pytest.approx(1.0, abs=0.05)


def test_the_integral_by_blocks_is_the_plain_sum() -> None:
    """Small enough to run uncompiled as well."""
    generator = np.random.default_rng(3)
    count, spacing, first, screen, k, carrier = 600, 3.2, -700.0, 1e6, 33.0, -0.4
    field = generator.standard_normal(count) + 1j * generator.standard_normal(count)
    across = first + spacing * np.arange(count)
    x, z, margin = np.array([2.6e6, 3.0e6]), np.array([-9e3, -2e4]), 400.0
    low, high = np.array([-100.0, 300.0]), np.array([250.0, 300.0])
    found = phase_screens._kernels.diffract(
        field, first, spacing, carrier, screen, k, x, z, x - screen, low, high, margin
    )
    for point in range(2):
        distance = np.hypot(x[point] - screen, across - z[point])
        beyond = np.maximum(low[point] - across, across - high[point])
        window = 0.5 + 0.5 * np.cos(np.pi * np.clip(2.0 * beyond / margin - 1.0, 0.0, 1.0))
        phase = k * (distance - (x[point] - screen)) + carrier * across
        wave = field * window * np.exp(1j * phase) * (x[point] - screen) / distance**1.5
        expected = np.sum(wave) * spacing * np.sqrt(k / (2.0 * np.pi)) * np.exp(-0.25j * np.pi)
        assert abs(found[point] - expected) < 2e-5 * np.sqrt(np.sum(np.abs(wave) ** 2)) * spacing


def test_a_screen_of_uniform_air_delays_by_its_thickness_and_stops_below_the_surface() -> None:
    """Small enough to run uncompiled as well."""
    field = np.ones(41, dtype=complex)
    heights = np.linspace(-100.0, 100.0, 41)
    thickness, k = 2_000.0, 33.0
    phase_screens._kernels.pass_screen(
        field,
        RADIUS + heights,
        np.full(41, 0.5),
        np.array([-600.0, 600.0]),
        0.5e-6 * k * thickness * np.ones(2),
        np.full(3, 2e-4),
        np.full(500, 300.0),
        2.0,
        RADIUS,
        30.0,
    )
    above = heights >= 0.0
    np.testing.assert_allclose(np.abs(field[above]), 0.5, rtol=1e-12)
    np.testing.assert_allclose(
        np.exp(1j * np.angle(field[above])), np.exp(1j * k * 300e-6 * thickness * 1.0002), rtol=1e-9
    )
    assert np.abs(field[heights <= -30.0]).max() == 0.0
    assert np.all(np.diff(np.abs(field[(heights > -30.0) & (heights <= 0.0)])) > 0.0)


@lru_cache(maxsize=1)
def geometry() -> wave_occultation.Geometry:
    generator = np.random.default_rng(6)
    link = wave_occultation._link(
        generator,
        latitude=45.0,
        longitude=20.0,
        setting=True,
        signals=wave_occultation.GPS,
        wanted=NOISE_FREE,
    )
    parameters = replace(NOISE_FREE, rate=10.0, bottom=(-60e3, -50e3))
    return wave_occultation._geometry(link, time=1.45e9, generator=generator, parameters=parameters)


def test_moving_satellites_and_electrons_enter_the_waves_as_they_enter_exact_rays() -> None:
    place = geometry()
    assert np.ptp(place.transmitter_radius) > 1e3
    surface_radius = place.local.sphere.radius + place.local.undulation
    # 6.5 K/km up to an isothermal stratosphere at 11 km.
    rounded = 1_500.0 * np.logaddexp(0.0, (climates.GRID - 11_000.0) / 1_500.0)
    standard = climates.Column(
        climates.GRID,
        temperature=288.0 - 6.5e-3 * climates.GRID + 6.5e-3 * rounded,
        vapour_pressure=np.zeros_like(climates.GRID),
        surface_pressure=101_325.0,
        latitude=45.0,
    )
    medium = wave_occultation._medium(
        standard,
        geometry=place,
        generator=np.random.default_rng(1),
        parameters=wave_occultation.EventParameters(),
    )
    assert medium.layers
    made = wave_occultation.signal_field(place, medium=medium, frequency=constants.GPS_L1, layout=NOISE_FREE.layout)
    electrons = wave_occultation._bend(*wave_occultation._electron_levels(medium, constants.GPS_L1))
    levels = medium.levels[medium.levels < electrons.table.impact_parameter[-1]]
    total = wave_occultation._bend(levels, medium.bending[: levels.size] + electrons.table.bending(levels))
    ray = occultation.trace(place.receiver_place, transmitter=place.transmitter_place, table=total.table)
    expected = ray.path - np.linalg.norm(place.receiver_place - place.transmitter_place, axis=1)
    seen = ray.impact_parameter > surface_radius + 10e3
    difference = (made.phase - expected)[seen]
    assert np.ptp(expected[seen]) > 100.0
    assert np.abs(difference).max() < 0.1e-3


def test_velocities_are_the_rates_of_the_positions_and_the_transmitter_is_where_the_light_left_it() -> None:
    case = wave_occultation.cases(2, seed=4)[1]
    measured = case.simulate(replace(SMALL, rate=10.0)).level1b
    time = measured["time"].to_numpy()
    for end, tolerance in (("receiver", 2e-5), ("transmitter", 2e-5)):
        position, velocity = (measured[f"{end}_{part}"].to_numpy() for part in ("position", "velocity"))
        # Simpson's rule over each pair of steps, free of the curvature of the orbit.
        mean = (velocity[:-2] + 4.0 * velocity[1:-1] + velocity[2:]) / 6.0
        moved = (position[2:] - position[:-2]) / (time[2:] - time[:-2])[:, None]
        assert np.abs(mean - moved).max() < tolerance
    assert "transmission" in measured["transmitter_position"].attrs["epoch"]


def test_noise_is_what_the_signal_to_noise_ratio_says() -> None:
    generator = np.random.default_rng(8)
    snr, rate = 500.0, 100.0
    found = wave_occultation.noisy(np.ones(200_000, dtype=complex), snr=snr, rate=rate, generator=generator)
    assert np.std(np.angle(found)) == pytest.approx(np.sqrt(rate) / snr, rel=0.01)
    carrier = np.abs(np.mean(found)) ** 2
    density = np.var(found) / rate
    assert carrier / density == pytest.approx(snr**2 / 2.0, rel=0.02)


def test_events_repeat_with_their_seed_and_obey_the_contract() -> None:
    case = wave_occultation.cases(4, seed=6)[1]
    one, again = (case.simulate(SMALL) for _ in range(2))
    for made, repeated in ((one.level1b, again.level1b), (one.truth, again.truth)):
        assert granule_format.encode(made) == granule_format.encode(repeated)
    other = replace(case, seed=case.seed + 1).simulate(SMALL)
    assert other.level1b.attrs["occultation_id"] != one.level1b.attrs["occultation_id"]
    assert one.level1b.attrs["setting"] == 1


def test_both_signals_see_the_same_air_and_the_ionosphere_parts_them() -> None:
    case = wave_occultation.cases(3, seed=2)[2]
    bare = case.simulate(replace(SMALL, noise=0.0, clock=0.0, loss=False, ionosphere=False)).level1b
    charged = case.simulate(replace(SMALL, noise=0.0, clock=0.0, loss=False)).level1b
    high = slice(0, 500)
    first, second = bare["excess_phase"].to_numpy()[:, high]
    assert np.ptp(first - second) < 1e-4
    parted = charged["excess_phase"].to_numpy()[:, high] - bare["excess_phase"].to_numpy()[:, high]
    change = parted - parted[:, :1]
    squares = charged["carrier_frequency"].to_numpy() ** 2
    strongest = np.argmax(np.abs(change[1]))
    assert abs(change[1, strongest]) > 0.01
    assert change[1, strongest] / change[0, strongest] == pytest.approx(squares[0] / squares[1], rel=0.03)


def test_a_lost_second_signal_leaves_noise_and_a_slip_is_one_cycle() -> None:
    case = wave_occultation.cases(1, seed=3)[0]
    whole = case.simulate(SMALL)
    slipped = case.simulate(replace(SMALL, cycle_slips=1))
    step = np.diff((slipped.level1b["excess_phase"] - whole.level1b["excess_phase"]).to_numpy()[0])
    assert np.count_nonzero(step) >= 1
    assert np.abs(step).max() == pytest.approx(constants.SPEED_OF_LIGHT / constants.GPS_L1, rel=1e-6)
    assert 5e3 < whole.truth.attrs["second_signal_lost_below"] < 20e3
    _, second = whole.level1b["snr"].to_numpy()
    floor = np.sqrt(20.0) * np.sqrt(np.pi / 2.0)
    assert second[-300:].mean() == pytest.approx(floor, rel=0.1)


def test_series_go_round_climates_senses_and_systems() -> None:
    made = wave_occultation.cases(20, seed=1)
    assert {(case.climate, case.setting, case.system) for case in made} == {
        (climate, setting, system)
        for climate in climates.CLIMATES
        for setting in (True, False)
        for system in ("gps", "beidou")
    }
    assert made[:5] == wave_occultation.cases(5, seed=1)
