"""The products of a step, alone."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from weft.nn import onednn
from weft.nn.dense import linear
from weft.nn.products import products_alone


def test_products_of_a_step_are_repeated_and_nothing_else_of_it() -> None:
    weight = torch.randn(6, 5, requires_grad=True)
    batches = torch.randn(2, 3, 5)
    steps: list[float] = []

    def step() -> None:
        scores = torch.bmm(linear(batches, weight), torch.ones(2, 6, 4)).softmax(-1)
        scores.square().sum().backward()
        steps.append(1.0)

    alone = products_alone(step)
    assert weight.grad is not None
    weight.grad.zero_()
    with FlopCounterMode(display=False) as whole:
        step()
    after = weight.grad.clone()
    with FlopCounterMode(display=False) as bare:
        alone()
    assert bare.get_total_flops() == whole.get_total_flops() > 0
    assert len(steps) == 2
    assert torch.equal(weight.grad, after)


def test_products_are_repeated_by_who_made_them() -> None:
    asked: list[str | None] = []

    def step() -> None:
        torch.mm(torch.ones(3, 4), torch.ones(4, 5))
        onednn.at_precision("bf16", torch.mm, torch.ones(3, 4), torch.ones(4, 5))

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.ops.aten.mm.default:
                asked.append(onednn.precision())
            return func(*args, **(kwargs or {}))

    alone = products_alone(step)
    with Watch():
        alone()
    plain = onednn.precision()
    assert asked == [plain, plain and "bf16"]
