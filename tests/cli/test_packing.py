"""Own pictures and series become npz files, and every command of docs/own-data.md takes them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.documents import carried_out
from tests.cli.test_documents import ROOT, commands
from weft import api
from weft.cli import main

OWN_DATA = [each for each in commands(ROOT / "docs" / "own-data.md") if not each.mention]


def photos(folder: Path, each: int = 15) -> None:
    draw = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = draw.integers(0, 256, (24, 20 + number, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def meters(path: Path, rows: int = 700) -> None:
    lines = [f"2026-01-01,{np.sin(step / 4):.3f},{step % 24}" for step in range(rows)]
    path.write_text("\n".join(["date,load,hour", *lines, ""]))


@pytest.fixture
def own(workspace: Path, without_pictures: None) -> Path:
    """What a user might have."""
    draw = np.random.default_rng(1)
    photos(workspace / "photos")
    meters(workspace / "meters.csv")
    Path("notes.txt").write_text("\n\n".join(f"note {n} of what was seen" for n in range(60)))
    images = {
        f"x_{part}": draw.integers(0, 256, (30, 8, 8), np.uint8) for part in ("train", "test")
    }
    np.savez("images.npz", **images, y_train=np.arange(30) % 3, y_test=np.arange(30) % 3)
    np.savez(
        "sequences.npz", **{f"X_{part}": draw.random((20, 40, 2)) for part in ("train", "test")}
    )
    return workspace


@pytest.mark.slow
def test_every_command_of_the_page_on_own_data_is_carried_out(own: Path) -> None:
    assert len(OWN_DATA) == 12
    for command in OWN_DATA:
        assert carried_out(command, "batch_size=8", "delay=2") == 0, command.text
    assert {run.family for run in api.runs()} == {"cet", "warp", "gaussvae", "feedback"}


def test_a_folder_s_classes_are_its_folders_and_some_of_each_are_held_out(workspace: Path) -> None:
    photos(workspace / "photos", 5)
    assert main(["data", "pack", "photos", "--size", "8", "--out", "a.npz"]) == 0
    with np.load("a.npz") as found:
        assert found["x_train"].shape == (8, 3, 8, 8) and found["x_train"].dtype == np.uint8
        assert sorted(found["y_test"]) == [0, 1] and sorted(found["y_train"]) == [0] * 4 + [1] * 4
    words = ["photos/cats", "--size", "8", "--grey", "--held-out", "0.4", "--out", "b.npz"]
    assert main(["data", "pack", *words]) == 0
    with np.load("b.npz") as found:
        assert found["x_train"].shape == (3, 8, 8) and not found["y_train"].any()


def test_series_are_cut_in_time_and_columns_that_are_no_numbers_left_out(workspace: Path) -> None:
    meters(Path("meters.csv"), 100)
    words = ["meters.csv", "--steps", "10", "--stride", "5", "--out", "m.npz"]
    assert main(["data", "pack", *words]) == 0
    with np.load("m.npz") as found:
        assert found["X_train"].shape == (15, 10, 2) and found["X_test"].shape == (3, 10, 2)
        hours = found["X_train"][1, :, 1]
        assert hours.tolist() == [float(step % 24) for step in range(5, 15)]
        assert found["X_test"][0, 0, 1] == 80 % 24  # the first of the last fifth


@pytest.mark.parametrize(
    ("table", "words", "says"),
    [
        ("a,b\n1,2\n3,\n", ["--steps", "2"], "column `b` has no number here   (t.csv:3)"),
        ("a,b\n1,nan\n", [], "1 rows leave"),
        ("day\nmonday\n", [], "no column of numbers"),
        ("", [], "found in the first line: nothing"),
        ("<html>\nlost\n", [], "found in the first line: <html>"),
        ("1\n2\n3\n", ["--steps", "9"], "expected 9 at least"),
        ("1\n2\n", ["--out", "m.txt"], "is no npz file"),
        ("a\n1,2,3\n", ["--steps", "2"], "3 entries stand here, and 1 in the first row"),
        # Of these commas alone would make numbers, others than were meant.
        ("a;b\n1,5;2,5\n", ["--steps", "2"], "between semicolons   (t.csv:2)"),
        ("1;0,5;0,84\n2;0,6;0,9\n", ["--steps", "2"], "between semicolons   (t.csv:1)"),
        ("2026-01-01;1,5\n2026-01-02;2,5\n", ["--steps", "2"], "between semicolons"),
        ("1\t2\n3\t4\n", ["--steps", "2"], "between tabulators"),
        ("1 2\n3 4\n", ["--steps", "2"], "between blanks"),
        (
            "day,a\n2026-01-02,1\n2026-01-01,2\n",
            [],
            "go back: 2026-01-01 00:00:00 after 2026-01-02",
        ),
        ("a\n1\n1e39\n", ["--steps", "2"], "expected a number of 32 bits"),
        ("a\n1\n\udcff\n", [], "expected a table of text in UTF-8"),
    ],
)
def test_what_cannot_be_packed_is_told_and_nothing_written(
    workspace: Path, capsys: pytest.CaptureFixture[str], table: str, words: list[str], says: str
) -> None:
    Path("t.csv").write_bytes(table.encode(errors="surrogateescape"))
    assert main(["data", "pack", "t.csv", "--out", "m.npz", *words]) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in workspace.iterdir()] == ["t.csv"]


def test_a_class_of_one_picture_and_other_files_are_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(workspace / "photos", 1)
    assert main(["data", "pack", "photos", "--out", "a.npz"]) == 2
    assert "a single picture   (photos/cats)" in capsys.readouterr().err
    assert main(["data", "pack", "nowhere", "--out", "a.npz"]) == 2
    assert "cannot be packed" in capsys.readouterr().err


def test_text_with_semicolons_and_dates_with_blanks_are_columns_that_are_left_out(
    workspace: Path,
) -> None:
    rows = [f'{n},"a; b; 7",2026 01 02 03:00,{n / 2}' for n in range(20)]
    Path("t.csv").write_text("\n".join(rows))
    assert main(["data", "pack", "t.csv", "--steps", "4", "--out", "m.npz"]) == 0
    with np.load("m.npz") as found:
        assert found["X_train"].shape[2] == 2


@pytest.mark.parametrize("target", ["..", "../photos/cats", "."])
def test_classes_that_share_pictures_are_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    photos(workspace / "photos", 3)
    (workspace / "photos" / "more").symlink_to(target)
    assert main(["data", "pack", "photos", "--out", "a.npz"]) == 2
    assert "expected classes that have no picture in common" in capsys.readouterr().err


def test_a_class_may_lie_elsewhere(workspace: Path) -> None:
    photos(workspace / "photos", 3)
    (workspace / "photos" / "cats").rename(workspace / "cats")
    (workspace / "photos" / "cats").symlink_to(workspace / "cats")
    assert main(["data", "pack", "photos", "--out", "a.npz"]) == 0


def test_a_pipe_among_pictures_is_not_waited_for(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(workspace / "photos", 3)
    os.mkfifo(workspace / "photos" / "cats" / "p.png")
    assert main(["data", "pack", "photos", "--out", "a.npz"]) == 2
    assert "found: a pipe" in capsys.readouterr().err


def test_copies_that_are_trained_and_tested_on_are_told(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(workspace / "photos", 3)
    assert main(["data", "pack", "photos", "--out", "a.npz"]) == 0
    assert "copies" not in capsys.readouterr().err
    for copy in range(9):
        shutil.copy(workspace / "photos/cats/0.png", workspace / f"photos/cats/copy{copy}.png")
    assert main(["data", "pack", "photos", "--out", "a.npz"]) == 0
    assert "pictures to test on are trained on, too: copies" in capsys.readouterr().err
