"""The cost of a step that chance decides is its mean over steps."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from tests.toy.task import ToyTask
from weft import api, families
from weft.data.source import Batch
from weft.engine.parts import Parts
from weft.engine.profile import cost, mean_flops
from weft.task.context import Context


def test_a_step_that_is_twice_as_dear_half_of_the_time_costs_half_as_much_again(
    toy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts.of(families.find("toy"), api.configure(toy).config)
    plain = mean_flops(parts, few=1)
    assert plain == cost(parts).flops_per_step
    loss = ToyTask.loss

    def dear(
        self: ToyTask, model: nn.Module, batch: Batch, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        told = loss(self, model, batch, ctx)
        if ctx.step % 2:
            return told[0] + loss(self, model, batch, ctx)[0], told[1]
        return told

    monkeypatch.setattr(ToyTask, "loss", dear)
    assert mean_flops(parts, few=2, many=4) == pytest.approx(1.5 * plain)
