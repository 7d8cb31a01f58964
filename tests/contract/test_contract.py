"""The contract hears a family that breaks it, and says which promise and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.toy.task import ToyTask
from weft.data.source import DataSpec, TensorSource
from weft.testing import contract as promises

Broken = tuple[type, str, Any]
STATE = torch.Generator()


def wrong_metric(self: ToyTask, model: Any, source: Any, ctx: Any) -> dict[str, float]:
    return {"loss": 1.0, "accuracy": 0.5}


def restless(self: ToyTask, model: Any, source: Any, ctx: Any) -> dict[str, float]:
    with torch.no_grad():
        next(model.parameters()).add_(1)
    return {"loss": 1.0}


def forgetful_plan(self: TensorSource, seed: int, epoch: int) -> Sequence[Tensor]:
    return torch.randperm(len(self), generator=STATE)[:40].view(5, 8).unbind()


def one_plan(self: TensorSource, seed: int, epoch: int) -> Sequence[Tensor]:
    return torch.arange(40).view(5, 8).unbind()


def remembering(self: TensorSource, indices: Tensor, generator: Any) -> dict[str, Tensor]:
    noise = torch.rand((), generator=STATE)
    return {name: tensor[indices] + noise for name, tensor in self.fields.items()}


def flat_loss(self: ToyTask, model: Any, batch: Any, ctx: Any) -> tuple[Tensor, dict[str, Tensor]]:
    return 1 + 0 * model(batch["x"]).sum(), {}


def wrong_spec(self: ToyTask) -> DataSpec:
    return replace(right_spec(self), batches_per_epoch=4)


right_spec = ToyTask.spec


@pytest.mark.parametrize(
    ("check", "broken", "message"),
    [
        ("samples_and_report_are_drawn", None, "`sample` draws nothing"),
        ("steps_on_one_batch_lower_the_loss", (ToyTask, "loss", flat_loss), "not a tenth down"),
        ("every_metric_is_declared", (ToyTask, "evaluate", wrong_metric),
         "returns `accuracy`, which `metrics` does not declare (loss)"),
        ("evaluation_changes_nothing_and_repeats", (ToyTask, "evaluate", restless),
         "a model that was evaluated has other values in 0.weight"),
        ("the_plan_is_pure_and_matches_the_spec", (TensorSource, "plan", forgetful_plan),
         "gave other batches when asked again"),
        ("the_plan_is_pure_and_matches_the_spec", (TensorSource, "plan", one_plan),
         "epochs 5 and 6 have the same batches"),
        ("the_plan_is_pure_and_matches_the_spec", (ToyTask, "spec", wrong_spec),
         "`plan` gives 5 batches, `spec` says 4"),
        ("the_same_seed_gives_the_same_run", (TensorSource, "take", remembering),
         "a second run of the same seed has other values in"),
        ("stop_and_resume_equals_a_straight_run", (TensorSource, "take", remembering),
         "a run resumed at step 2 and in the evaluation of step 6 has other values in"),
    ],
)  # fmt: skip
def test_a_broken_promise_is_heard(
    check: str,
    broken: Broken | None,
    message: str,
    toy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if broken is not None:
        monkeypatch.setattr(*broken)
    asked: Callable[[str, Path], None] = getattr(promises, f"check_{check}")
    with pytest.raises(AssertionError) as caught:
        asked(toy, tmp_path)
    assert message in str(caught.value)


def test_all_broken_promises_are_listed_at_once(
    toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyTask, "loss", flat_loss)
    with pytest.raises(AssertionError) as caught:
        promises.contract(toy, tmp_path)
    head, *lines = str(caught.value).splitlines()
    assert head == f"toy/small breaks 3 of {len(promises.CHECKS)} promises"
    assert [line.split(":")[0].strip() for line in lines] == [
        "it_opens_with_what_it_is_and_its_command",
        "steps_on_one_batch_lower_the_loss",
        "samples_and_report_are_drawn",
    ]
