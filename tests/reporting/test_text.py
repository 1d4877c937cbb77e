from __future__ import annotations

import pytest

from sslkit.reporting.chart_style import SERIES, VARIABLES, inline_svg
from sslkit.reporting.charts import Line, confusion, curves, scatter
from sslkit.reporting.escape import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with spaces", "plain, with spaces"),
        ("Übung 猫 قطة 👩‍🔬", "Übung 猫 قطة 👩‍🔬"),
        ("two\nlines\tand \x1b[31mred\x00", r"two\nlines\tand \x1b[31mred\x00"),
        ("\u202ereversed\u2069 \u2028", r"\u202ereversed\u2069 \u2028"),
        ("no character \udcff", r"no character \udcff"),
    ],
)
def test_what_would_act_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_chart_takes_the_colours_of_its_page_and_says_names_as_they_are() -> None:
    lines = [Line("$x^2$", [1, 2, 3], [1, 2, 3]), Line("<b>\n</svg>", [1, 2, 3], [3, 2, 1])]
    svg = inline_svg(curves(lines, "unit", {"ln K": 2}), "one")
    for shown in ("$x^2$", "&lt;b&gt;\\n&lt;/svg&gt;", "ln K"):
        assert f">{shown}</text>" in svg
    assert svg.count("<svg") == svg.count("</svg>") == 1
    assert not [colour for colour in VARIABLES if colour in svg]
    assert "var(--series-0)" in svg
    assert "var(--series-1)" in svg
    assert "stroke-dasharray" in svg, "curves differ by more than their colour"
    assert "<style" not in svg
    assert "http" not in svg


def test_groups_differ_by_shape_as_well_as_colour() -> None:
    points = [[float(place), float(place % 3)] for place in range(20)]
    figure, where = scatter(points, [place % 20 for place in range(20)], {3: "three"})
    svg = inline_svg(figure, "map")
    shapes = [part.partition('"')[0] for part in svg.split('xlink:href="#')[1:]]
    colours = [part.partition(";")[0].partition(")")[0] for part in svg.split("fill: var(--series-")[1:]]
    assert len(set(zip(shapes, colours[-20:], strict=True))) == 20
    assert ">three</text>" in svg
    assert len(SERIES) == 10
    assert where[0][0] < where[19][0]
    assert where[0][1] > where[2][1], "from the top"


def test_a_large_confusion_matrix_has_no_numbers() -> None:
    few, many = ([[place == other for other in range(count)] for place in range(count)] for count in (3, 40))
    names = [str(place) for place in range(40)]
    assert inline_svg(confusion(few, [1] * 3, names[:3], names[:3]), "few").count("<text") == 3 + 3 + 3 + 2
    assert inline_svg(confusion(many, [1] * 40, names, names), "many").count("<text") < 40
