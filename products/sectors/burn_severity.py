"""Product for emergency management: burn severity."""

import math
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import xarray as xr

from products.sectors import definition
from retrieval.surface import burn_severity, observation

_BANDS = ("nir", "swir2")


@dataclass(frozen=True, kw_only=True)
class BurnSeverityProductParameters:
    """Which dates are compared, and how.

    Parameters
    ----------
    minimum_share : float
        Share of usable pixels a date needs [1].
    severity : BurnSeverityParameters
        Thresholds of the classes.
    """

    minimum_share: float = 0.2
    severity: burn_severity.BurnSeverityParameters = field(default_factory=burn_severity.BurnSeverityParameters)


def burn_severity_layers(fused: xr.Dataset, *, parameters: BurnSeverityProductParameters) -> definition.SectorLayers:
    """Severity between the first and the last usable date.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset with the bands nir and swir2, and red, swir1, green, blue where there are;
        ``reference_water`` where usual water is known.
    parameters : BurnSeverityProductParameters
        Dates and thresholds.

    Returns
    -------
    SectorLayers
        Layer ``burn_severity`` [1] with the probability of the class given [1].

    Raises
    ------
    NotApplicableError
        With fewer than two usable dates.
    """
    estimate = observation.reflectance(fused)
    seen = estimate.value.sel(band=list(_BANDS)).notnull().all("band")
    found = observation.dates_with_share(seen, minimum_share=parameters.minimum_share)
    dates = definition.require_dates(found, minimum=2, purpose="burn severity")[[0, -1]]
    value, sigma = (
        [_values(part.isel(time=int(date)).sel(band=name)) for date in dates for name in _BANDS]
        for part in (estimate.value, estimate.sigma)
    )
    more = _helpful(estimate.value, dates)
    pair = burn_severity.BurnPair(value[0], value[1], value[2], value[3], excluded=_water(fused), **more)
    if not burn_severity.usable(pair, parameters=parameters.severity).any():
        raise definition.NotApplicableError("no_usable_pixel", "no pixel is usable on both dates for burn severity")
    season = burn_severity.season(pair, parameters=parameters.severity)
    doubt = [np.nan_to_num(layer.astype(np.float64)) for layer in sigma]
    severity = burn_severity.classify(
        pair, season=season, sigmas=(doubt[0], doubt[1], doubt[2], doubt[3]), parameters=parameters.severity
    )
    like = fused["qa"].isel(time=0, drop=True)
    classes = xr.zeros_like(like, dtype=np.uint8).copy(data=severity.classes)
    probability = xr.zeros_like(like, dtype=np.float32).copy(data=severity.probability)
    return definition.SectorLayers(
        data=xr.Dataset({"burn_severity": classes}),
        uncertainty=xr.Dataset({"burn_severity": probability}),
        dates=dates,
        facts=facts(season) | {"other_change_pixels": int(severity.other_change.sum())},
    )


def _helpful(value: xr.DataArray, dates: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float32]]:
    """Layers of the bands beyond those needed that are there on both dates."""
    there = [name for name in burn_severity.HELPFUL if name in value["band"].values]
    layers: dict[str, npt.NDArray[np.float32]] = {}
    for name in there:
        pair = [_values(value.isel(time=int(date)).sel(band=name)) for date in dates]
        if all(np.isfinite(layer).any() for layer in pair):
            layers |= {f"{name}_before": pair[0], f"{name}_after": pair[1]}
    return layers


def facts(season: burn_severity.Season) -> dict[str, float | int | None]:
    """What was taken out as change of season, in JSON types.

    Parameters
    ----------
    season : Season
        Change on ground that did not burn.

    Returns
    -------
    dict
        Offset, its slope with NBR, spread and noise, dNBR x 1000 [1]; unburnt pixels it is from [1]; kinds of ground
        whose own season was learned [1]; displacement of the later date [pixel] and whether it was taken out.
    """
    shift, phenology = season.shift, season.phenology
    return {
        "season_offset": round(season.offset, 2),
        "season_slope": round(season.slope, 2),
        "unburnt_spread": round(season.spread, 2),
        "pixel_noise": round(season.noise, 2),
        "unburnt_pixels": season.pixels,
        "vegetation_kinds": 0 if phenology is None else len(phenology.drift),
        "shift_down": round(shift.down, 3),
        "shift_right": round(shift.right, 3),
        "shift_sigma": round(shift.sigma, 3) if math.isfinite(shift.sigma) else None,
        "shift_applied": shift.applied,
    }


def _values(layer: xr.DataArray) -> npt.NDArray[np.float32]:
    return np.asarray(layer.values, dtype=np.float32)


def _water(fused: xr.Dataset) -> npt.NDArray[np.bool_] | None:
    if "reference_water" not in fused:
        return None
    return np.asarray(fused["reference_water"].values > 0.5)


CLASSES = (
    definition.ProductClass(
        value=burn_severity.REGROWTH, name_en="Enhanced regrowth", name_zh="植被增长", colour="#1a9850"
    ),
    definition.ProductClass(value=burn_severity.UNBURNED, name_en="Unburned", name_zh="未过火", colour="#d9ead3"),
    definition.ProductClass(value=burn_severity.LOW, name_en="Low severity", name_zh="轻度过火", colour="#ffffbf"),
    definition.ProductClass(
        value=burn_severity.MODERATE_LOW, name_en="Moderate-low severity", name_zh="中低度过火", colour="#fdae61"
    ),
    definition.ProductClass(
        value=burn_severity.MODERATE_HIGH, name_en="Moderate-high severity", name_zh="中高度过火", colour="#f46d43"
    ),
    definition.ProductClass(value=burn_severity.HIGH, name_en="High severity", name_zh="重度过火", colour="#a50026"),
)

DEFINITION = definition.ProductDefinition(
    code="burn-severity",
    sector="emergency",
    title_en="Burn severity",
    title_zh="过火烈度",
    description_en=(
        "How much the normalized burn ratio fell between the first and the last usable date, in the classes of Key "
        "and Benson, the change of season taken out by the scene's own unburnt vegetation. It shows spectral change: "
        "harvested fields, landslides and felled woods look alike, and no plot on the ground has been measured."
    ),
    description_zh=(
        "首末可用日期之间归一化燃烧指数的下降程度,按Key与Benson分级,季节变化由场景内未过火植被扣除。"
        "反映光谱变化:收割农田、滑坡与采伐可能相似,未经地面样地验证。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name="burn_severity", title_en="Burn severity", title_zh="过火烈度"),),
    classes=CLASSES,
    outlined=(burn_severity.LOW, burn_severity.MODERATE_LOW, burn_severity.MODERATE_HIGH, burn_severity.HIGH),
    required_bands=_BANDS,
    minimum_dates=2,
    latency_target=timedelta(minutes=30),
    validity="rapid",
    algorithm=burn_severity_layers,
    parameters=BurnSeverityProductParameters(),
)
