"""Drawings of occultations: they show what the profiles hold, and the same profiles always give the same picture."""

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from products import coastline, occultation_map, penetration_plot, profile_plot, sounding

KILOMETRE = 1e3
SUPER_REFRACTION = "biased_by_super_refraction_above"


def column(height: np.ndarray, *, scale: float, dims: str) -> xr.DataArray:
    return xr.DataArray(scale * np.exp(-height / 7_000.0), dims=dims)


def flagged(value: int, meanings: str, *, masks: bool) -> xr.DataArray:
    words = meanings.split()
    values = [1 << bit for bit in range(len(words))] if masks else list(range(len(words)))
    name = "flag_masks" if masks else "flag_values"
    attributes = {name: np.array(values, dtype=np.int32), "flag_meanings": meanings}
    return xr.DataArray(np.int32(value), attrs=attributes)


@pytest.fixture
def profile() -> xr.Dataset:
    """An exponential atmosphere as a product, observed down to 1.2 km, with the variables every product has."""
    height = np.arange(0.0, 80_000.0, 100.0)
    radius, undulation = 6.37e6, 20.0
    observed = height > 3_200.0
    bending = column(height, scale=0.02, dims="impact")
    refractivity = column(height, scale=300.0, dims="height")
    return xr.Dataset(
        {
            "impact_parameter": ("impact", radius + undulation + height),
            "bending_angle_l1": bending.where(observed) * 1.001,
            "bending_angle_l2": bending.where(observed) * 1.002,
            "bending_angle": bending.where(observed),
            "bending_angle_uncertainty": bending * 0.02,
            "bending_angle_optimized": bending,
            "observation_weight": ("impact", np.where(observed, 1.0 / (1.0 + (height / 50e3) ** 8), 0.0)),
            "altitude": ("height", height),
            "latitude": ("height", -10.0 + height * 1e-5),
            "longitude": ("height", 179.9 + np.where(height > 19_900.0, height * 1e-5 - 360.0, height * 2e-6)),
            "refractivity": refractivity,
            "refractivity_uncertainty": refractivity * 0.005,
            "dry_temperature": ("height", 290.0 - 0.001 * height),
            "dry_temperature_uncertainty": ("height", 0.5 + 1e-4 * height),
            "radius_of_curvature": radius,
            "undulation": undulation,
            "reference_time": 8.2e8,
            "reference_latitude": -9.8,
            "reference_longitude": 179.95,
            "setting": 1,
            "lowest_altitude": 1_200.0,
            "quality_flag": flagged(5, "high_noise bending_bias low_top", masks=True),
            "truncation_reason": flagged(1, "record_end signal_lost", masks=False),
        },
        attrs={"id": "g07-tl01-202512250000", "transmitter": "G07", "receiver": "tl01"},
    )


@pytest.fixture
def short(profile: xr.Dataset) -> sounding.Sounding:
    return sounding.sounding_from_profile(profile)


def many(short: sounding.Sounding, count: int, *, seed: int = 3) -> list[sounding.Sounding]:
    """Soundings everywhere, rising and setting, of all depths; each twentieth retrieved nothing."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        north, east = np.degrees(np.arcsin(random.uniform(-1.0, 1.0))), random.uniform(-180.0, 180.0)
        reached = index % 20 != 0
        made.append(
            short._replace(
                occultation_id=f"event-{index}",
                latitude=float(north),
                longitude=float(east),
                setting=bool(random.random() < 0.4),
                lowest_altitude=float(random.gamma(1.5, 700.0)) if reached else float("nan"),
                truncation_reason=str(random.choice(["signal_lost", "record_end"])) if reached else "nothing_retrieved",
                track=np.array(
                    [[1e3, 30e3, 60e3], north + np.array([0.0, 0.2, 0.3]), east + np.array([0.0, 0.1, 0.3])]
                ),
            )
        )
    return made


def curve(axes: Axes, label: str) -> np.ndarray:
    """Points of the curve of a label."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return np.column_stack([np.asarray(values, dtype=float) for values in line.get_data()])


