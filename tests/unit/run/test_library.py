"""weft in programs and notebooks: runs as arguments, in sets, in pickles, and odd words."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import weft
from weft import api, errors
from weft.errors import ConfigError, Interrupted, MissingExtra, UsageError, WeftError
from weft.run.registry import Run

SHORT = ("steps=4", "log.tensorboard=false", "log.every=1")


@pytest.fixture
def run(toy: str, workspace: Path, without_pictures: None) -> Run:
    found = api.train(toy, *SHORT)
    assert found is not None
    return found


def test_a_run_stands_where_its_path_may(run: Run, toy: str) -> None:
    other = api.train(toy, *SHORT, "seed=1")
    assert other is not None
    assert weft.evaluate(run) == run.metrics
    assert weft.load(run).state_dict().keys() == run.load_model().state_dict().keys()
    assert len(weft.compare(run, other).tables) >= 2
    assert weft.report(run) and weft.sample(run) == []
    longer = weft.train(run, "steps=6", report=False)
    assert longer is not None and longer.continues.endswith("@4")
    resumed = weft.resume(other, "steps=5", report=False)
    assert resumed is not None and resumed.status["step"] == 5


def test_runs_are_few_letters_and_members_of_sets(run: Run) -> None:
    assert repr(run) == "Run('runs/toy/small', finished at step 4)"
    assert {run, copy.deepcopy(run)} == {run} == {pickle.loads(pickle.dumps(run))}
    assert type(weft.runs()[:1]) is type(weft.runs())
    assert weft.runs()[0] == run
    assert pickle.loads(pickle.dumps(weft.runs())) == weft.runs()


@pytest.mark.parametrize("word", [None, 3, b"x", ["a"], {"steps": 2}])
def test_what_names_no_run_or_recipe_is_told(word: Any) -> None:
    for verb in (weft.evaluate, weft.sample, weft.load, weft.report, weft.resume):
        with pytest.raises(UsageError, match="names no run"):
            verb(word)
    with pytest.raises(UsageError, match="is no word of a config"):
        weft.configure(word)


@pytest.mark.parametrize("workers", [0, -1, "2", 1.5, True])
def test_a_number_of_processes_is_a_number(workers: Any, toy: str, workspace: Path) -> None:
    for verb, more in ((api.sweep, {}), (api.search, {"trials": 1})):
        with pytest.raises(UsageError, match="is no number of processes"):
            verb(toy, "seed=0,1", "width=2,3", workers=workers, **more)
    assert not [*workspace.iterdir()]


def test_one_run_named_twice_is_no_pair(run: Run) -> None:
    with pytest.raises(UsageError, match=r"name 1 run\(s\)"):
        weft.compare(run, run.path.resolve())


def test_a_metric_may_be_named_by_itself_and_a_step_by_its_number(run: Run, toy: str) -> None:
    other = api.train(toy, *SHORT, "seed=1")
    assert other is not None
    both = [weft.compare(run, other, metrics=asked) for asked in ("test/loss", ["test/loss"])]
    assert both[0].tables == both[1].tables
    assert weft.evaluate(run, checkpoint=4) == weft.evaluate(run, checkpoint="4")  # type: ignore[arg-type]


def every_error() -> list[WeftError]:
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    made: list[WeftError] = [Interrupted("SIGTERM", "here"), MissingExtra("a", "b", "c")]
    made.append(ConfigError([UsageError("one", where="x"), UsageError("two")]))
    simple = [k for k in kinds if issubclass(k, WeftError) and k not in {type(m) for m in made}]
    return [*made, *(kind("what", where="where", expected="e", hint="h") for kind in simple)]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_travels_between_processes(
    error: WeftError, again: Callable[[WeftError], WeftError]
) -> None:
    found = again(error)
    assert type(found) is type(error)
    assert (str(found), found.brief, found.exit_code) == (str(error), error.brief, error.exit_code)


@pytest.mark.parametrize("which", ["on_step", "on_evaluate"])
def test_a_hook_that_raises_is_told_of_once_and_the_run_goes_on(
    which: str, toy: str, workspace: Path
) -> None:
    def hook(step: int, values: Any) -> None:
        raise KeyError("mine")

    with pytest.warns(UserWarning, match=r"KeyError: 'mine'.*test_library.py") as told:
        run = api.train(toy, *SHORT, report=False, **{which: hook})
    assert run is not None and run.state == "finished"
    assert len([each for each in told if "mine" in str(each.message)]) == 1
    assert (
        "Hooks failed and is off from now on: KeyError: 'mine'"
        in (run.path / "log.txt").read_text()
    )


def test_runs_under_a_running_loop_are_those_of_a_program(run: Run, toy: str) -> None:
    async def both() -> list[Run | None]:
        here = api.train(toy, *SHORT, report=False)
        aside = asyncio.to_thread(api.train, toy, *SHORT, report=False)
        return [here, *await asyncio.gather(aside, asyncio.to_thread(api.train, toy, *SHORT))]

    found = [each for each in asyncio.run(both()) if each is not None]
    assert [each.metrics for each in found] == [run.metrics] * 3
    assert len({each.path for each in found}) == 3
