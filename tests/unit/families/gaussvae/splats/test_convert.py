"""Folders of splats from one kind of file to the other: what is done stays, what fails is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from weft.errors import UsageError
from weft.families.gaussvae.splats import convert as module
from weft.families.gaussvae.splats.convert import LOG, SUMMARY, Order, convert_all, inputs
from weft.families.gaussvae.splats.files import SplatFile, write_npz, write_pt

SPLATS = np.random.default_rng(0).random((5, 8), np.float32)
ORDER = Order("pt2npz")


def _folder(path: Path, count: int = 3) -> Path:
    path.mkdir()
    for number in range(count):
        write_pt(path / f"{number}.pt", SplatFile(SPLATS + number, {"psnr": float(number)}))
    return path


def _run(place: Path, out: Path, order: Order = ORDER) -> tuple[dict[str, object], int]:
    """The summary, and how many files were converted now."""
    before = len((out / LOG).read_text().splitlines()) if (out / LOG).exists() else 0
    summary, _ = convert_all(inputs(place, order.way), out, order, lambda done: None)
    return summary, len((out / LOG).read_text().splitlines()) - before


def test_there_and_back_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    place = _folder(tmp_path / "pt")
    _run(place, tmp_path / "npz")
    _run(tmp_path / "npz", tmp_path / "back", Order("npz2pt"))
    for path in place.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


def test_finished_files_are_skipped_unless_forced(tmp_path: Path) -> None:
    place, out = _folder(tmp_path / "pt"), tmp_path / "out"
    assert _run(place, out)[1] == 3
    (out / "1.npz").unlink()
    assert _run(place, out)[1] == 1
    assert _run(place, out, Order("pt2npz", force=True))[1] == 3


def test_a_file_that_fails_stops_no_other(tmp_path: Path) -> None:
    place, out = _folder(tmp_path / "pt"), tmp_path / "out"
    (place / "0.pt").write_bytes(b"no checkpoint")
    summary, failed = convert_all(inputs(place, "pt2npz"), out, ORDER, lambda done: None)
    assert list(failed) == ["0.pt"]
    assert [summary[key] for key in ("converted", "remaining", "failure_count")] == [2, 1, 1]
    assert json.loads((out / SUMMARY).read_text()) == summary


def test_what_was_written_wrong_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(path: Path, file: SplatFile) -> None:
        write_npz(path, SplatFile(file.splats + 1, file.scores))

    monkeypatch.setattr(module, "write_npz", spoilt)
    place = _folder(tmp_path / "pt")
    assert _run(place, tmp_path / "a")[0]["validation_failures"] == 3
    unseen = Order("pt2npz", validate=False)
    assert _run(place, tmp_path / "b", unseen)[0]["validation_failures"] == 0


def test_summaries_are_written_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, out, seen = _folder(tmp_path / "pt"), tmp_path / "out", []

    def told(done: int) -> None:
        path = out / SUMMARY
        seen.append(json.loads(path.read_text())["converted"] if path.exists() else 0)

    convert_all(inputs(place, "pt2npz"), out, Order("pt2npz", batch=1), told)
    assert seen == [0, 1, 2]


def test_a_folder_without_such_files_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none.pt"):
        with pytest.raises(UsageError, match=r"there is no \.pt file"):
            inputs(place, "pt2npz")
