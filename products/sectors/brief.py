"""One page on a product for the people who act on it, in Chinese and English: what, how sure, where unknown."""

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import jinja2

from products import provenance
from products.sectors import definition as product_definition

Language = Literal["zh", "en"]

_TEMPLATE = "brief.html.j2"
_BEIJING = dt.timezone(dt.timedelta(hours=8))
_TONES: Mapping[str, str] = MappingProxyType(
    {
        "natural-resources": "#6b4f1d",
        "rural-revitalization": "#4d7c0f",
        "ecology": "#0f766e",
        "transport": "#1d4ed8",
        "emergency": "#b3261e",
    }
)
_PRINTED = 8
"""Districts that fit on the printed page [1]; the others are on the screen and in the table."""
_INPUTS = 3
"""Inputs named on the page [1]; the provenance names all."""
_LARGE = 1e5
"""Areas from here on are told in square kilometers [m2]."""

_WORDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "en": {
            "lang": "en",
            "area": "Area",
            "observed": "Observed (UTC)",
            "beijing": "Beijing time",
            "quality": "Quality",
            "figures": "Figures",
            "item": "Item",
            "value": "Value",
            "interval": "95 % interval",
            "districts": "By district",
            "code": "Code",
            "name": "District",
            "part": "Area covered",
            "excluded": "No value",
            "clear": "seen clear",
            "filled": "filled from other dates",
            "outside": "not the subject",
            "because": {
                "cloud": "under cloud",
                "shadow": "in shadow",
                "layover": "in radar layover",
                "radar_shadow": "in radar shadow",
                "saturated": "saturated",
                "filled": "filled from other dates",
                "extrapolated": "beyond the dates there are",
                "coregistration_failed": "images not brought into register",
                "insufficient": "too few looks",
                "other": "not observed, or not decided",
            },
            "because_head": "Without value, in shares of the whole area (a pixel may count under several)",
            "left_out": "Areas too small or too many to be outlined stay in the raster alone",
            "unknown": "Where this product does not know",
            "item_id": "Item",
            "sources": "Made of",
            "provenance": "SHA-256 of the provenance",
            "intervals": "Intervals state the model's own doubt; there are no reference samples in them.",
            "map_number": "Map approval number (审图号): to be added by the publisher before public release. "
            "District outlines are those supplied by the operator.",
            "insufficient": "Insufficient data: no pixel of the area could be judged. This says nothing about the "
            "situation on the ground.",
            "validity": {"candidate": "Candidate", "rapid": "Rapid", "verified": "Verified"},
            "validity_words": {
                "candidate": "Candidate: a hint to be checked on site or by other means; not a finding.",
                "rapid": "Rapid: made automatically within minutes, not checked by a person; to be superseded.",
                "verified": "Verified: checked against independent information.",
            },
            "levels": {
                "nominal": "nominal",
                "reduced": "reduced",
                "poor": "poor",
                "insufficient": "insufficient data",
            },
            "reasons": {
                "much_of_the_area_excluded": "Much of the area has no value.",
                "many_pixels_filled": "Many pixels were filled from other dates.",
                "no_usable_pixel": "No pixel could be used.",
            },
            "objects": "objects",
            "printed": "Printed are the {shown} districts most concerned; statistics.csv holds all {all}.",
            "and_more": "and {count} more (see prov.json)",
        },
        "zh": {
            "lang": "zh-CN",
            "area": "区域",
            "observed": "观测时间(UTC)",
            "beijing": "北京时间",
            "quality": "质量",
            "figures": "主要数据",
            "item": "项目",
            "value": "数值",
            "interval": "95% 区间",
            "districts": "分区县统计",
            "code": "代码",
            "name": "区县",
            "part": "覆盖面积",
            "excluded": "无数值",
            "clear": "晴空观测",
            "filled": "由其他日期填补",
            "outside": "不属于本产品对象",
            "because": {
                "cloud": "云覆盖",
                "shadow": "阴影",
                "layover": "雷达叠掩",
                "radar_shadow": "雷达阴影",
                "saturated": "信号饱和",
                "filled": "由其他日期填补",
                "extrapolated": "超出已有日期外推",
                "coregistration_failed": "影像未能配准",
                "insufficient": "观测次数不足",
                "other": "未观测或无法判定",
            },
            "because_head": "无数值的原因,占全区比例(同一像元可计入多项)",
            "left_out": "过小或过多而未勾绘的图斑仅保留在栅格中",
            "unknown": "本产品未知之处",
            "item_id": "产品编号",
            "sources": "数据来源",
            "provenance": "溯源文件 SHA-256",
            "intervals": "区间仅反映模型自身的不确定性,未使用参考样本。",
            "map_number": "审图号:公开发布前由发布单位补充。区县界线由用户提供。",
            "insufficient": "数据不足:区域内没有可判读的像元。这不代表实地情况。",
            "validity": {"candidate": "疑似", "rapid": "快速", "verified": "核实"},
            "validity_words": {
                "candidate": "疑似:供现场或其他手段核查的线索,不是结论。",
                "rapid": "快速:数分钟内自动生成,未经人工检查,后续将被更新版本取代。",
                "verified": "核实:已与独立资料核对。",
            },
            "levels": {"nominal": "正常", "reduced": "降低", "poor": "较差", "insufficient": "数据不足"},
            "reasons": {
                "much_of_the_area_excluded": "区域内较大比例没有数值。",
                "many_pixels_filled": "较多像元由其他日期填补。",
                "no_usable_pixel": "没有可用像元。",
            },
            "objects": "个要素",
            "printed": "此处打印受影响最重的 {shown} 个区县,全部 {all} 个见 statistics.csv。",
            "and_more": "等另外 {count} 项(见 prov.json)",
        },
    }
)


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """What a product does not say.

    Parameters
    ----------
    reasons : Mapping
        Share of the area without value by the name of the quality bit set there, ``other`` without any [1].
    not_outlined : Mapping
        By class value, number ``areas`` [1] and ``area_m2`` [m2] of the areas that have no polygon.
    """

    reasons: Mapping[str, float] = field(default_factory=dict)
    not_outlined: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a page speaks of.

    Parameters
    ----------
    item_id : str
        Identity of the product.
    area : str
        Name or code of the area.
    start, end : dt.datetime
        First and last date used.
    inputs : tuple of str
        What it was made of.
    provenance_sha256 : str
        Hash of the provenance.
    software : str
        Version of this software.
    object_titles : Mapping
        Chinese and English title of every table of objects, by name.
    """

    item_id: str
    area: str
    start: dt.datetime
    end: dt.datetime
    inputs: tuple[str, ...]
    provenance_sha256: str
    software: str
    object_titles: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def render(
    definition: product_definition.ProductDefinition,
    about: Subject,
    *,
    summary: Mapping[str, Any],
    verdict: Mapping[str, Any],
    picture: bytes,
    language: Language,
    gaps: Gaps | None = None,
) -> bytes:
    """Page of a product, complete in itself: no script, nothing fetched, fit to be printed.

    Parameters
    ----------
    definition : ProductDefinition
        The product.
    about : Subject
        What it speaks of.
    summary : Mapping
        Result of `statistics.summarize`.
    verdict : Mapping
        Quality of the package.
    picture : bytes
        Quicklook, PNG.
    language : str
        ``zh`` or ``en``.
    gaps : Gaps, optional
        What the product does not say.

    Returns
    -------
    bytes
        HTML in UTF-8.
    """
    # The last digits of a sum differ between machines, and a page must not.
    summary = provenance.plain(summary)
    words, whole = _WORDS[language], summary["area"]
    chinese = language == "zh"
    titles = (definition.title_zh, definition.title_en)
    objects = {
        name: about.object_titles.get(name, (name, name))[0 if chinese else 1] for name in whole.get("objects", {})
    }
    page = _template().render(
        t=words,
        definition=definition,
        about=about,
        title=titles[0] if chinese else titles[1],
        other_title=titles[1] if chinese else titles[0],
        description=definition.description_zh if chinese else definition.description_en,
        tone=_TONES[definition.sector],
        when=_period(about.start, about.end, dt.UTC),
        beijing=_period(about.start, about.end, _BEIJING),
        verdict=verdict,
        picture=base64.b64encode(picture).decode(),
        figures=[*_figures(whole, language, definition), *_objects(whole, objects, words)],
        districts=[_district(zone, language) for zone in _concerned(summary["districts"], definition)],
        printed=_PRINTED,
        sources=_sources(about.inputs, words),
        columns=[*_columns(whole, language), *objects.values()],
        because=_because(gaps or Gaps(), words),
        left_out=_left_out(gaps or Gaps(), definition, language),
        **{name: _percent(whole[f"{name}_share"]) for name in ("excluded", "clear", "filled", "outside")},
    )
    return page.encode()


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True).get_template(_TEMPLATE)


def _period(start: dt.datetime, end: dt.datetime, zone: dt.tzinfo) -> str:
    first, last = (moment.astimezone(zone).strftime("%Y-%m-%d %H:%M") for moment in (start, end))
    return last if first == last else f"{first} / {last}"


def _because(gaps: Gaps, words: Mapping[str, Any]) -> list[str]:
    """Reasons for pixels without value, the most frequent first."""
    ordered = sorted(gaps.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    return [f"{words['because'].get(name, name)}: {_percent(share)}" for name, share in ordered if share > 0]


def _left_out(gaps: Gaps, definition: product_definition.ProductDefinition, language: Language) -> list[str]:
    names = {str(item.value): item.name_zh if language == "zh" else item.name_en for item in definition.classes}
    return [
        f"{names.get(value, value)}: {left['areas']} ({_area(left['area_m2'])})"
        for value, left in gaps.not_outlined.items()
        if left["areas"]
    ]


def _figures(
    zone: Mapping[str, Any], language: Language, definition: product_definition.ProductDefinition
) -> list[dict[str, Any]]:
    colours = {item.value: item.colour for item in definition.classes}
    if "classes" in zone:
        return [
            {
                "colour": colours.get(item["value"]),
                "name": item[f"name_{language}"],
                "value": "-" if item["share"] is None else f"{_area(item['area_m2'])} ({_percent(item['share'])})",
                "interval": _areas(item["area_95_m2"]),
            }
            for item in zone["classes"]
        ]
    return [
        {
            "name": layer[f"title_{language}"],
            "value": _number(layer["mean"], layer["units"]),
            "interval": _range(layer["mean_95"], lambda value, units=layer["units"]: _number(value, units)),
        }
        for layer in zone.get("layers", ())
    ]


def _objects(zone: Mapping[str, Any], titles: Mapping[str, str], words: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": titles[name], "value": f"{count} {words['objects']}", "interval": ""}
        for name, count in zone.get("objects", {}).items()
    ]


def _columns(zone: Mapping[str, Any], language: Language) -> list[str]:
    names = [item[f"name_{language}"] for item in zone.get("classes", ())]
    return names + [layer[f"title_{language}"] for layer in zone.get("layers", ())]


def _district(zone: Mapping[str, Any], language: Language) -> dict[str, Any]:
    cells = [(_area(item["area_m2"]), _areas(item["area_95_m2"])) for item in zone.get("classes", ())]
    cells += [
        (
            _number(layer["mean"], layer["units"]),
            _range(layer["mean_95"], lambda value, units=layer["units"]: _number(value, units)),
        )
        for layer in zone.get("layers", ())
    ]
    cells += [(str(count), "") for count in zone.get("objects", {}).values()]
    return {
        "code": zone["code"],
        "name": zone[f"name_{language}"],
        "area": _area(zone["area_m2"]),
        "cells": cells,
        "excluded": _percent(zone["excluded_share"]),
        "seen": _percent(zone["clear_share"]),
    }


def _concerned(zones: Sequence[Mapping[str, Any]], definition: product_definition.ProductDefinition) -> list[Any]:
    """Districts in the order of the codes where all fit on the page, else those most concerned first.

    Most concerned is the largest area of what the product outlines, then most objects, then the most that was seen.
    """

    def weight(zone: Mapping[str, Any]) -> tuple[float, int, float]:
        areas = [item["area_m2"] or 0.0 for item in zone.get("classes", ()) if item["value"] in definition.outlined]
        return sum(areas), sum(zone.get("objects", {}).values()), zone["area_m2"] * (1 - zone["excluded_share"])

    return list(zones) if len(zones) <= _PRINTED else sorted(zones, key=weight, reverse=True)


def _sources(inputs: Sequence[str], words: Mapping[str, Any]) -> str:
    named = ", ".join(inputs[:_INPUTS])
    left = len(inputs) - _INPUTS
    return named if left <= 0 else f"{named} {words['and_more'].format(count=left)}"


def _range(limits: Sequence[float | None], told: Any) -> str:
    """Both limits, the unit once where it is the same."""
    low, high = limits
    if low is None or high is None:
        return "-"
    first, last = told(low), told(high)
    number, _, unit = first.partition(" ")
    return f"{number} – {last}" if unit == last.partition(" ")[2] else f"{first} – {last}"


def _areas(limits: Sequence[float | None]) -> str:
    """Limits of an area in the unit of the upper one."""
    low, high = limits
    if low is None or high is None:
        return "-"
    divisor = 1e6 if high >= _LARGE else 1e4
    return f"{_three(low / divisor)} – {_area(high)}"


def _area(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{_three(value / 1e6)} km²" if value >= _LARGE else f"{_three(value / 1e4)} ha"


def _number(value: float | None, units: str) -> str:
    if value is None:
        return "-"
    return _three(value) if units == "1" else f"{_three(value)} {units}"


def _three(value: float) -> str:
    """Three digits, but large figures whole rather than in powers of ten."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
