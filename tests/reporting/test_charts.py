from __future__ import annotations

from sslkit.reporting.chart_style import SERIES, VARIABLES, inline_svg
from sslkit.reporting.charts import Curve, confusion_matrix, line_chart, scatter_chart


def test_an_inline_chart_uses_css_variables_and_escapes_names() -> None:
    curves = [Curve("$x^2$", [1, 2, 3], [1, 2, 3]), Curve("<b>\n</svg>", [1, 2, 3], [3, 2, 1])]
    svg = inline_svg(line_chart(curves, "unit", {"ln K": 2}), "one")
    for text in ("$x^2$", "&lt;b&gt;\\n&lt;/svg&gt;", "ln K"):
        assert f">{text}</text>" in svg
    assert svg.count("<svg") == svg.count("</svg>") == 1
    assert not [colour for colour in VARIABLES if colour in svg]
    assert "var(--series-0)" in svg
    assert "var(--series-1)" in svg
    assert "stroke-dasharray" in svg, "curves differ by more than their colour"
    assert "<style" not in svg
    assert "http" not in svg


def test_groups_of_a_scatter_chart_differ_by_shape_as_well_as_colour() -> None:
    points = [[float(index), float(index % 3)] for index in range(20)]
    figure = scatter_chart(points, [index % 20 for index in range(20)], {3: "three"})
    svg = inline_svg(figure, "map")
    shapes = [part.partition('"')[0] for part in svg.split('xlink:href="#')[1:]]
    colours = [part.partition(";")[0].partition(")")[0] for part in svg.split("fill: var(--series-")[1:]]
    assert len(set(zip(shapes, colours[-20:], strict=True))) == 20
    assert ">three</text>" in svg
    assert len(SERIES) == 10


def test_a_large_confusion_matrix_has_no_counts() -> None:
    small, large = ([[row == column for column in range(count)] for row in range(count)] for count in (3, 40))
    names = [str(index) for index in range(40)]
    few = inline_svg(confusion_matrix(small, [1] * 3, names[:3], names[:3]), "few")
    many = inline_svg(confusion_matrix(large, [1] * 40, names, names), "many")
    assert few.count("<text") == 3 + 3 + 3 + 2
    assert many.count("<text") < 40
