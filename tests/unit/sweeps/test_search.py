"""A search: what is proposed, how it goes on, what it leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from weft.errors import ConfigError, Interrupted, MissingExtra, RunError, UsageError
from weft.run.directory import RunDirectory
from weft.run.registry import open_run
from weft.sweeps import point, pool, search
from weft.sweeps.found import search as carry_out
from weft.sweeps.grid import Point
from weft.sweeps.pool import Outcome, Train
from weft.sweeps.search import distributions, study_of
from weft.sweeps.space import parse

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
QUICK = ("steps=6", "eval.every=2", "log.tensorboard=false", "validate_on=val")
AXES = ("optim.lr=log:1e-3:1e-1", "width=2,4")


pytestmark = pytest.mark.usefixtures("points_here")


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches end without their page and its figures, which take longer than small trials do."""
    monkeypatch.setattr("weft.sweeps.found.drawn", lambda *found: [])
    monkeypatch.setattr("weft.reports.overview.write_overview", lambda folder, *found: folder)


def test_axes_are_ranges_or_choices() -> None:
    found = distributions(parse(("cet", "optim.lr=log:1e-4:1e-1", "a=0..9", "b=x,y", "seed=0..2")))
    lr, integer, choice = found["optim.lr"], found["a"], found["b"]
    assert (lr.low, lr.high, lr.log) == (1e-4, 1e-1, True)
    assert (integer.low, integer.high) == (0, 9)
    assert choice.choices == ("x", "y")
    assert "seed" not in found
    with pytest.raises(UsageError, match="nothing to search"):
        distributions(parse(("cet", "seed=0..2")))


