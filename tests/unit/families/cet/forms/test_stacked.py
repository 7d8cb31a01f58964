"""Stacked MLPs get the gradients that each of them would get alone, and say what is not stacked."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from weft.engine.parts import Parts
from weft.errors import UsageError
from weft.families import find
from weft.families.cet.config import Config
from weft.families.cet.forms.stacked import Mlps
from weft.families.cet.sets.stream import StreamSource
from weft.task.context import Context

CLOSE = {"rtol": 1e-4, "atol": 1e-7}
"""Both add up in float32, in orders of their own."""

MEMBERS: tuple[dict[str, Any], ...] = (
    {"delay": 0, "seed": 1},
    {"delay": 3, "order": 1, "seed": 1},
    {"delay": 9, "order": 6, "seed": 2, "readout": "optimal"},
    {"delay": 9, "order": 4, "kernel": "ideal"},
    {"delay": 6, "order": 4, "covariance": 0.7},
)


def parts_of(**options: Any) -> list[Parts]:
    common = {"steps": 20, "batch_size": 16, "hidden_dim": 7, "engine": {"device": "cpu"}}
    configs = [Config(**{**common, **options, **member}) for member in MEMBERS]
    return [Parts.of(find("cet"), config) for config in configs]


def sources_of(members: list[Parts]) -> list[StreamSource]:
    """The training source of each, one for all of a seed."""
    first = {each.config.seed: each for each in members}
    known = {seed: each.data().train for seed, each in first.items()}
    return [known[each.config.seed] for each in members]


def stacked(members: list[Parts], own: list[StreamSource]) -> Mlps:
    return Mlps([each.model() for each in members], [each.task for each in members], own)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gate": "trace", "sparse_inputs": True, "sparse_threshold": 5e-3},
        {"gate": "error", "threshold": 0.3},
        {"binary": 0.5, "data": {"interp_factor": 2}},
        {"error": "smeared"},
        {"top_quantile": 0.5, "input_accumulation": 2},
        {"timescale": "retrograde", "top_quantile": 0.5},
    ],
    ids=lambda options: ",".join(options) or "plain",
)
def test_each_member_of_a_stack_gets_the_gradients_it_would_get_alone(
    options: dict[str, Any],
) -> None:
    members = parts_of(**options, track_sim=True)
    own = sources_of(members)
    stack, models = stacked(members, own), [each.model() for each in members]
    for step in range(2):  # The running mean of the covariance form moves between them.
        ctx = Context(0, step, 20, torch.device("cpu"), log=True)
        plans = [
            source.plan(each.config.seed, 0)[step]
            for source, each in zip(own, members, strict=True)
        ]
        scalars, found = stack.gradients(stack.take(torch.stack(plans)), ctx)
        for number, (each, model) in enumerate(zip(members, models, strict=True)):
            model.train()
            model.zero_grad()
            batch = own[number].take(plans[number], torch.Generator())
            loss, terms = each.task.loss(model, batch, ctx)
            loss.backward()
            for name, parameter in model.named_parameters():
                torch.testing.assert_close(found[name][number], parameter.grad, **CLOSE)
            alone = {"loss": loss.detach(), **terms, **each.task.scalars(model)}
            assert {*alone} <= {*scalars}
            for name, value in alone.items():
                torch.testing.assert_close(
                    scalars[name][number], value, rtol=1e-3, atol=1e-5, equal_nan=True
                )
    means = {name: value for name, value in models[-1].named_buffers() if "mean" in name}
    assert means
    for name, value in means.items():
        torch.testing.assert_close(stack.buffers[name][-1], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"arch": "cnn"}, "arch"),
        ({"streams": 2}, "streams"),
        ({"carry": True}, "carry"),
        ({"top_quantile": 0.5, "random_times": True}, "random_times"),
        ({"data": {"flip": True}}, r"data\.flip"),
    ],
)
def test_what_is_not_stacked_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        members = parts_of(**options)
        stacked(members, sources_of(members))


def test_smeared_gates_are_not_stacked() -> None:
    with pytest.raises(UsageError, match="smeared"):
        members = parts_of(timescale="retrograde", error="smeared", top_quantile=0.5)
        stacked(members, sources_of(members))
