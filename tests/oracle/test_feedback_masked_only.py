"""The last block at masked positions alone against the whole network, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.data.source import DataSpec
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel, build_model
from weft.families.feedback.nets.rows import Rows

VOCAB, PAD = 23, 22

MODELS: dict[str, dict[str, object]] = {
    "feedforward": {"stage": "feedforward"},
    "extra blocks": {"stage": "fine_tune", "extra_layers": 2},
    "shared deltas": {"stage": "static", "feedback_target": "attn+mlp"},
    "deltas of rows": {"stage": "feedback", "mode": "compat"},
    "of the MLP and the gain too": {"stage": "feedback", "feedback_target": "attn+mlp+gain"},
}


def _model(name: str) -> LanguageModel:
    torch.manual_seed(0)
    options = {"steps": 1, "joint": True, "scope": "all", **MODELS[name]}
    if options["stage"] != "feedforward":
        options["base"] = "feedback/text"
    if options["stage"] in ("static", "feedback"):
        options["lora_rank"] = 2
    if options["stage"] != "feedback":
        del options["joint"], options["scope"]
    network = {"n_layer": 2, "n_head": 2, "n_embd": 8, "dropout": 0.0}
    config = Config.model_validate({**options, "model": network})
    model = build_model(config, DataSpec({}, (1,), 1, {}, num_classes=VOCAB)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
    return model


def _batch(kind: str) -> tuple[Tensor, Rows]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, PAD, (1 if kind == "one row" else 3, 7), generator=generator)
    if kind == "padded":
        tokens[1, 4:] = PAD
    if kind == "packed":
        document = torch.tensor([0, 0, 0, 1, 1, 1, 1]).expand(3, -1)
        position = torch.tensor([0, 1, 2, 0, 1, 2, 3]).expand(3, -1)
        return tokens, Rows.of(tokens, PAD, document, position)
    return tokens, Rows.of(tokens, PAD)


def _gradients(total: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    some = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [each.to_dense() for each in some]


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["one row", "several", "padded", "packed"])
@pytest.mark.parametrize("name", list(MODELS))
def test_states_and_gradients_at_some_positions_are_those_of_all(
    name: str, kind: str, share: float
) -> None:
    model, (tokens, rows) = _model(name), _batch(kind)
    hit = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(2)) < share
    at = hit.flatten().nonzero()[:, 0]
    whole = model(tokens, rows).flatten(0, 1)[at]
    some = model(tokens, rows, at=at)
    torch.testing.assert_close(some, whole, rtol=1e-10, atol=1e-10)
    weight = torch.linspace(-1, 1, whole.numel(), dtype=whole.dtype).view(whole.shape)
    trained = [p for p in model.parameters() if p.requires_grad]
    found = [_gradients((read * weight).sum(), trained) for read in (some, whole)]
    assert share == 0 or any(bool(each.any()) for each in found[1])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * max(1.0, float(b.abs().max())))
