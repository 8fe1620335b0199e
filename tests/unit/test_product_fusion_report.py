"""The page of a fusion: it says what the report says, and its pictures show what the arrays hold."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib import image as mpl_image

from products import fusion_plot, fusion_report, quicklook

LEGEND = (
    quicklook.LegendEntry(value=0, colour="#7fbf7b", label_en="Clear", label_zh="晴空"),
    quicklook.LegendEntry(value=2, colour="#ffffff", label_en="Cloud", label_zh="云"),
)


def decoded(png: bytes) -> np.ndarray:
    return mpl_image.imread(io.BytesIO(png), format="png")[..., :3]


def share(picture: np.ndarray, colour: str) -> float:
    wanted = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return float((np.abs(picture - wanted).max(axis=-1) < 0.02).mean())


def drawn(*panels: fusion_plot.Panel, width: float | None = 500.0) -> bytes:
    return fusion_plot.draw(panels, title="Pansharpening", date="2024-05-15", width=width)


def test_natural_color_keeps_the_order_of_the_bands_and_marks_gaps():
    image = np.zeros((3, 4, 4), dtype=np.float32)
    image[0] = 0.3
    image[1] = 0.1
    image[:, 0, 0] = np.nan
    picture = quicklook.natural_color(image)
    assert picture[1, 1, 0] > picture[1, 1, 1] > picture[1, 1, 2] == 0
    assert tuple(picture[0, 0]) == (201, 203, 206)


def test_an_image_without_any_value_is_all_gap():
    assert (quicklook.natural_color(np.full((3, 2, 2), np.nan)) == (201, 203, 206)).all()


def test_classes_are_painted_in_the_colours_of_their_legend():
    classes = np.zeros((50, 50), dtype=np.uint8)
    red = quicklook.LegendEntry(value=3, colour="#cc2222", label_en="Shadow", label_zh="阴影")
    classes[:25] = 3
    picture = decoded(drawn(fusion_plot.Panel(title="mask", image=classes, legend=(*LEGEND, red))))
    assert share(picture, "#cc2222") == pytest.approx(share(picture, "#7fbf7b"), rel=0.15)
    assert share(picture, "#cc2222") > 0.2


def test_kept_and_rejected_tie_points_differ():
    image = np.zeros((3, 60, 60), dtype=np.float32)
    arrows = np.array([[15.0, 15.0, 0.4, -0.2, 1.0], [45.0, 45.0, 3.0, 3.0, 0.0]])
    with_points = decoded(drawn(fusion_plot.Panel(title="ties", image=image, arrows=arrows)))
    none_kept = decoded(drawn(fusion_plot.Panel(title="ties", image=image, arrows=arrows * [1, 1, 1, 1, 0])))
    assert share(with_points, "#ffd166") > 0
    assert share(none_kept, "#ffd166") == 0
    assert share(none_kept, "#d1495b") > 0


def test_equal_input_gives_equal_bytes_and_the_scale_needs_the_ground():
    panel = fusion_plot.Panel(title="sigma", image=np.arange(100.0).reshape(10, 10), label="sigma [1]", limits=(0, 99))
    assert drawn(panel) == drawn(panel)
    assert drawn(panel) != drawn(panel, width=None)


def test_four_maps_take_two_rows():
    panel = fusion_plot.Panel(title="a", image=np.zeros((20, 20)))
    assert decoded(drawn(*[panel] * 4)).shape[0] > 1.5 * decoded(drawn(*[panel] * 3)).shape[0]


def test_the_page_says_status_warnings_and_every_figure():
    report = {
        "status": "refused",
        "warnings": ["no <system> stated"],
        "shift_x": 0.123456,
        "n_tie_points": 7,
        "good": True,
        "nothing": None,
        "limits": [1.0, 2.0],
        "candidates": {"gsa": {"ergas": 1.25, "bands": [1, 2]}, "cbd": {"ergas": 1.5, "sam": 2.0}},
        "model": {"kind": "affine"},
        "tie_points": [{"x": number, "y": 2} for number in range(100)],
        "long": list(range(20)),
        "empty": [],
    }
    pictures = [fusion_report.Picture("before and after", b"png")]
    page = fusion_report.page(report, title="Co-registration", lead="Two scenes.", pictures=pictures)
    assert "badge bad" in page
    assert "no &lt;system&gt; stated" in page
    for text in ("0.1235", ">7<", ">yes<", ">-<", "before and after", "gsa", "1.25", "affine", "first 60 of 100"):
        assert text in page, text
    assert base64.b64encode(b"png").decode() in page
    assert "badge bad" not in fusion_report.page({"status": "ok"}, title="", lead="", pictures=[])


def test_the_page_loads_nothing_from_outside():
    page = fusion_report.page({"a": 1}, title="t", lead="", pictures=[fusion_report.Picture("c", b"x")])
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "http" not in page
