"""Optimisers without torch's marks are torch's own, to the last bit."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from weft.nn import optimisers

OPTIONS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "Adam": {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.01},
    "AdamW": {"lr": 0.01, "eps": 1e-5, "amsgrad": True, "maximize": True},
}


def _trained(
    kind: type[torch.optim.Optimizer], options: dict[str, Any]
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model after six steps, of which the last three were of an optimiser that was continued."""
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    unused = nn.Parameter(torch.ones(2))
    groups = [
        {"params": [model.weight, unused]},
        {"params": [model.bias], "lr": 0.5, "weight_decay": 0.1},
    ]
    optimiser = kind(groups, **options)
    for step in range(6):
        if step == 3:
            state = deepcopy(optimiser.state_dict())
            optimiser = kind(groups, **options)
            optimiser.load_state_dict(state)
        optimiser.zero_grad()
        model(torch.randn(4, 5)).square().mean().backward()
        optimiser.step()
    return model, optimiser


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_weights_and_state_are_those_of_torch_s_own(name: str, fused: bool) -> None:
    options = {**OPTIONS[name], "fused": fused}
    ours, light = _trained(getattr(optimisers, name), options)
    theirs, own = _trained(getattr(torch.optim, name), options)
    assert isinstance(light, type(own))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    state, wanted = light.state_dict(), own.state_dict()
    assert state["param_groups"] == wanted["param_groups"]
    for number, entries in wanted["state"].items():
        assert state["state"][number].keys() == entries.keys()
        assert all(torch.equal(state["state"][number][key], entries[key]) for key in entries)


@pytest.mark.parametrize("name", OPTIONS)
def test_hooks_are_called_and_a_closure_s_loss_is_given(name: str) -> None:
    weight = nn.Parameter(torch.ones(2))
    optimiser = getattr(optimisers, name)([weight], **OPTIONS[name])
    seen: list[torch.optim.Optimizer] = []
    optimiser.register_step_post_hook(lambda called, *_: seen.append(called))

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = weight.sum()
        loss.backward()
        return loss

    assert optimiser.step(closure) == 2
    assert seen == [optimiser] and weight.requires_grad
    assert bool((weight != 1).all())


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_a_step_without_a_closure_calls_hooks_and_is_marked_for_a_profiler(name: str) -> None:
    weight = nn.Parameter(torch.ones(2))
    optimiser = getattr(optimisers, name)([weight], **OPTIONS[name], fused=True)
    weight.grad = torch.ones(2)
    seen: list[str] = []
    before = optimiser.register_step_pre_hook(lambda *_: seen.append("before"))
    optimiser.register_step_post_hook(lambda *_: seen.append("after"))
    optimiser.step()
    assert seen == ["before", "after"]
    everywhere = register_optimizer_step_post_hook(lambda *_: seen.append("everywhere"))
    before.remove()
    optimiser.step()
    everywhere.remove()
    assert seen[2:] == ["after", "everywhere"]
    with torch.profiler.profile() as profile:
        optimiser.step()
    assert f"Optimizer.step#{name}.step" in {event.key for event in profile.key_averages()}


def test_parameters_of_two_types_are_updated_as_by_torch() -> None:
    weights = [
        [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2, dtype=torch.float64))]
        for _ in range(2)
    ]
    for kind, mine in zip((optimisers.AdamW, torch.optim.AdamW), weights, strict=True):
        optimiser = kind(mine, lr=0.1, fused=True)
        for weight in mine:
            weight.grad = torch.full_like(weight, 3)
        optimiser.step()
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))
