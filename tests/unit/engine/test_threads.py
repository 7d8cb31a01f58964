"""The number of threads is measured on a copy, kept with the run, and never changes its numbers."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import weft
from tests.golden.losses import first_losses
from tests.toy.task import ToyTask
from weft import families
from weft.engine import threads
from weft.engine.device import using_threads
from weft.engine.loop import Trainer
from weft.engine.parts import Parts
from weft.engine.ranks import Ranks
from weft.engine.step import Stepper
from weft.engine.threads import Threads, choose, kept
from weft.errors import Interrupted, NonFiniteError
from weft.run.registry import Run


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process whose torch may use two threads, and nobody has said how many it should."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_SECONDS", 0.2)
    with using_threads(2):
        yield


@dataclass
class Clock:
    """Steps that take so many seconds with so many threads, by a clock that stands between them."""

    seconds: dict[int, float]
    now: float = 0.0
    counts: Counter[int] = field(default_factory=Counter)

    def perf_counter(self) -> float:
        return self.now

    def step(self) -> None:
        number = torch.get_num_threads()
        self.counts[number] += 1
        self.now += self.seconds[number]

    def measured(self, patch: pytest.MonkeyPatch, total_steps: int) -> Threads:
        patch.setattr(threads, "time", self)
        return threads._measured(self.step, total_steps, 2)


@pytest.mark.parametrize(
    ("seconds", "number"),
    [({1: 0.002, 2: 0.008}, 1), ({1: 0.008, 2: 0.002}, 2), ({1: 0.004, 2: 0.00399}, 1)],
)
def test_the_faster_number_is_taken_and_one_where_all_save_little(
    two: None, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], number: int
) -> None:
    clock = Clock(seconds)
    found = clock.measured(monkeypatch, 10_000)
    assert found.number == number
    assert 0.1 < clock.now < 0.21
    assert min(clock.counts.values()) >= 4
    assert found.told.startswith(f"{number} thread")
    assert all(f"{1e3 * took:.3g} ms with {n}" in found.told for n, took in seconds.items())


def test_a_step_that_all_threads_make_a_hundred_times_slower_is_taken_once(
    two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock({1: 0.002, 2: 0.2})
    assert clock.measured(monkeypatch, 10_000).number == 1
    assert clock.counts == {1: 2, 2: 1}


@pytest.mark.parametrize("milliseconds", [0.01, 0.2, 1, 5])
@pytest.mark.parametrize("total_steps", [80, 200, 1000, 10_000])
def test_measuring_costs_a_twentieth_of_the_run_at_most(
    two: None, monkeypatch: pytest.MonkeyPatch, milliseconds: float, total_steps: int
) -> None:
    step = milliseconds / 1e3
    clock = Clock({1: step, 2: step})
    assert clock.measured(monkeypatch, total_steps).milliseconds
    # The three steps before the first block come on top where a run is very short.
    assert clock.now <= max(5 * step, min(0.2, 0.05 * total_steps * step) + 1e-9)


def test_long_steps_are_left_to_torch_without_a_try_of_all(
    two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock({1: 0.1, 2: 0.1})
    assert clock.measured(monkeypatch, 10_000).number == 2
    assert clock.counts == {1: 2}


def _parts(recipe: str, *words: str, ranks: Ranks | None = None) -> Parts:
    config = weft.configure(recipe, *words).config
    return Parts.of(families.find(config.family), config, ranks)


def _choose(parts: Parts) -> Threads:
    return choose(parts, parts.model(), parts.data())


def test_a_number_that_someone_gave_is_not_measured(
    toy: str, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_measured", None)
    parts = _parts("toy/small", "steps=1000")
    made = parts.model(), parts.data()
    assert _choose(_parts("toy/small", "steps=79")).number == 2
    assert _choose(replace(parts, ranks=Ranks(0, 2))).number is None
    assert choose(replace(parts, device=torch.device("cuda")), *made).number is None
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert _choose(parts).plain() == {"threads": 2}
    monkeypatch.delenv("OMP_NUM_THREADS")
    with using_threads(1):
        assert _choose(parts).plain() == {"threads": 1}
    assert _choose(_parts("toy/small", "steps=1000", "engine.threads=3")).plain() == {"threads": 3}


def _same_losses_and_weights(recipe: str, *words: str) -> Threads:
    """Chooses, and makes sure that nothing of the run has moved."""
    parts = _parts(recipe, *words)
    model, data = parts.model(), parts.data()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = choose(parts, model, data)
    assert found.number in (1, 2), found
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    return found


def test_choosing_moves_nothing_of_the_run(toy: str, two: None) -> None:
    assert _same_losses_and_weights("toy/small", "steps=1000", "dropout=0.2").milliseconds


@pytest.mark.exhaustive
@pytest.mark.parametrize("recipe", ["cet/digits", "feedback/text", "jepa/clean", "warp/digits"])
def test_choosing_moves_nothing_of_a_run_of_every_family(
    recipe: str, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_SECONDS", 5.0)
    assert _same_losses_and_weights(recipe, "steps=1000").milliseconds
    with using_threads(1):
        alone = first_losses(recipe, ["steps=1000"], 3)
        with using_threads(2):
            _choose(_parts(recipe, "steps=1000"))
        assert first_losses(recipe, ["steps=1000"], 3) == alone


BRIEF = ("steps=100", "noise=0.1", "eval.every=50 steps", "checkpoint.every=50 steps")


def _train(name: str, *words: str) -> Run:
    quiet = ("log.tensorboard=false", f"run.name={name}")
    done = weft.train("toy/small", *BRIEF, *quiet, *words, report=False)
    assert done is not None
    return done


def _seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[int]]:
    """The numbers of threads that steps and evaluations are computed with."""
    seen: dict[str, set[int]] = {"loss": set(), "evaluate": set()}
    for name, found in seen.items():
        hook = getattr(ToyTask, name)

        def spied(*args: Any, hook: Any = hook, found: set[int] = found) -> Any:
            found.add(torch.get_num_threads())
            return hook(*args)

        monkeypatch.setattr(ToyTask, name, spied)
    return seen


@pytest.mark.parametrize("number", [1, 2])
def test_a_measured_run_is_the_run_with_that_number_and_is_resumed_and_evaluated_with_it(
    toy: str,
    two: None,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    named = _train("named", f"engine.threads={number}")
    measured = threads._measured

    def decided(*args: Any) -> Threads:
        return replace(measured(*args), number=number)

    monkeypatch.setattr(threads, "_measured", decided)
    found = _train("measured")
    assert found.resolved["threads"] == found.env["threads"] == number
    assert set(found.resolved["threads_step_ms"]) == {"1", "2"}
    assert f"{number} thread" in (found.path / "log.txt").read_text()
    assert found.metrics == named.metrics

    loss = ToyTask.loss

    def stops(self: ToyTask, model: Any, batch: Any, ctx: Any) -> Any:
        if ctx.step == 62:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, model, batch, ctx)

    with monkeypatch.context() as patch:
        patch.setattr(ToyTask, "loss", stops)
        # Trials too come to step 62, unless they are left out.
        patch.setattr(threads, "_measured", lambda *_: Threads(number, "as told"))
        with pytest.raises(Interrupted):
            _train("stopped")
    seen = _seen(monkeypatch)
    with using_threads(3 - number):
        resumed = weft.resume("runs/toy/stopped", report=False)
        assert resumed is not None
        assert resumed.metrics == found.metrics
        assert weft.evaluate(found.path) == found.metrics
        assert torch.get_num_threads() == 3 - number
    assert seen == {"loss": {number}, "evaluate": {number}}
    for one, other in zip(
        found.load_model().parameters(), resumed.load_model().parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_engine_threads_wins_over_what_was_kept(toy: str, two: None) -> None:
    parts = _parts("toy/small", "engine.threads=2")
    assert kept(parts, {"threads": 1}).number == 2
    assert kept(_parts("toy/small"), {"threads": 1}).number == 1
    assert kept(_parts("toy/small"), {}).number is None


def test_a_loss_that_fails_on_the_copy_fails_in_the_run_where_it_is_recorded(
    toy: str, two: None, workspace: Path
) -> None:
    with pytest.raises(NonFiniteError, match="step 0"):
        _train("poisoned", "poison=0")
    run = weft.runs()[0]
    assert (run.state, run.resolved["threads"]) == ("failed", 2)


def test_a_run_with_threads_of_its_own_leaves_the_caller_those_it_had(
    toy: str, two: None, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _seen(monkeypatch)
    own = "engine.threads=3"
    done = _train("own", own)
    weft.evaluate(done.path)
    weft.sample(done.path)
    done.load_model()
    weft.train(done.path.as_posix(), "steps=120", report=False)
    weft.dry_run("toy/small", own)
    parts = _parts("toy/small", own)
    next(Trainer(parts, parts.data(), Stepper(parts, parts.model()), None, None).steps())
    assert torch.get_num_threads() == 2
    assert seen == {"loss": {3}, "evaluate": {3}}
