"""``predict`` writes the classes that a user corrected, for files with the content of a corrected image."""

from __future__ import annotations

import shutil
from pathlib import Path

from csv_tables import read_rows

from sslkit.api import Run
from sslkit.data.datasets.folder.content_hash import file_hash
from sslkit.runs.class_names import write_class_names
from sslkit.runs.corrections import CorrectionsLog, Row


def test_corrections_are_found_by_content(run: Run, digits: Path, tmp_path: Path) -> None:
    run.predict(digits, tmp_path / "plain.csv", device="cpu")
    plain = read_rows(tmp_path / "plain.csv")
    assert "correction" not in plain[0]
    files = sorted(digits.rglob("*.png"))
    rows = [(file_hash(file), file.stat().st_size) for file in files]
    log = CorrectionsLog(run.path)
    log.append((Row("move", 3, *rows[0]), Row("move", 12, *rows[1]), Row("outlier", -1, *rows[2])))
    log.append((Row("ignore", -1, *rows[3]), Row("move", 5, *rows[4]), Row("move", 7, *rows[6])))
    log.append((Row("restore", -1, *rows[4]),))
    log.append((Row("outlier", -1, *rows[5]),))
    log.append((Row("undo", 3),))
    log.close()
    write_class_names(run, ["", "", "", "=cat", *[""] * 3, "=cat", "", ""], {12: "bird"})
    # Another folder, with other names: only the content counts.
    moved = tmp_path / "moved"
    moved.mkdir()
    for index, file in enumerate(files):
        shutil.copy(file, moved / f"{index:03}.png")
    run.predict(moved, tmp_path / "corrected.csv", device="cpu")
    corrected = read_rows(tmp_path / "corrected.csv")
    assert list(corrected[0]) == ["class", "name", "confidence", "outlier_score", "correction", "file"]
    assert [row["correction"] for row in corrected[:7]] == ["moved", "moved", "outlier", "ignored", "", "", "moved"]
    values = [tuple(row[column] for column in ("class", "name", "confidence")) for row in corrected]
    # Outliers and ignored images have no class. A merged class has the smallest of its numbers.
    assert values[:4] == [("3", "'=cat", ""), ("12", "bird", ""), ("", "", ""), ("", "", "")]
    assert values[6] == ("3", "'=cat", "")
    assert "7" in {row["class"] for row in plain}
    assert "7" not in {row["class"] for row in corrected}
    for before, after in zip(plain, corrected, strict=True):
        assert before["outlier_score"] == after["outlier_score"]
        if not after["correction"] and after["class"] != "3":
            assert (before["class"], before["confidence"]) == (after["class"], after["confidence"])
    run.predict(moved / "001.png", tmp_path / "one.csv", device="cpu")
    assert read_rows(tmp_path / "one.csv")[0]["name"] == "bird"
