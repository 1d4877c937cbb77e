"""Measure ``sslkit explore`` with many images: start, answers, memory, and the page in a browser.

    python benchmarks/speed/explore.py WORK --images cifar10/train cifar100/train [--rounds 3] [--no-record]

``--images`` names folders with one folder per class. Their files are hard-linked into ``WORK/images``. The run in
``WORK/runs`` is trained on the first 20 images of each class: heads of 100 classes on the frozen features (1280 values)
of EfficientNet-Lite0, which reads images of 32 pixels. Later calls use the same run; ``WORK`` also holds the cache.

Each round starts a server, whose features are cached, and measures the seconds until the page's first answers. CPU
seconds do not depend on other programs, so the record also has these. The page is measured in a headless Chromium
without a GPU: the map is dragged, and each step waits for its frame. Needs playwright; writes
``benchmarks/records/explore.json``.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path
from statistics import median

from playwright.sync_api import Page, sync_playwright

import sslkit
from benchmarks.common import option_parser, print_table, seconds_of, write_record
from benchmarks.explore_server import Server, cpu_seconds_of_descendants, running

IMAGES_PER_CLASS = 20
"""Number of training images of each class of the folders."""

RECIPE = """\
run = {name = "explore"}
train = {epochs = 10, batch_size = 512, precision = "float32"}
data = {use = "image-folder", size = 32}
views = {use = "plain", size = 32}
positives = {use = "neighbours", k = 5}
backbone = {use = "timm", weights = "bundled", train = "none", model = "tf_efficientnet_lite0"}
head = {use = "selfcls-mlp", hidden_dims = [512], embedding_dim = 128, classifiers = [100, 100, 100]}
loss = {use = "selfcls"}
optimizer = {use = "adamw", lr = 1e-3}
"""

DRAG_STEPS = 20
"""Number of steps by which the map is dragged."""

NOTE_CLICK = "addEventListener('click', () => (window.clicked = performance.now()), {capture: true, once: true})"
"""Store the time of the next click, because the click of the browser driver takes time of its own."""

SHOWN = """
async () => {
    const loaded = (image) => image.complete && image.naturalWidth > 0;
    while ([...document.querySelectorAll(".tile img")].filter(loaded).length < 20)
        await new Promise(requestAnimationFrame);
    return (performance.now() - window.clicked) / 1000;
}
"""
"""Wait until 20 images of a class are shown, and return the seconds since the click."""


def prepare(work: Path, folders: list[Path]) -> sslkit.Run:
    """Link the images, train the run if it does not exist, and let its recipe name all images."""
    images, few = work / "images", work / "few"
    if not images.exists():
        for folder in folders:
            for label in sorted(path for path in folder.iterdir() if path.is_dir()):
                for root, count in ((images, None), (few, IMAGES_PER_CLASS)):
                    target = root / "train" / f"{folder.parent.name}-{label.name}"
                    target.mkdir(parents=True)
                    for file in islice(sorted(label.iterdir()), count):
                        os.link(file, target / file.name)
    if not (work / "runs").exists():
        (work / "recipe.toml").write_text(RECIPE)
        run = sslkit.train(work / "recipe.toml", settings=[f"data.root={few}"], runs=work / "runs")
        run.recipe.write_text(run.recipe.read_text().replace(json.dumps(str(few)), json.dumps(str(images))))
    return sslkit.Run((work / "runs" / "latest").resolve())


def measure_answers(server: Server) -> dict[str, float]:
    """Return the seconds of requests, and the memory of the server in GB."""
    results = {"seconds until the classes are shown": seconds_since_start(server, lambda: server.get("api/classes"))}
    results["CPU seconds until the classes are shown"] = server.cpu_seconds()
    shown = server.get("api/images", number=0)["images"][:40]
    requests: dict[str, Callable[[], object]] = {
        "list a class": lambda: server.get("api/images", number=1),
        "describe 40 images": lambda: server.get("api/details", images=",".join(map(str, shown))),
        "40 thumbnails, first time": lambda: [server.get(f"thumbnail/{index}") for index in shown],
        "40 thumbnails, cached": lambda: [server.get(f"thumbnail/{index}") for index in shown],
        "sort all by similarity": lambda: server.get("api/images", sort="similarity"),
        "sort all by file name": lambda: server.get("api/images", sort="file"),
        "search all": lambda: server.get("api/images", text="0007"),
        "more like this": lambda: server.get("api/images", like=5),
        "first correction": lambda: server.post("move", images=shown[:20], number=3),
        "next correction": lambda: server.post("move", images=shown[20:], number=3),
        "undo": lambda: [server.post("undo") for _ in range(2)],
        "map (PCA), first time": lambda: server.get("api/map/pca"),
        "map (PCA), again": lambda: server.get("api/map/pca"),
        "preview a split": lambda: server.post("preview", number=0, parts=2),
        "list a class while outlier scores are computed": lambda: [
            server.get("api/images", sort="outlier"),
            server.get("api/images", number=2),
        ],
        "outlier scores, first time": lambda: list_outliers(server),
    }
    results |= {name: seconds_of(request) for name, request in requests.items()}
    return results | {"memory at the end, GB": server.memory("VmRSS"), "peak memory, GB": server.memory("VmHWM")}


def list_outliers(server: Server) -> None:
    """List all images by outlier score: the server answers without images while it computes the scores."""
    while server.get("api/images", sort="outlier")["images"] is None:
        pass


def seconds_since_start(server: Server, work: Callable[[], object]) -> float:
    """Return the seconds from the start of the server to the end of ``work``."""
    work()
    return time.perf_counter() - server.started


def measure_page(page: Page, server: Server) -> dict[str, float]:
    """Return the seconds from a click until the page shows a class, and the frames of a moving map."""
    page.goto(server.url)
    page.wait_for_selector(".cards li img")
    largest = max(server.get("api/classes")["classes"], key=lambda card: card["size"])
    before = server.cpu_seconds()
    page.evaluate(NOTE_CLICK)
    page.locator(f".cards li[data-class='{largest['number']}'] a").click()
    results = {"open a class in the browser": page.evaluate(SHOWN)}
    results["CPU seconds of the server to open a class"] = server.cpu_seconds() - before
    page.goto(f"{server.url}#/map")
    page.wait_for_selector(".legend li")
    page.wait_for_timeout(2000)
    return results | drag_map(page)


def drag_map(page: Page) -> dict[str, float]:
    """Drag the map by ``DRAG_STEPS`` steps, and return the milliseconds and CPU seconds of a frame."""
    area = page.locator(".plot canvas").bounding_box()
    assert area
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    before, times = cpu_seconds_of_descendants(), []
    for step in range(DRAG_STEPS):
        page.mouse.move(x + 10 * step, y)
        times.append(page.evaluate("new Promise(requestAnimationFrame)"))
    cpu = (cpu_seconds_of_descendants() - before) / DRAG_STEPS
    page.mouse.up()
    frame = median(end - start for start, end in pairwise(times))
    return {"map: median frame without a GPU, ms": frame, "map: CPU seconds of the browser for a frame": cpu}


def main() -> None:
    """Prepare the run, measure in rounds, print a table and write the record."""
    parser = option_parser(__doc__, rounds=3)
    parser.add_argument("work", type=Path, help="folder for the run and the cache")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders with one folder per class")
    options = parser.parse_args()
    work = options.work.resolve()
    os.environ["SSLKIT_CACHE"] = str(work / "cache")
    run = prepare(work, options.images)
    first: dict[str, float] = {}
    if not any((work / "cache" / "features").glob("outputs-*")):
        with running(run) as server:
            seconds, cpu = time.perf_counter() - server.started, server.cpu_seconds()
            first = {"seconds": seconds, "CPU seconds": cpu, "peak memory, GB": server.memory("VmHWM")}
            print(f"first start, which computes all features: {first}", flush=True)
    rounds: list[dict[str, float]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(options.rounds):
            shutil.rmtree(work / "cache" / "thumbnails", ignore_errors=True)
            with running(run) as server:
                count = server.get("api/classes")["images"]
                answers = measure_answers(server)
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                rounds.append(answers | measure_page(page, server))
                page.close()
        browser.close()
    medians = {name: median(one[name] for one in rounds) for name in rounds[0]}
    print_table(f"{count} images", ("what", "median"), [(name, f"{value:.3f}") for name, value in medians.items()])
    if not options.no_record:
        results = {"images": count, "first_start": first, "median": medians, "rounds": rounds}
        write_record("explore", results, ["starlette", "uvicorn", "playwright"])


if __name__ == "__main__":
    main()
