"""A step costs the same counted on real zeros and on tensors without content."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from weft import api, families
from weft.engine import profile
from weft.engine.flops import Flops
from weft.engine.parts import Parts
from weft.engine.profile import cost


def _parts(recipe: str, *words: str) -> Parts:
    config = api.configure(recipe, *words, "engine.device=cpu").config
    return Parts.of(families.find(config.family), config)


@pytest.mark.parametrize(
    "words", [(), ("arch=cnn", "norm_op=batch"), ("streams=2", "sparse_inputs=true", "order=1")]
)
def test_real_zeros_and_shapes_alone_have_one_cost(words: tuple[str, ...]) -> None:
    parts = _parts("cet/digits", "hidden_dim=8", *words)
    model, drawn = parts.model(), torch.random.get_rng_state()
    assert cost(parts, model) == cost(parts)
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_a_large_model_or_one_whose_steps_differ_is_counted_without_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alike, differing = _parts("cet/digits"), _parts("feedback/text")
    seen: list[torch.device] = []

    def counted(parts: Parts, device: torch.device) -> None:
        seen.append(device)

    monkeypatch.setattr(profile, "_cost", counted)
    with torch.device("meta"):
        large = nn.Linear(10_000, 10_000)
    small = nn.Linear(1, 1)
    for parts, model in ((alike, large), (alike, small), (alike, None), (differing, small)):
        cost(parts, model)
    assert [device.type for device in seen] == ["meta", "cpu", "meta", "meta"]


def _passes(query: torch.Tensor, weight: torch.Tensor, **options: Any) -> None:
    out = scaled_dot_product_attention(query, query, query, **options) @ weight
    torch.nn.functional.conv1d(out.flatten(1, 2), torch.ones(4, 12, 3)).sum().backward()


def test_torch_counts_the_same_and_attention_counts_as_if_written_out() -> None:
    shapes = {"device": "meta", "requires_grad": True}
    query, weight = torch.zeros(2, 3, 4, 8, **shapes), torch.zeros(8, 8, **shapes)
    with FlopCounterMode(display=False) as wanted, torch.device("meta"):
        _passes(query, weight)
    real = [torch.zeros(part.shape, requires_grad=True) for part in (query, weight)]
    with Flops() as found:
        _passes(*real)
    assert found.total == wanted.get_total_flops() > 0
