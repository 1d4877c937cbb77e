"""Print the result of ``sslkit methods compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslkit.cli.common.console import print_line, print_table, print_text, stdout_console

if TYPE_CHECKING:
    from sslkit.method_comparison.result import Comparison, MethodResult

COLUMNS = ("method", "linear", "kNN", "k-means", "classes", "minutes", "views seen", "steps", "views")


def print_comparison(result: Comparison) -> None:
    """Print the table, failed and collapsed methods, which method is best, the protocol, and the paths of the files."""
    measured = [method for method in result.methods if method.accuracies]
    rows = [_row(method) for method in measured]
    if result.kmeans_pixels is not None:
        rows.append(("k-means on pixels", "", "", f"{result.kmeans_pixels:.3f}", *[""] * (len(COLUMNS) - 4)))
    kept = [index for index, _ in enumerate(COLUMNS) if index == 0 or any(row[index] for row in rows)]
    if rows:
        print_table("", [COLUMNS[index] for index in kept], [[row[index] for index in kept] for row in rows], 3)
        print_text(stdout_console(), "accuracy on test images; in brackets: the same network with random weights")
    for method in result.methods:
        if method.reason:
            print_text(stdout_console(), f"{method.name} {_state(method)}: {method.reason}")
    for sentence in result.verdict:
        print_line(sentence)
    for sentence in _protocol(result):
        print_text(stdout_console(), sentence, style="dim")
    for path in result.files.values():
        print_line(path)


def _state(method: MethodResult) -> str:
    return {"failed": "failed", "collapsed": "has collapsed", "finished": ""}[method.state]


def _row(method: MethodResult) -> tuple[str, ...]:
    cells = {}
    for name, summary in method.accuracies.items():
        random = method.random_weights.get(name)
        cells[name] = str(summary) + (f" ({random.mean:.3f})" if random is not None else "")
    classes = cells.get("classes_acc", "")
    plan = method.plan
    assert plan is not None
    minutes = "" if method.minutes is None else f"{method.minutes:.3g}"
    planned = "" if plan.minutes is None else f" of {plan.minutes:.3g}"
    return (
        method.name + ("" if method.state == "finished" else f" ({method.state})"),
        *(cells.get(name, "") for name in ("linear_top1", "knn_top1", "kmeans_acc")),
        f"{classes}, K = {method.classes}" if classes else "",
        minutes + planned,
        _compact(plan.views_seen),
        str(plan.length.steps),
        " + ".join(f"{count} x {size} px" for count, size in plan.views) + (" *" if method.own_views else ""),
    )


def _protocol(result: Comparison) -> list[str]:
    """Return sentences about the settings that the accuracies depend on."""
    protocol = result.protocol
    ((unit, amount),) = protocol["budget"].items()
    machines = [
        f"{each['name']}, {each['threads']} thread{'s' if each['threads'] != 1 else ''}, {each['precision']}"
        for each in protocol["machines"]
    ]
    settings = f"; --set {', '.join(protocol['settings'])}" if protocol["settings"] else ""
    sentences = [
        f"protocol: {amount:g} {unit} for each run; data {protocol['data'].get('use')}, {protocol['training_images']} "
        f"training images of {' x '.join(map(str, protocol['image_shape']))}; backbone "
        f"{protocol['backbone'].get('use')}; batches of {protocol['batch_size']} images; seeds "
        f"{', '.join(map(str, protocol['seeds']))}{settings}; trained on {' and '.join(machines) or 'no machine'}",
        f"evaluation: {protocol['test_images']} test images, {protocol['test_data']}; labels are "
        f"{protocol['labels']}; minutes are the {protocol['minutes']}",
    ]
    replaced: dict[str, list[str]] = {}
    for method in result.methods:
        if method.own_views:
            options = ", ".join(f"{key} = {value}" for key, value in method.own_views.items())
            sentences.append(f"* views of {method.name}: {options}")
        if method.changes:
            changes = ", ".join(f"{key} = {value}" for key, value in method.changes.items())
            replaced.setdefault(changes, []).append(method.name)
    if replaced:
        texts = [f"{changes} ({', '.join(names)})" for changes, names in replaced.items()]
        sentences.append(f"shared settings replace these values of recipes: {'; '.join(texts)}")
    return sentences


def _compact(count: int) -> str:
    """Return a large number with three digits and the suffix k or M, such as ``51.2 M``."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
