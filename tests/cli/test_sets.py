"""A data set whose parts do not fit is refused by the dry run already; nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weft import api, families
from weft.cli import main
from weft.engine.parts import Parts

READERS = {
    "cet": ("cet/digits", "batch_size=8", "delay=2"),
    "warp": ("warp/digits", "batch_size=4", "grounding_length=3"),
}
SOUND: dict[str, Any] = {
    "x_train": np.zeros((60, 8, 8), np.uint8),
    "y_train": np.arange(60) % 3,
    "x_test": np.zeros((20, 8, 8), np.uint8),
    "y_test": np.arange(20) % 3,
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "negative labels": ({"y_train": np.arange(60) % 3 - 1}, "labels from -1"),
    "labels near 1e9": ({"y_train": np.full(60, 10**9)}, "to 1,000,000,000"),
    "empty train": (
        {"x_train": np.zeros((0, 8, 8), np.uint8), "y_train": np.arange(0)}, "`train` is empty"),
    "empty test": (
        {"x_test": np.zeros((0, 8, 8), np.uint8), "y_test": np.arange(0)}, "`test` is empty"),
    "no test": ({"x_test": None, "y_test": None}, "no `test` part"),
    "other pictures": ({"x_test": np.zeros((20, 10, 10), np.uint8)}, "do not fit together"),
    "a label beyond": ({"y_test": np.arange(20) % 4}, "`train` has none of: 3"),
    "no pixels": ({"x_train": np.zeros((60, 8, 0), np.uint8),
                   "x_test": np.zeros((20, 8, 0), np.uint8)}, "are empty"),
    "channels": ({"x_train": np.zeros((60, 8, 8, 4), np.uint8),
                  "x_test": np.zeros((20, 8, 8, 4), np.uint8)}, "data.layout"),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", WRONG)
def test_a_set_that_does_not_fit_is_refused_by_the_dry_run(
    reader: str, name: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, says = WRONG[name]
    arrays = {key: value for key, value in {**SOUND, **change}.items() if value is not None}
    np.savez("mine.npz", **arrays)
    words = [*READERS[reader], "data.dataset=mine.npz"]
    assert main(["train", *words, "--dry-run"]) == main(["train", *words, "--quiet"]) == 2
    printed = capsys.readouterr().err
    assert says in printed
    assert "mine.npz" in printed
    assert "Traceback" not in printed
    assert [path.name for path in workspace.iterdir()] == ["mine.npz"]


@pytest.mark.parametrize("reader", READERS)
def test_a_layout_says_which_axis_is_that_of_channels(reader: str, workspace: Path) -> None:
    images = {split: np.zeros((60, 8, 6, 4), np.uint8) for split in ("x_train", "x_test")}
    np.savez("mine.npz", **{**SOUND, **images, "y_test": SOUND["y_train"]})

    def parts(layout: str) -> Parts:
        words = (*READERS[reader], "data.dataset=mine.npz", f"data.layout={layout}")
        found = api.configure(*words, **{"steps": 1}).config
        return Parts.of(families.find(found.family), found)

    first, last = (parts(f"channels_{which}").spec.example() for which in ("first", "last"))
    key = "image" if reader == "cet" else "x"
    assert (first[key].shape[-3:] if reader == "cet" else first[key].shape[-1:]) == (
        (8, 6, 4) if reader == "cet" else (8,)
    )
    assert (last[key].shape[-3:] if reader == "cet" else last[key].shape[-1:]) == (
        (4, 8, 6) if reader == "cet" else (4,)
    )


@pytest.mark.parametrize("reader", READERS)
def test_a_layout_of_a_named_set_is_a_mistake(
    reader: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *READERS[reader], "data.layout=channels_last", "--dry-run"]) == 2
    assert "applies to pictures of an .npz file" in capsys.readouterr().err


def _ts(name: str, train: str, test: str, used: str = "") -> None:
    rows = {"up": "0,1,2,3,4,5", "down": "0,-1,-2,-3,-4,-5", "flat": "0,0,0,0,0,0"}
    for half, listed, extra in (("TRAIN", train, ""), ("TEST", test, used)):
        lines = [f"{rows[one]}:{one}" for one in ["up", "down"] * 6 + extra.split()]
        text = "\n".join((f"@classLabel true {listed}", "@data", *lines, ""))
        Path(f"{name}_{half}.ts").write_text(text)


def test_classes_listed_in_another_order_score_the_same(
    workspace: Path, without_pictures: None
) -> None:
    scores = []
    for name, test in (("Same", "up down"), ("Swap", "down up")):
        _ts(name, "up down", test)
        run = api.train("warp/basic-motions", "data.root=.", f"data.subset={name}", "batch_size=4",
                        "steps=30", "optim.lr=0.01", "eval.every=30 steps", "data.val_share=0",
                        "log.tensorboard=false", f"run.name={name}", report=False)  # fmt: skip
        assert run is not None
        scores.append(run.metrics)
    assert scores[0] == scores[1]
    assert scores[0]["test/accuracy"] == 1


def test_a_class_in_test_alone_is_refused_by_the_dry_run(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _ts("More", "up down", "up down flat", used="flat")
    words = ["warp/basic-motions", "data.root=.", "data.subset=More", "batch_size=4"]
    assert main(["train", *words, "--dry-run"]) == 2
    assert "none of: flat" in capsys.readouterr().err


def test_a_table_that_ends_early_is_refused_by_the_dry_run(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = "date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT"
    rows = "\n".join(f"2016-07-01 {hour:02}:00:00,1,2,3,4,5,6,7" for hour in range(24))
    Path("ETTm2.csv").write_text(f"{columns}\n{rows}\n")
    assert main(["train", "warp/ett", "data.root=.", "data.subset=m2", "--dry-run"]) == 2
    printed = capsys.readouterr().err
    assert "ETTm2.csv has 24 rows" in printed
    assert "at least 57,600" in printed


@pytest.mark.parametrize("content", ["", " \n\n \n", "only one paragraph"])
def test_a_text_without_two_documents_is_refused_by_the_dry_run(
    content: str,
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEFT_CACHE", str(workspace / "cache"))
    Path("mine.txt").write_text(content)
    assert main(["train", "feedback/text", "data.dataset=mine.txt", "--dry-run"]) == 2
    assert "documents" in capsys.readouterr().err
