"""The server of ``sslkit explore``: who gets an answer, what it reads, and what survives when it is killed."""

from __future__ import annotations

import io
import shlex
import signal
import socket
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy
from explore.server import Server
from PIL import Image

from sslkit import Run
from sslkit.explore.session import Session
from sslkit.runs.corrections import read_steps


def request(server: Server, method: str = "GET", path: str | None = None, **headers: str) -> httpx.Response:
    return httpx.request(method, path or f"{server.url}api/classes", headers=headers, timeout=120)


def test_only_the_page_itself_gets_an_answer(server: Server) -> None:
    address = urlsplit(server.url)
    base, port = f"{address.scheme}://{address.netloc}", address.port
    assert address.hostname == "127.0.0.1"
    assert len(address.path.strip("/")) >= 32
    assert request(server).status_code == 200
    assert request(server, Host=f"localhost:{port}").status_code == 200
    # Without the token, with a part of it, or with another one.
    token = address.path.strip("/")
    wrong = [f"/{token}", *(f"/{other}/api/classes" for other in (token[:-1], f"{token}x", token.swapcase()))]
    for path in ("/", "/api/classes", "/image/0", *wrong):
        assert httpx.get(base + path).status_code == 404, path
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        assert request(server, Host=host).status_code == 421, host
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}", f"https://127.0.0.1:{port}"):
        assert request(server, Origin=origin).status_code == 403, origin
    assert request(server, Origin=base).status_code == 200
    assert request(server, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    # A form of another page cannot send JSON.
    form = {"content-type": "text/plain"}
    assert httpx.post(f"{server.url}api/undo", content="{}", headers=form).status_code == 415
    huge = {"content-type": "application/json", "content-length": str(1 << 40)}
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = "\r\n".join(f"{name}: {value}" for name, value in ({"host": address.netloc} | huge).items())
        connection.sendall(f"POST {address.path}api/undo HTTP/1.1\r\n{head}\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    # The server is not reachable on other addresses of this machine.
    with socket.socket() as other:
        assert other.connect_ex((socket.gethostbyname(socket.gethostname()), port)) != 0 or socket.gethostbyname(
            socket.gethostname()
        ).startswith("127.")


def test_every_answer_has_a_strict_policy(server: Server) -> None:
    for path in ("", "assets/index.js", "api/classes", "thumbnail/0", "image/0", "api/nothing"):
        headers = server.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert {policy[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_only_images_of_the_run_can_be_read(server: Server, run: Run) -> None:
    for path in (
        "../../../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "assets/..%2f..%2fapp.py",
        "assets/../../app.py",
        "image/-1",
        "image/52",
        "image/0/../../etc/passwd",
        "image/%2fetc%2fpasswd",
        "thumbnail/999999999999999999999999",
    ):
        target = (urlsplit(server.url).path + path).encode()  # httpx would simplify the path
        with httpx.Client(timeout=120) as client:
            answer = client.send(httpx.Request("GET", server.url, extensions={"target": target}))
        assert answer.status_code == 404, path
        assert b"root:" not in answer.content


def test_a_file_that_became_a_link_or_another_kind_of_file_is_not_sent(server: Server, tmp_path: Path) -> None:
    details = server.get("api/details", images="0,1,2,3").json()
    assert details[0]["file"].startswith("train/<b>cat")
    root = Path(tomllib.loads(server.run.recipe.read_text())["data"]["root"])
    files = sorted((root / "train").rglob("*.png"))[:4]
    before = [file.read_bytes() for file in files]
    secret = tmp_path / "secret.png"
    Image.new("RGB", (999, 3)).save(secret)
    try:
        files[0].unlink()
        files[0].symlink_to(secret)
        files[1].write_bytes(b"<script>alert(1)</script>")
        files[2].write_bytes(b"%PDF-1.4 secret")
        files[3].unlink()
        for index in range(4):
            for kind in ("image", "thumbnail"):
                answer = server.get(f"{kind}/{index}")
                assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
                assert Image.open(io.BytesIO(answer.content)).size == (8, 8), "the stored pixels"
    finally:
        for file, data in zip(files, before, strict=True):
            file.unlink(missing_ok=True)
            file.write_bytes(data)


def test_thumbnails_and_originals_show_the_whole_image(server: Server) -> None:
    full, small = server.get("image/0"), server.get("thumbnail/0")
    assert (full.headers["content-type"], small.headers["content-type"]) == ("image/png", "image/webp")
    assert Image.open(io.BytesIO(full.content)).size == Image.open(io.BytesIO(small.content)).size == (64, 48)
    original = numpy.asarray(Image.open(io.BytesIO(full.content)).convert("L"), dtype=int)
    shown = numpy.asarray(Image.open(io.BytesIO(small.content)).convert("L"), dtype=int)
    assert abs(original - shown).mean() < 12
    assert server.get("thumbnail/0").content == small.content, "from the cache"


def test_hostile_names_are_shown_as_text(server: Server) -> None:
    state = server.get("api/classes").json()
    assert state["labels"] == ['<b>cat & "co"', "dog\\u202egod"]
    (detail,) = server.get("api/details", images="0").json()
    assert "\\u2067\\n.png" in detail["file"]
    assert detail["file"].isprintable()
    assert server.get("").text.count("<script") == 1


def test_lists_are_filtered_and_sorted(server: Server) -> None:
    listing = server.get("api/images").json()
    everything = listing["images"]
    assert sorted(everything) == list(range(52))
    details = server.get("api/details", images=",".join(map(str, everything))).json()
    assert listing["details"] == details, "of the first 100 images"
    confidence = [one["confidence"] for one in details]
    assert confidence == sorted(confidence, reverse=True)
    test = server.get("api/images", split="test", label=1).json()["images"]
    assert sorted(test) == list(range(46, 52))
    for sort in ("similarity", "outlier", "file", "date"):
        assert sorted(server.get("api/images", sort=sort).json()["images"]) == list(range(52))
    by_file = server.get("api/images", sort="file", descending=False).json()["images"]
    assert [one["file"].lower() for one in server.get("api/details", images=",".join(map(str, by_file))).json()]
    assert server.get("api/images", like=7).json()["images"][0] == 7
    found = server.get("api/images", text="ALERT(3)").json()["images"]
    assert len(found) == 4, "one in each class folder of each split"
    low = server.get("api/images", low=confidence[5]).json()["images"]
    assert low == everything[: len(low)]
    assert len(low) >= 6
    assert server.get("api/images", sort="size").status_code == 400
    assert server.get("api/images", like=99).status_code == 400
    assert server.get("api/details", images="x").status_code == 400
    assert server.get("api/map/umap").status_code == 400
    points = server.get("api/map/pca").json()["points"]
    assert len(points) == 104
    assert max(map(abs, points)) == 1


def test_wrong_corrections_are_refused(server: Server) -> None:
    for path, body in (
        ("move", {"images": [], "number": 0}),
        ("move", {"images": [0], "number": 77}),
        ("move", {"images": ["0"], "number": 0}),
        ("move", {"images": [0]}),
        ("mark", {"images": [0], "number": 4}),
        ("name", {"number": 0, "name": "x" * 201}),
        ("merge", {"numbers": [0], "name": "x"}),
        ("merge", {"numbers": [0, 1], "name": ""}),
        ("split", {"number": 0, "parts": 2, "version": -1}),
        ("undo", {"more": 1}),
        ("undo", []),
    ):
        answer = server.post(path, body)
        assert answer.status_code == 400, (path, answer.text)
        assert answer.json()["error"]
    assert server.get("api/classes").json()["corrected"] == 0


def test_killing_the_server_loses_no_saved_correction(start: Callable[[Run], Server], run: Run) -> None:
    server = start(run)
    saved = 0

    def correct() -> None:
        nonlocal saved
        for index in range(10_000):
            try:
                name = {"number": index % 3, "name": f"name {index}"}
                answer = (
                    server.post("name", name)
                    if index % 2
                    else server.post("move", {"images": [index % 52], "number": 1})
                )
            except httpx.HTTPError:
                return
            assert answer.status_code == 200
            saved += 1
            if saved == 25:
                enough.set()

    enough = threading.Event()
    thread = threading.Thread(target=correct)
    thread.start()
    assert enough.wait(240)
    server.signal(signal.SIGKILL)
    thread.join()
    steps, _ = read_steps(run.path / "corrections.csv")
    assert saved <= len(steps) <= saved + 1
    again = start(run)
    state = again.get("api/classes").json()
    assert state["undo"] == len(steps)
    last = [row for step in steps for row in step if row.action == "name"][-1]
    assert state["classes"][last.number]["name"] in (last.name, f"name {len(steps)}")
    assert again.post("undo", {}).status_code == 200


def test_corrections_survive_a_new_start_and_ctrl_c_ends_the_server(
    start: Callable[[Run], Server], run: Run, tmp_path: Path
) -> None:
    first = start(run)
    assert first.post("name", {"number": 2, "name": "<script>alert(1)</script>"}).status_code == 200
    moved = first.post("move", {"images": [0, 1, 2], "number": None, "name": "new"}).json()
    assert moved["result"] == {"number": 3}
    assert first.signal(signal.SIGINT) == 0
    root = tomllib.loads(run.recipe.read_text())["data"]["root"]
    assert (tmp_path / "server0" / "out").read_text().splitlines()[1:] == [
        f"3 images are corrected in {run.path}",
        "next steps:",
        f"  sslkit train --corrections {run.path}",
        f"  sslkit predict {run.path} {shlex.quote(root)} --out classes.csv",
    ]
    assert not list(run.path.glob(".*.part"))
    second = start(run)
    state = second.get("api/classes").json()
    assert [(card["number"], card["name"]) for card in state["classes"]][2:] == [
        (2, "<script>alert(1)</script>"),
        (3, "new"),
    ]
    assert (state["corrected"], state["classes"][3]["size"]) == (3, 3)
    assert second.signal(signal.SIGTERM) in (0, -signal.SIGTERM)


def test_ctrl_c_during_a_training_leaves_no_unfinished_run(server: Server, run: Run) -> None:
    assert server.get("api/training").json()["state"] == "idle"
    assert server.post("open", {}).status_code == 400
    server.post("move", {"images": [0, 1], "number": None})
    assert server.post("train", {}).status_code == 200
    again = server.post("train", {})
    assert (again.status_code, "wait until" in again.json()["error"]) == (400, True)
    assert server.get("api/training").json()["state"] == "running"
    assert server.signal(signal.SIGINT) == 0
    assert [path.name for path in run.path.parent.iterdir()] == ["1"]


def test_a_run_whose_images_are_gone_is_reported_on_the_page(run: Run) -> None:
    run.recipe.write_text(run.recipe.read_text().replace("<i>root", "gone"))
    session = Session(run, "cpu")
    session.start()
    session.wait()
    status = session.status()
    assert status["state"] == "failed"
    assert "gone does not exist" in status["error"]