def test_the_threads_and_the_device_that_a_user_names_are_those_of_every_trial(
    toy: str, workspace: Path, without_page: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_a_place(points: Sequence[Point], train: Train, *_: object) -> list[Outcome]:
        assert pool.devices(points) == {"cpu"}
        return [Outcome(p, "done", train(pool.with_threads(p.overrides, 1))) for p in points]

    monkeypatch.setattr(pool, "run_points", as_a_place)
    asked = ("engine.threads=2", "engine.device=cpu")
    carry_out(toy, *QUICK, *AXES, *asked, sampler="random", trials=1, directory="s")
    assert open_run("s/trial-0000").config["engine"]["threads"] == 2


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_takes_as_many_trials_as_it_is_told_and_may_grow(
    toy: str, workspace: Path, without_page: None, sampler: search.Sampler
) -> None:
    words = (toy, *QUICK, *AXES)
    first = carry_out(*words, sampler=sampler, trials=2, directory="s")
    assert sorted(first.table.column("trial")) == ["trial-0000", "trial-0001"]
    more = carry_out(*words, sampler=sampler, trials=4, directory="s")
    assert len(more.table.rows) == 4
    again = carry_out(*words, sampler=sampler, trials=4, directory="s")
    assert again.table.rows == more.table.rows
    losses = [row["val/loss"] for row in again.table.rows]
    assert losses == sorted(losses)
    best = again.table.rows[0]
    run = open_run(Path("s") / str(best["trial"]))
    assert run.status["best"]["value"] == best["val/loss"]
    assert run.config["optim"]["lr"] == pytest.approx(best["optim.lr"], rel=1e-5)
    # Proposals depend on the number of the trial alone: begun anew, it finds the same.
    anew = carry_out(*words, sampler=sampler, trials=4, directory="anew")
    assert anew.table.rows == again.table.rows


def test_a_search_leaves_a_page_with_its_course(toy: str, workspace: Path) -> None:
    found = carry_out(toy, *QUICK, *AXES, sampler="random", trials=2, directory="s")
    assert "s/search.png" in map(str, found.pictures) and Path("s/search.png").is_file()
    assert found.page.is_file()


def test_a_trial_is_the_mean_of_its_seeds(toy: str, workspace: Path, without_page: None) -> None:
    found = carry_out(toy, *QUICK, "width=2,4", "seed=0..1", sampler="random", trials=1,
                      directory="s")  # fmt: skip
    values = [open_run(Path(f"s/trial-0000/seed={n}")).status["best"]["value"] for n in (0, 1)]
    assert found.table.rows[0]["val/loss"] == pytest.approx(sum(values) / 2)
    assert "mean of 2 seeds" in found.table.note


def test_a_trial_whose_process_is_gone_is_gone_on_with_and_not_repeated(
    toy: str, workspace: Path, without_page: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (toy, *QUICK, *AXES)
    carry_out(*words, sampler="random", trials=1, directory="s")
    taken = search.train_point

    def stopped(words: tuple[str, ...], followers: object = None) -> dict[str, float]:
        raise Interrupted("SIGTERM", "s")

    monkeypatch.setattr(search, "train_point", stopped)
    with pytest.raises(Interrupted):
        carry_out(*words, sampler="random", trials=3, directory="s")
    study = study_of(Path("s"), search.read_plan(Path("s")))
    left = [trial.state.name for trial in study.trials]
    assert left == ["COMPLETE", "RUNNING"]
    proposed = study.trials[1].params
    monkeypatch.setattr(search, "train_point", taken)
    found = carry_out(*words, sampler="random", trials=3, directory="s")
    assert [row["state"] for row in found.table.rows] == ["complete"] * 3
    assert study_of(Path("s"), search.read_plan(Path("s"))).trials[1].params == proposed


def test_half_a_line_that_a_killed_process_left_in_the_journal_is_no_damage(
    toy: str, workspace: Path, without_page: None
) -> None:
    words = (toy, *QUICK, *AXES)
    carry_out(*words, sampler="random", trials=1, directory="s")
    journal = Path("s/search.journal")
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 5, "work')
    carry_out(*words, sampler="random", trials=2, directory="s")
    plan = search.read_plan(Path("s"))
    assert [trial.state.name for trial in study_of(Path("s"), plan).trials] == ["COMPLETE"] * 2
    before = journal.read_bytes() + b"{}\n"
    journal.write_bytes(before)
    with pytest.raises(RunError, match="the journal of this search is damaged"):
        carry_out(*words, sampler="random", trials=2, directory="s")
    assert journal.read_bytes() == before


def test_a_trial_that_ends_between_a_look_and_its_lock_is_not_taken_again(
    toy: str, workspace: Path, without_page: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (toy, *QUICK, *AXES)
    carry_out(*words, sampler="random", trials=2, directory="s")
    folder, hold = Path("s"), search._hold
    plan = replace(search.read_plan(folder), trials=3)
    search.open_plan(folder, plan)
    (number, holder) = search._next(folder, study_of(folder, plan), plan) or (0, None)
    assert holder is not None

    def ended(place: Path, asked: int) -> RunDirectory | None:
        """As another process does at just this moment."""
        study_of(folder, plan).tell(number, 1.0)
        holder.unlock()
        return hold(place, asked)

    monkeypatch.setattr(search, "_hold", ended)
    assert search._next(folder, study_of(folder, plan), plan) is None
    assert search.take_trials(("s",)) == {"trials": 0.0}


def test_the_table_says_why_a_trial_failed(
    toy: str, workspace: Path, without_page: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(words: Sequence[str], followers: object) -> object:
        if "width=2" in words:
            raise RunError("the moon is full")
        return point.train_point(words, followers)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "train_point", trained)
    axes = ("optim.lr=log:1e-3:1e-1", "width=2,4")
    found = carry_out(toy, *QUICK, *axes, sampler="random", trials=4, directory="s")
    why = {row["state"]: row.get("why", "") for row in found.table.rows}
    assert why == {"complete": "", "fail": "the moon is full"}
    with pytest.raises(RunError, match="no trial of the search gave a number") as caught:
        carry_out(toy, *QUICK, axes[0], "width=2", sampler="random", trials=2, directory="t")
    assert caught.value.hint == "the moon is full"


def test_a_hopeless_run_ends_early(toy: str, workspace: Path, without_page: None) -> None:
    words = (toy, "steps=12", "eval.every=2", "log.tensorboard=false", "validate_on=val")
    # Eight good rates, and then one a thousand times too low.
    found = carry_out(*words, "optim.lr=1e-2,2e-2,3e-2,1e-7", sampler="random", trials=16,
                      prune=True, directory="s")  # fmt: skip
    pruned = [row for row in found.table.rows if row["state"] == "pruned"]
    assert pruned and {row["optim.lr"] for row in pruned} >= {"1e-7"}
    run = open_run(Path("s") / str(pruned[0]["trial"]))
    assert run.state == "finished" and run.status["step"] < 12
    assert "pruning or `on_evaluate` ended it" in (run.path / "log.txt").read_text()


def test_mistakes_are_told_before_anything_is_written(
    toy: str, workspace: Path, without_page: None
) -> None:
    with pytest.raises(UsageError, match="nothing is held out"):
        carry_out(toy, "validate_on=test", "width=2,4", sampler="tpe", trials=1, directory="s")
    absent = (toy, *QUICK, "width=2,4", "base=toy/nothing")
    with pytest.raises(ConfigError, match="there is no such run"):
        carry_out(*absent, sampler="tpe", trials=1, directory="s")
    assert not Path("s").exists()
    carry_out(toy, *QUICK, "width=2,4", sampler="tpe", trials=1, directory="s")
    with pytest.raises(RunError, match="another search"):
        carry_out(toy, *QUICK, "width=2,8", sampler="tpe", trials=1, directory="s")


def test_without_optuna_the_install_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra) as told:
        distributions(parse(("cet", "width=2,4")))
    assert "weft[sweep]" in told.value.hint
