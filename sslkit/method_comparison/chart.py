"""Chart of the validation accuracy of all methods during training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sslkit.method_comparison.budget import Budget
from sslkit.method_comparison.result import MethodResult
from sslkit.reporting.chart_style import save_figure
from sslkit.reporting.charts import Curve, line_chart

NAME = "accuracy"
"""File name of the chart, without suffix."""

ACCURACY = "validation kNN accuracy"


def save_chart(methods: Sequence[MethodResult], budget: Budget, folder: Path) -> dict[str, str]:
    """Write the chart as PNG and SVG; return the path of each file, keyed by suffix. Without curves, write nothing.

    The x-axis is the time in minutes if the budget is in minutes, else the number of views. The first seed of each
    method is a thick curve, the other seeds are thin.
    """
    by_minutes = budget.unit == "minutes"
    most = max((method.plan.views_seen for method in methods if method.plan is not None), default=0)
    scale, views = (1e6, "million views") if most >= 1e6 else (1e3, "thousand views")
    curves: list[Curve] = []
    for method in methods:
        own: list[Curve] = []
        for run in method.runs:
            points = run.history.curve if run.history is not None else ()
            if points:
                x = [point.minutes if by_minutes else point.views / scale for point in points]
                own.append(Curve(method.name, x, [point.knn for point in points], faint=bool(own)))
        curves += reversed(own)  # thin curves have the colour of the next thick curve
    if not curves:
        return {}
    x_label = "minutes of training steps" if by_minutes else f"{views} seen"
    folder.mkdir(parents=True, exist_ok=True)
    save_figure(line_chart(curves, ACCURACY, x_label=x_label), folder, NAME)
    return {suffix: str(folder / f"{NAME}.{suffix}") for suffix in ("png", "svg")}
