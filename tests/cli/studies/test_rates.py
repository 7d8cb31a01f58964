"""`weft study rates` trains cells at several rates, chooses on validation, and tests once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from weft import api
from weft.studies.rates.study import main

TINY = ("jepa/clean", "steps=2", "batch_size=4", "norm_batches=1", "val_dataset_size=8",
        "probe.size=8", "model.embedding_size=8", "n_steps=4", "val_n_steps=4",
        "engine.threads=1")  # fmt: skip


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_rate_with_the_best_validation_is_the_one_whose_seeds_are_tested(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--form", "idm:objective=idm", "--rates", "1e-3,3e-3", "--seeds", "2")
    assert main([*TINY, *words, "--out", "rows"]) == 0
    rows = _rows(workspace / "rows")
    tried = {row["rate"]: row["val/rmse_px"] for row in rows if row["seed"] == 0}
    chosen = [row for row in rows if row["chosen"]]
    best = min(tried, key=lambda rate: tried[rate])
    assert [(row["seed"], row["rate"]) for row in chosen] == [(0, best), (1, best)]
    assert len(tried) >= 3, "an end of the grid won, and nothing beyond it was tried"
    assert all(("test/rmse_px" in row) == row["chosen"] for row in rows)
    rates = capsys.readouterr().out.partition("**rate (test/rmse_px)**")[2]
    assert f"| {best}" in rates


def test_a_rate_at_which_the_loss_is_no_number_stops_no_study_and_is_not_chosen(
    workspace: Path,
) -> None:
    words = ("--form", "idm:objective=idm", "--rates", "1e30,1e-3", "--further", "0")
    assert main([*TINY, *words, "--seeds", "1", "--out", "rows"]) == 0
    failed, good, chosen = _rows(workspace / "rows")
    assert (failed["rate"], chosen["rate"]) == ("1e30", "1e-3")
    assert math.isnan(failed["val/rmse_px"]) and math.isfinite(good["val/rmse_px"])


def test_runs_side_by_side_are_those_that_train_makes_one_by_one(workspace: Path) -> None:
    assert main([*TINY, "--form", "idm:objective=idm", "--seeds", "2", "--out", "rows"]) == 0
    run = api.train(*TINY, "objective=idm", "seed=1", "run.dir=here", report=False)
    assert run is not None
    _, alone = _rows(workspace / "rows")
    assert (alone["seed"], alone["test/rmse_px"]) == (1, run.metrics["test/rmse_px"])


def test_parts_of_a_study_have_every_cell_once(workspace: Path) -> None:
    words = ("noise=fixed_uniform", "noise_level=0.5,1,2", "steps=1")
    cells = []
    for part in ("1/2", "2/2"):
        rest = [word for word in TINY if word != "steps=2"]
        out = ("--seeds", "1", "--part", part, "--out", part[0])
        assert main([*rest, *words, *out]) == 0
        cells += [row["noise_level"] for row in _rows(workspace / part[0]) if row["chosen"]]
    assert sorted(map(str, cells)) == ["0.5", "1", "2"]


@pytest.mark.parametrize("words", [("--part", "3/2", "--out", "x"), ()])
def test_a_study_without_a_place_or_of_no_part_is_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, *words]) == 2
    assert "expected" in capsys.readouterr().err


STACKED = ("cet/digits", "steps=2", "hidden_dim=8", "batch_size=16", "data.use_val=true",
           "track_sim=false", "log.tensorboard=false")  # fmt: skip


def test_a_stacked_study_keeps_its_runs_and_goes_on_to_further_seeds(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*STACKED, "delay=2,5", "--form", "CET:order=2", "--form", "none:delay=0"]
    words += ["--rates", "1e-3,1e-2,1e-1", "--further", "0", "--stack", "--dir", "kept"]
    assert main([*words, "--seeds", "1"]) == 0
    began = {path: path.stat().st_mtime_ns for path in workspace.glob("kept/*/metrics.jsonl")}
    assert len(began) == 2 * 2 * 3
    assert main([*words, "--seeds", "2"]) == 0
    rows = _rows(workspace / "kept" / "rates.jsonl")
    for form, delay in (("CET", "2"), ("CET", "5"), ("none", "2"), ("none", "5")):
        own = [row for row in rows if (row["form"], row["delay"]) == (form, delay)]
        tried = {row["rate"]: row["val/accuracy"] for row in own if not row["chosen"]}
        chosen = [row for row in own if row["chosen"]]
        best = max(tried, key=lambda rate: tried[rate])
        assert [(row["seed"], row["rate"]) for row in chosen] == [(0, best), (1, best)]
        assert len(tried) == 3
        assert all(row["inside"] == (best == "1e-2") for row in chosen)
    assert all(path.stat().st_mtime_ns == when for path, when in began.items())
    assert "**rate (test/accuracy)**" in capsys.readouterr().out


def test_a_folder_with_another_study_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--rates", "1e-3", "--seeds", "1", "--stack", "--dir", "kept")
    assert main([*STACKED, "delay=2", *flags]) == 0
    assert main([*STACKED, "delay=5", *flags]) == 2
    assert "another study" in capsys.readouterr().err