def hatched(axes: Axes, label: str) -> tuple[float, float]:
    """Heights a hatched region spans."""
    (patch,) = [patch for patch in axes.patches if patch.get_label() == label]
    extent = patch.get_extents().transformed(axes.transData.inverted())
    return float(extent.y0), float(extent.y1)


def words(figure: Figure) -> str:
    title = figure.get_suptitle() + " ".join(axes.get_title() for axes in figure.axes)
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return " ".join([title, *(text.get_text() for legend in legends for text in legend.get_texts())])


PLOTS: dict[str, Callable[[list[sounding.Sounding]], bytes]] = {
    "map": occultation_map.plot,
    "one": lambda soundings: occultation_map.plot(soundings[:1]),
    "penetration": penetration_plot.plot,
}


@pytest.mark.parametrize("name", PLOTS)
def test_the_same_soundings_always_give_the_same_picture_and_others_do_not(short: sounding.Sounding, name: str) -> None:
    first, again, other = (PLOTS[name](many(short, 60, seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert matplotlib.image.imread(io.BytesIO(first)).shape[0] > 500


def test_the_same_profile_always_gives_the_same_picture(profile: xr.Dataset) -> None:
    assert profile_plot.plot(profile) == profile_plot.plot(profile.copy(deep=True))
    assert profile_plot.plot(profile) != profile_plot.plot(profile.assign(lowest_altitude=2_000.0))


def test_a_profile_is_drawn_against_its_heights_in_the_units_of_its_axes(profile: xr.Dataset) -> None:
    figure = profile_plot.figure_from_profile(profile)
    bending, refractivity, temperature, uncertainty = figure.axes[:4]
    assert bending.get_xlabel().endswith("[rad]")
    drawn = curve(bending, "optimized with background")
    np.testing.assert_allclose(drawn[:, 1], profile["altitude"] / KILOMETRE + 0.02, atol=1e-9)
    np.testing.assert_allclose(drawn[:, 0], profile["bending_angle_optimized"])
    low_bending = figure.axes[4]
    assert low_bending.get_xlabel().endswith("[mrad]")
    assert low_bending.get_ylim() == (0.0, 8.0)
    np.testing.assert_allclose(curve(low_bending, "optimized with background")[:, 0], drawn[:, 0] * 1e3)
    np.testing.assert_allclose(curve(temperature, "dry temperature")[:, 0], profile["dry_temperature"])
    relative = curve(uncertainty, "relative standard deviation of refractivity")
    np.testing.assert_allclose(relative[:, 0], 0.5)
    assert refractivity.get_ylim() == (0.0, 60.0)


def test_what_no_observation_carries_is_hatched(profile: xr.Dataset) -> None:
    figure = profile_plot.figure_from_profile(profile)
    figure.draw_without_rendering()
    bending, refractivity = figure.axes[:2]
    assert hatched(refractivity, profile_plot.SHADED[0]) == pytest.approx((0.0, 1.2))
    assert hatched(bending, profile_plot.SHADED[0]) == pytest.approx((0.0, 3.32))
    nothing = profile_plot.figure_from_profile(profile.assign(lowest_altitude=np.nan))
    nothing.draw_without_rendering()
    assert hatched(nothing.axes[1], profile_plot.SHADED[0]) == pytest.approx((0.0, 60.0))


def test_levels_a_duct_biases_are_hatched(profile: xr.Dataset) -> None:
    altitude = profile["altitude"].to_numpy()
    meanings = {"flag_masks": np.array([1, 2], dtype=np.int16), "flag_meanings": f"extrapolated {SUPER_REFRACTION}"}
    marks = xr.DataArray(np.where(altitude < 2_000.0, 2, 1).astype(np.int16), dims="height", attrs=meanings)
    figure = profile_plot.figure_from_profile(profile.assign(refractivity_flag=marks))
    figure.draw_without_rendering()
    assert hatched(figure.axes[1], profile_plot.SHADED[1]) == pytest.approx((0.0, 1.9))
    assert not [patch for patch in figure.axes[0].patches if patch.get_label() == profile_plot.SHADED[1]]


def test_what_a_product_holds_more_is_drawn_and_named(profile: xr.Dataset) -> None:
    more = profile.assign(
        impact_height=profile["impact_parameter"] - 6.37e6 - 20.0,
        temperature=profile["dry_temperature"] - 5.0,
        refractivity_systematic_uncertainty=profile["refractivity"] * 0.001,
        wave_optics_weight=profile["observation_weight"] * 0.5,
    )
    figure = profile_plot.figure_from_profile(more)
    told = words(figure)
    for label in ("temperature of the air", "its systematic part", "weight of wave optics"):
        assert label in told
        assert label not in words(profile_plot.figure_from_profile(profile))
    np.testing.assert_allclose(curve(figure.axes[0], "optimized with background")[0, 1], 0.0, atol=1e-9)


def test_the_heading_says_who_where_when_how_deep_and_what_is_doubtful(profile: xr.Dataset) -> None:
    heading = profile_plot.heading(profile)
    for part in ("g07-tl01-202512250000", "G07", "setting", "2025-12-25", "9.80° S  179.95° E", "1.20 km"):
        assert part in heading
    assert "signal was lost" in heading
    assert heading.endswith("high noise, low top")
    assert "no level" in profile_plot.heading(profile.assign(lowest_altitude=np.nan))


@pytest.mark.parametrize(
    ("altitude", "words"), [(0.4, "0 m"), (-31.2, "-31 m"), (489.6, "490 m"), (999.4, "999 m"), (1_204.0, "1.20 km")]
)
def test_a_depth_below_a_kilometre_is_told_in_metres(profile: xr.Dataset, altitude: float, words: str) -> None:
    assert f"observed down to {words}:" in profile_plot.heading(profile.assign(lowest_altitude=altitude))


@pytest.mark.parametrize("percent", [2e-3, 0.5, 40.0])
def test_the_axis_of_uncertainty_holds_the_whole_curve(profile: xr.Dataset, percent: float) -> None:
    spread = percent * np.logspace(-0.8, 0.8, profile.sizes["height"])
    uncertain = profile.assign(
        refractivity_uncertainty=profile["refractivity"] * spread / 100.0,
        refractivity_systematic_uncertainty=profile["refractivity"] * spread / 3_000.0,
    )
    for top, panel in ((60.0, 3), (8.0, 7)):
        axes = profile_plot.figure_from_profile(uncertain).axes[panel]
        left, right = axes.get_xlim()
        for label in ("relative standard deviation of refractivity", "its systematic part"):
            value, height = curve(axes, label).T
            inside = value[(height > 0.0) & (height < top)]
            assert left <= inside.min()
            assert inside.max() <= right
        assert right / left >= 99.0
        assert left > inside.min() / 11.0


def test_powers_of_ten_label_the_decades_of_the_axis(profile: xr.Dataset) -> None:
    axes = profile_plot.figure_from_profile(profile).axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    ticks = axes.get_xticks()
    assert labels[list(np.round(np.log10(ticks))).index(-5.0)] == "10⁻⁵"
    np.testing.assert_allclose(np.diff(np.log10(ticks)), 1.0)


def test_observed_and_optimized_curve_are_both_seen_where_they_agree(profile: xr.Dataset) -> None:
    for axes in profile_plot.figure_from_profile(profile).axes[:5:4]:
        lines = {line.get_label(): line for line in axes.lines}
        observed, optimized = lines["observed, ionosphere removed"], lines["optimized with background"]
        assert optimized.get_linewidth() > 2.0 * observed.get_linewidth()
        assert axes.lines.index(optimized) < axes.lines.index(observed)
        assert optimized.get_zorder() <= observed.get_zorder()


def test_weights_keep_clear_of_the_frame(profile: xr.Dataset) -> None:
    for axes in profile_plot.figure_from_profile(profile).axes:
        if axes.get_xlabel() == "weight [1]":
            assert axes.get_xlim() == (-0.05, 1.05)


def test_the_local_spectrum_is_drawn_where_the_air_widens_it(profile: xr.Dataset) -> None:
    width = xr.DataArray(np.full(profile.sizes["impact"], 2e-5), dims="impact")
    figure = profile_plot.figure_from_profile(profile.assign(local_spectral_width=width))
    value, height = curve(figure.axes[0], "half width of the local spectrum").T
    np.testing.assert_array_equal(np.isfinite(value), height < 30.0)
    np.testing.assert_array_equal(value[height < 30.0], 2e-5)


def test_weights_are_drawn_at_the_altitude_of_their_rays(profile: xr.Dataset) -> None:
    exact = profile.assign(
        impact_parameter=(
            "impact",
            (profile["altitude"].to_numpy() + 6.37e6 + 20.0) * (1.0 + 1e-6 * profile["refractivity"].to_numpy()),
        )
    )
    figure = profile_plot.figure_from_profile(exact)
    (weight,) = [axes for axes in figure.axes if axes.get_xlabel() == "weight [1]" and axes.get_ylim()[1] > 50.0]
    drawn = curve(weight, "weight of the observation")
    np.testing.assert_allclose(drawn[:, 1], profile["altitude"] / KILOMETRE, atol=1e-9)


def test_a_track_runs_from_the_lowest_observation_up_across_the_date_line(short: sounding.Sounding) -> None:
    altitude, north, east = short.track
    assert altitude[0] == pytest.approx(1_200.0)
    assert altitude[-1] == pytest.approx(60_000.0)
    np.testing.assert_allclose(north, -10.0 + altitude * 1e-5)
    assert east[0] == pytest.approx(179.9024)
    assert east[-1] == pytest.approx(-179.5)
    assert (np.abs(east) > 179.0).all()


def test_a_step_of_the_track_that_falls_on_the_date_line_is_on_it(profile: xr.Dataset) -> None:
    altitude, _, east = sounding.sounding_from_profile(profile.assign(altitude=profile["altitude"] + 30.0)).track
    assert (np.abs(east) > 179.0).all()
    assert 20_000.0 in altitude


def test_every_sounding_is_on_the_map_where_it_was_in_the_colour_of_its_depth(short: sounding.Sounding) -> None:
    soundings = many(short, 80)
    figure = occultation_map.figure_from_soundings(soundings)
    axes = figure.axes[0]
    setting, rising = [each for each in axes.collections if isinstance(each, PathCollection)]
    for drawn, wanted in ((setting, True), (rising, False)):
        expected = {
            (each.longitude, each.latitude): each.lowest_altitude for each in soundings if each.setting == wanted
        }
        places = [tuple(place) for place in np.asarray(drawn.get_offsets())]
        assert set(places) == set(expected)
        np.testing.assert_allclose(
            np.ma.filled(drawn.get_array(), np.nan), [expected[place] / KILOMETRE for place in places]
        )
    assert not np.array_equal(setting.get_paths()[0].vertices, rising.get_paths()[0].vertices)
    settings = sum(each.setting for each in soundings)
    assert f"80 occultations: {settings} setting, {80 - settings} rising" in axes.get_title()
    assert "nothing retrieved: 4" in words(figure)


def test_a_drift_over_the_date_line_is_no_line_around_the_world(short: sounding.Sounding) -> None:
    figure = occultation_map.figure_from_soundings([short, short._replace(longitude=0.0)])
    (drifts,) = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    assert len(drifts.get_segments()) == 4
    assert max(np.ptp(segment[:, 0]) for segment in drifts.get_segments()) < 1.0


@pytest.mark.parametrize(
    ("lowest", "scale", "extend"),
    [
        ([80.0, 120.0, 230.0], (0.0, 0.5), "neither"),
        ([-60.0, 300.0, 400.0], (-0.1, 0.4), "neither"),
        ([0.0] + 98 * [900.0] + [7_000.0], (0.9, 1.4), "both"),
        ([200.0] * 10 + [3_150.0] * 10, (0.2, 3.2), "neither"),
        ([np.nan, np.nan], (0.0, 0.5), "neither"),
    ],
)
def test_the_colours_span_the_altitudes_reached(
    short: sounding.Sounding, lowest: list[float], scale: tuple[float, float], extend: str
) -> None:
    soundings = [short._replace(lowest_altitude=each, longitude=float(index)) for index, each in enumerate(lowest)]
    figure = occultation_map.figure_from_soundings(soundings)
    for drawn in figure.axes[0].collections:
        if isinstance(drawn, PathCollection):
            assert drawn.get_clim() == pytest.approx(scale)
    colorbar = figure.axes[0].collections[1].colorbar
    assert colorbar is not None
    assert colorbar.extend == extend


def test_a_marker_at_the_date_line_is_whole(short: sounding.Sounding) -> None:
    axes = occultation_map.figure_from_soundings([short._replace(longitude=180.0), short]).axes[0]
    markers = [each for each in axes.collections if isinstance(each, PathCollection)]
    assert len(markers) == 2
    assert not any(each.get_clip_on() for each in markers)


def test_one_sounding_is_drawn_near_by_with_its_track_in_one_piece(short: sounding.Sounding) -> None:
    axes = occultation_map.figure_from_soundings([short]).axes[0]
    west, east = axes.get_xlim()
    assert east - west < 5.0
    assert west < short.longitude < east
    (track,) = [each for each in axes.collections if isinstance(each, PathCollection)]
    assert np.ptp(np.asarray(track.get_offsets())[:, 0]) < 1.0
    assert {"1.2 km", "60 km"} <= {text.get_text() for text in axes.texts}
    assert "observed down to 1.20 km" in axes.get_title()


@pytest.mark.parametrize("draw", [occultation_map.plot, penetration_plot.plot])
def test_no_soundings_are_refused(draw: Callable[[list[sounding.Sounding]], bytes]) -> None:
    with pytest.raises(ValueError, match="no occultations"):
        draw([])


def land_at(longitude: float, latitude: float) -> bool:
    """Whether a place is drawn as land: rings around it, land counter-clockwise and lakes clockwise."""
    turns = 0
    for ring in coastline.rings():
        east, north = (ring - (longitude, latitude)).T
        angle = np.arctan2(north, east)
        turns += round(float(np.unwrap(np.r_[angle, angle[:1]])[-1] - angle[0]) / (2.0 * np.pi))
    return turns > 0


@pytest.mark.parametrize(
    ("longitude", "latitude", "land"),
    [
        (106.5, 29.5, True),
        (129.4, -35.05, False),
        (51.0, 42.0, False),
        (179.5, 67.5, True),
        (-175.0, 67.0, True),
        (0.0, -89.0, True),
        (178.0, -17.8, True),
        (-30.0, 0.0, False),
        (-42.0, 72.0, True),
    ],
)
def test_land_is_where_it_is(longitude: float, latitude: float, land: bool) -> None:
    assert land_at(longitude, latitude) is land


def test_coasts_keep_within_the_world_and_a_damaged_outline_is_refused() -> None:
    points = np.concatenate(coastline.rings())
    assert (np.abs(points) <= (180.0, 90.0)).all()
    assert max(float(np.abs(np.diff(ring[:, 0])).max()) for ring in coastline.rings()) <= 360.0
    packed = (Path(coastline.__file__).with_name(coastline.FILE)).read_bytes()
    assert len(packed) < 100_000
    with pytest.raises(RuntimeError, match="damaged"):
        coastline._unpacked(packed + b"x", sha256=coastline.SHA256)


def test_shares_count_every_profile_once_and_those_without_observation_reach_nowhere(short: sounding.Sounding) -> None:
    soundings = many(short, 200)
    found = penetration_plot.statistics(soundings)
    assert found["profiles"] == 200
    assert sum(group["profiles"] for group in found["groups"]) == 200
    assert sum(found["truncation_reasons"].values()) == 200
    assert found["truncation_reasons"]["nothing_retrieved"] == 10
    for depth in (500, 1000, 2000):
        count = sum(each.lowest_altitude < depth for each in soundings)
        assert found["share_below"][f"{depth}"] == pytest.approx(count / 200)
    assert penetration_plot.statistics([short._replace(lowest_altitude=np.nan)])["median_lowest_altitude"] is None


@pytest.mark.parametrize(
    ("latitude", "zone"), [(0.0, 0), (24.99, 0), (-25.0, 1), (49.9, 1), (50.0, 2), (-90.0, 2), (90.0, 2)]
)
def test_zones_are_belts_on_both_sides_of_the_equator(short: sounding.Sounding, latitude: float, zone: int) -> None:
    (group,) = penetration_plot.groups([short._replace(latitude=latitude)])
    assert group.zone == penetration_plot.ZONES[zone]


def test_the_cumulative_curve_is_the_share_that_reaches_below(short: sounding.Sounding) -> None:
    soundings = many(short, 200)
    figure = penetration_plot.figure_from_soundings(soundings)
    cumulative, histogram, reasons = figure.axes[:3]
    # The curves go up to each height and then across.
    assert {line.get_drawstyle() for line in cumulative.lines if "latitudes" in str(line.get_label())} == {"steps-pre"}
    for group in penetration_plot.groups(soundings):
        name = f"{group.zone.name}, {penetration_plot.WORDS[group.setting]}"
        share, height = curve(cumulative, name).T
        for depth in (0.3, 0.5, 1.0, 2.0, 3.5):
            drawn = share[np.searchsorted(height, depth, side="left") - 1]
            assert drawn == pytest.approx(100.0 * penetration_plot.share_below(group.lowest, depth))
        assert f"{name}: {group.lowest.size} profiles" in words(figure)
    assert sum(bar.get_width() for bar in histogram.patches) == 190
    assert [colors.to_hex(bar.get_facecolor()) for bar in histogram.patches[:1]] == [penetration_plot.ZONES[0].color]
    assert sum(bar.get_width() for bar in reasons.patches) == 200
    assert any("signal was lost" in text.get_text() for text in reasons.texts)


@pytest.mark.parametrize(("lowest", "highest"), [(0.08, 0.23), (-0.05, 0.9), (0.2, 2.6), (0.0, 14.0), (3.0, 40.0)])
def test_the_panels_are_as_high_and_their_bins_as_narrow_as_the_altitudes_reached(
    short: sounding.Sounding, lowest: float, highest: float
) -> None:
    reached = np.linspace(lowest, highest, 60)
    figure = penetration_plot.figure_from_soundings(
        [short._replace(lowest_altitude=float(each) * KILOMETRE) for each in reached]
    )
    cumulative, histogram = figure.axes[:2]
    bottom, top = cumulative.get_ylim()
    assert (bottom, top) == histogram.get_ylim()
    assert bottom <= min(lowest, 0.0)
    assert 1.0 <= top <= 15.0
    assert top < max(highest + 0.5, 1.01)
    assert sum(bar.get_width() for bar in histogram.patches) == 60
    (width,) = {round(bar.get_height(), 6) for bar in histogram.patches}
    assert (min(highest, top) - lowest) / width >= 8.0
    assert (top - bottom) / width == pytest.approx(round((top - bottom) / width))
    assert histogram.get_xlabel() == f"profiles per {width * KILOMETRE:.0f} m"


def test_one_reason_is_no_fatter_than_many_and_at_the_top(short: sounding.Sounding) -> None:
    axes = penetration_plot.figure_from_soundings([short]).axes[2]
    (bar,) = axes.patches
    bottom, top = axes.get_ylim()
    assert bar.get_height() < 0.06 * (top - bottom)
    assert bar.get_y() > top - 0.15 * (top - bottom)
    assert "1 profile," in words(axes.get_figure())
