"""One command trains feedback and its controls on two budgets and prints one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft import api
from weft.run.registry import find_runs, open_run
from weft.studies import feedback_controls

SIZES = ["batch_size=2", "model.n_layer=1", "model.n_embd=8", "model.n_head=1",
         "data.block_size=32", "eval.chunks=4", "eval.levels=2"]  # fmt: skip
FREE = ["log.tensorboard=false"]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that compares two arms on two seeds."""
    monkeypatch.chdir(tmp_path)

    def here(points, train, workers=None, on_done=None):  # type: ignore[no-untyped-def]
        for point in points:
            train(point.overrides)
        return []

    # In this process: processes of its own are the sweeps', and tested there.
    monkeypatch.setattr("weft.sweeps.pool.run_points", here)
    recipe = ["feedback/text-feedback", "steps=2", "lora_rank=2", "latents=2", *SIZES, *FREE]
    return [*recipe, "--base", "feedback/text", "steps=1", *SIZES, *FREE,
            "--arms", "static", "hidden", "--seeds", "2", "--dir", "cmp"]  # fmt: skip


@pytest.mark.slow
def test_arms_share_bases_seed_by_seed_and_the_cheap_one_gets_more_steps_for_equal_flops(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert feedback_controls.main(asked) == 0
    printed = capsys.readouterr().out
    assert "loss - static's" in printed and "page  cmp/report.html" in printed
    runs = {run.name: run for run in find_runs("cmp")}
    for name, run in runs.items():
        if not name.startswith("base"):
            assert f"base,seed={run.config['seed']}" in run.parents["base"]["file"]
    rows = (Path("cmp") / "controls.md").read_text().splitlines()[2:6]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:2] for row in cells] == [
        ["static", "steps"], ["hidden", "steps"], ["static", "FLOPs"], ["hidden", "FLOPs"],
    ]  # fmt: skip
    steps = {(row[0], row[1]): int(row[4]) for row in cells}
    assert steps["static", "steps"] == steps["hidden", "steps"] == steps["hidden", "FLOPs"] == 2
    assert steps["static", "FLOPs"] > 2
    assert (Path("cmp") / "controls.png").is_file()
    # The better of two rates on the first seed is the rate of all seeds.
    rates = {r: open_run(f"cmp/static,lr={r},steps=2,seed=0").metrics["val/loss"]
             for r in ("1e-3", "3e-3")}  # fmt: skip
    assert f"static,lr={min(rates, key=lambda r: rates[r])},steps=2,seed=1" in runs

    monkeypatch.setattr(api, "train_point", lambda words: pytest.fail(f"trained again: {words}"))
    assert feedback_controls.main(asked) == 0
    assert capsys.readouterr().out == printed
    assert feedback_controls.main(["feedback/text-feedback", "steps=3", "--dir", "cmp"]) == 1
    assert "another recipe" in capsys.readouterr().err


def test_mistakes_are_told_before_anything_is_trained(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert feedback_controls.main([*asked, "--control", "outer"]) == 2
    assert "not among the arms" in capsys.readouterr().err
    assert feedback_controls.main([*asked[:2], "lora_rank=0", *asked[3:]]) == 2
    assert "lora_rank" in capsys.readouterr().err
    assert feedback_controls.main([*asked, "--rates", "1e-3", "fast"]) == 2
    assert "`optim.lr` = fast" in capsys.readouterr().err
    assert feedback_controls.main([*asked, "--seeds", "0"]) == 2
    assert "--seeds" in capsys.readouterr().err
    assert not Path("cmp").exists()
