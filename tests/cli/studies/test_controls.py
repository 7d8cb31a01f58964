"""One command trains the arms a family lists on one budget, and says what may be concluded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.toy import family as toy_family
from tests.toy.task import ToyTask
from weft.config.family import Arm, Comparison
from weft.run.registry import find_runs
from weft.studies import controls
from weft.sweeps import point

COMPARISON = Comparison(
    arms={
        "plain": Arm((), control=True, rates=("0.05",)),
        "noisy": Arm(("noise=0.5",)),
    },
    recipe=("toy/small", "steps=16"),
    base=("toy/small", "steps=24"),
    before="loss",
    trivial="still",
)


@pytest.fixture
def asked(toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A command that compares three arms on two seeds, in this process."""
    monkeypatch.chdir(tmp_path)

    def here(points, train, workers=None, on_done=None):  # type: ignore[no-untyped-def]
        for each in points:
            train(each.overrides)
        return []

    # Processes of its own are the sweeps', and tested there.
    monkeypatch.setattr("weft.sweeps.pool.run_points", here)
    monkeypatch.setattr(toy_family, "FAMILY", replace(toy_family.FAMILY, compared=COMPARISON))
    evaluate = ToyTask.evaluate

    def told(self: ToyTask, *given: Any) -> dict[str, float]:
        return {**evaluate(self, *given), "still": 3.0}

    monkeypatch.setattr(ToyTask, "evaluate", told)
    free = ["log.tensorboard=false", "engine.threads=1"]
    yield [toy, "steps=16", *free, "--base", toy, "steps=24", *free,
           "--arms", "plain", "noisy", "--seeds", "2", "--rates", "1e-2", "1e-1",
           "--budgets", "steps", "--tolerance", "10", "--dir", "cmp"]  # fmt: skip


@pytest.mark.slow
def test_any_family_s_arms_share_bases_and_grids_grow_until_the_best_rate_is_inside(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert controls.main(asked) == 0
    printed = capsys.readouterr().out
    runs = {run.name: run for run in find_runs("cmp")}
    for name, run in runs.items():
        if not name.startswith("base"):
            assert f"base,seed={run.config['seed']}" in run.parents["base"]["file"]
            assert run.config["eval"]["every"] == "2 steps"
    judged = {
        float(run.config["optim"]["lr"]): run.metrics["val/loss"]
        for name, run in runs.items()
        if name.startswith("noisy") and name.endswith("seed=0")
    }
    best = min(judged, key=lambda rate: judged[rate])
    assert len(judged) > 2 and min(judged) < best < max(judged)
    assert [name for name in runs if name.startswith("plain")] == [
        "plain,lr=0.05,steps=16,seed=0", "plain,lr=0.05,steps=16,seed=1",
    ]  # fmt: skip
    assert "noisy at equal steps: " in printed and "of such studies" in printed
    assert "no verdict" not in printed
    assert (Path("cmp") / "controls.png").is_file() and (Path("cmp") / "curves.png").is_file()

    monkeypatch.setattr(point, "train_point", lambda words: pytest.fail(f"trained again: {words}"))
    assert controls.main(asked) == 0
    assert capsys.readouterr().out == printed
    # A base no better than a guess, or a curve that still falls: nothing is concluded.
    monkeypatch.setattr(controls, "find", lambda words: replace(COMPARISON, trivial="?"))
    assert controls.main(asked) == 0
    assert "noisy at equal steps: no verdict" in capsys.readouterr().out
    assert controls.main(["toy/small", "width=5", *asked[1:]]) == 2
    assert "another study" in capsys.readouterr().err


@pytest.mark.slow
def test_the_next_seed_takes_the_place_of_a_base_that_has_not_learnt(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert controls.main([*asked, "--base-below", "0"]) == 1
    assert "only 0 of 2 bases have learnt: base of seed 0: loss" in capsys.readouterr().err
    losses = {int(run.config["seed"]): float(run.metrics["val/loss"]) for run in find_runs("cmp")}
    # Three times as many bases as asked for were tried, and no arm was trained on any.
    assert sorted(losses) == [0, 1, 2, 3, 4, 5]
    order = sorted(losses, key=lambda seed: losses[seed])
    between = (losses[order[1]] + losses[order[2]]) / 2
    assert controls.main([*asked, "--base-below", f"{between}"]) == 0
    printed = capsys.readouterr().out
    for seed in order[2:]:
        passed = f"passed over: base of seed {seed}: loss {losses[seed]:.4f} (below "
        assert (passed in printed) == (seed < max(order[:2]))
    arms = [run for run in find_runs("cmp") if not run.name.startswith("base")]
    assert {int(run.config["seed"]) for run in arms} == set(order[:2])
    assert "noisy at equal steps: " in printed and "no verdict" not in printed
    # A base that still falls is passed over as well.
    assert controls.main([*asked, "--base-below", "99", "--tolerance", "0"]) == 1
    assert "is at its plateau: last quarter" in capsys.readouterr().err


def test_without_words_it_tells_what_could_be_compared_and_trains_nothing(
    asked: list[str], toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    family = toy.partition("/")[0]
    assert controls.main([]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "controls fine-tune-attn, fine-tune-all," in told
    assert "start weft study controls feedback" in told
    assert (
        "recipe toy/small steps=16 base" in told and f"start weft study controls {family}" in told
    )
    # 1 rate of `plain` and 3 of `noisy` on the first seed, and 1 of each on two others, twice.
    assert "controls plain arms noisy" in told and "at least 16 runs" in told
    assert controls.main([*asked, "--dry-run"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "a base of 24 steps for each seed (0, 1)" in told
    assert "at least 6 runs: of 16 steps start" in told
    assert controls.main([*asked, "--dry-run", "--base-below", "1.5"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "for each seed from 0 on until 2 are below 1.5 and at their plateau" in told
    assert controls.main([*asked, "--dry-run", "--arms", "noisy"]) == 2
    assert "no control among the arms" in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_a_family_alone_means_the_recipe_that_it_lists(
    asked: list[str], toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert controls.main([toy.partition("/")[0], "width=7", "--dry-run"]) == 0
    assert "recipe    toy/small steps=16 width=7\n" in capsys.readouterr().out


def test_mistakes_are_told_before_anything_is_trained(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, says in (
        (["--arms", "noisy"], "no control among the arms"),
        (["--arms", "plain", "noise"], "there is no arm `noise`"),
        (["--rates", "1e-3", "fast"], "`fast` is no rate"),
        (["--seeds", "0"], "--seeds"),
        (["--base-below", "low"], "`low` is not a number"),
        (["--equal-to", "nobody"], "there is no arm `nobody`"),
    ):
        assert controls.main([*asked, *words]) == 2
        assert says in capsys.readouterr().err
    assert controls.main([asked[0], "width=0", *asked[2:]]) == 2
    assert "width" in capsys.readouterr().err
    assert controls.main(["cet/digits"]) == 2
    assert "lists no arms" in capsys.readouterr().err
    assert not Path("cmp").exists()
