"""The fast networks against the literal reference, in float64, and parameter counts."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from weft.data.source import DataSpec
from weft.families.feedback import reference
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel, build_model
from weft.families.feedback.nets.rows import Rows

MODES = list(itertools.product((False, True), (False, True)))
VOCAB, PAD, MASK = 23, 22, 21


def _model(stage: str, vocab: int = VOCAB, **options: object) -> LanguageModel:
    network = {"n_layer": 3, "n_head": 2, "n_embd": 8, "dropout": 0.0, "head_chunk": 3}
    fields: dict[str, object] = {"steps": 1, "stage": stage, "model": network, **options}
    if stage != "feedforward":
        fields["base"] = "feedback/text"
    spec = DataSpec({}, (1,), 1, {}, num_classes=vocab)
    return build_model(Config.model_validate(fields), spec)


def _feedback(recurrent: bool, reverse: bool, rank: int = 2) -> LanguageModel:
    torch.manual_seed(0)
    model = _model(
        "feedback",
        mode="compat",
        recurrent=recurrent,
        feedback_reverse=reverse,
        lora_rank=rank,
        joint=True,
        scope="all",
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            # Deltas of the size of the weights, so that a wrong one shows.
            parameter *= 20
    return model


def _text(length: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    clean = torch.randint(0, MASK, (3, length), generator=generator)
    clean[1, length - 3 :] = PAD
    masked = (torch.rand(clean.shape, generator=generator) < 0.6) & (clean != PAD)
    p = torch.rand(3, 1, generator=generator, dtype=torch.float64).clamp_min(0.1)
    return {"clean": clean, "noisy": clean.masked_fill(masked, MASK), "masked": masked, "p": p}


def _fast_loss(model: LanguageModel, text: dict[str, Tensor], pad: int | None) -> Tensor:
    noisy, masked = text["noisy"], text["masked"]
    rows = Rows.of(noisy, pad)
    read = model(noisy, rows)
    weight = text["p"].reciprocal().expand(noisy.shape)[masked]
    total, _ = model.cross_entropy(read[masked], text["clean"][masked], weight)
    return total / (noisy.numel() if rows.real is None else rows.real.sum())


def _agree(ours: Tensor, theirs: Tensor) -> None:
    scale = max(1e-3, theirs.abs().max().item())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("pad", [None, PAD])
@pytest.mark.parametrize("rank", [1, 2, 9])
@pytest.mark.parametrize(("recurrent", "reverse"), MODES)
def test_fast_loss_and_every_gradient_equal_the_reference(
    recurrent: bool, reverse: bool, rank: int, pad: int | None
) -> None:
    """Rank 9 at T = 7 and C = 8 takes the materialised deltas, the others the factored ones."""
    model, text = _feedback(recurrent, reverse, rank), _text()
    real = None if pad is None else text["noisy"] != pad
    names, parameters = zip(*model.named_parameters(), strict=True)
    slow = reference.loss(model, **text, real=real)
    fast = _fast_loss(model, text, pad)
    _agree(fast, slow)
    pairs = zip(
        names,
        torch.autograd.grad(fast, parameters),
        torch.autograd.grad(slow, parameters),
        strict=True,
    )
    for name, ours, theirs in pairs:
        assert theirs.abs().max() > 0, name
        _agree(ours, theirs)


@pytest.mark.parametrize("reverse", [False, True])
def test_direction_decides_which_block_a_step_writes(reverse: bool) -> None:
    """What step 0 writes does not depend on the blocks of later steps."""
    model, text = _feedback(False, reverse), _text()
    rows = Rows.of(text["noisy"], None)
    before = model.deltas(text["noisy"], rows)
    with torch.no_grad():
        model.generator.network.blocks[2].table += 1
    after = model.deltas(text["noisy"], rows)
    changed = [
        not torch.equal(a.qkv.A, b.qkv.A) for a, b in zip(before.blocks, after.blocks, strict=True)
    ]
    assert changed == ([True, False, False] if reverse else [False, False, True])


def test_feedforward_equals_the_reference() -> None:
    torch.manual_seed(0)
    model, text = _model("feedforward").double(), _text()
    parameters = list(model.parameters())
    fast, slow = _fast_loss(model, text, None), reference.loss(model, **text)
    _agree(fast, slow)
    for ours, theirs in zip(
        torch.autograd.grad(fast, parameters), torch.autograd.grad(slow, parameters), strict=True
    ):
        _agree(ours, theirs)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stage": "feedforward"}, 19_169_280),
        ({"stage": "fine_tune"}, 2_097_152),
        ({"stage": "fine_tune", "scope": "all"}, 19_169_280),
        ({"stage": "feedback", "mode": "compat", "lora_rank": 4}, 25_526_272),
        ({"stage": "feedback", "mode": "compat", "lora_rank": 256}, 25_460_736 + 16_384 * 256),
        ({"stage": "feedback", "mode": "compat", "lora_rank": 4, "recurrent": True}, 14_460_928),
        ({"stage": "static", "lora_rank": 4}, 8 * 4 * 4 * 2 * 256),
    ],
)
def test_trained_parameters_are_as_many_as_published(
    options: dict[str, object], expected: int
) -> None:
    full = {"n_layer": 8, "n_head": 8, "n_embd": 256}
    with torch.device("meta"):
        model = _model(vocab=50304, model=full, **options)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == expected


def test_initial_weights_have_the_published_spread() -> None:
    torch.manual_seed(0)
    wide = {"n_layer": 2, "n_head": 2, "n_embd": 128}
    model = _model("feedback", mode="compat", lora_rank=4, model=wide, vocab=500)
    for name, parameter in model.named_parameters():
        thin = name.endswith((".out", ".down"))
        expected = 0.02 / (2 * 2) ** 0.5 if thin else 0.02
        assert parameter.std().item() == pytest.approx(expected, rel=0.1), name
