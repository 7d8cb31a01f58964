"""A feedforward model learns a handful of documents by heart."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from weft.data.source import DataSpec
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel, build_model
from weft.families.feedback.nets.rows import Rows
from weft.families.feedback.noise.process import Noised, fixed_noise, masked_noise
from weft.families.feedback.objective import bound
from weft.families.feedback.sets.tokenizer import Vocabulary

WORDS = Vocabulary(256)
LENGTH, STEPS = 128, 200


def nelbo(model: LanguageModel, noised: Noised) -> Tensor:
    read = model(noised.tokens, Rows.of(noised.tokens, WORDS.pad_id))
    return bound(model.cross_entropy, read, noised, noised.text.sum())[0]


def held(model: LanguageModel, tokens: Tensor, text: Tensor) -> float:
    levels = fixed_noise(tokens, text, 0, WORDS.mask_id, eps=1e-3, levels=16)
    with torch.no_grad():
        return sum(float(nelbo(model, noised)) for noised in levels) / len(levels)


@pytest.mark.slow
def test_eight_documents_of_a_letter_each_are_learnt_to_a_tenth_of_a_nat() -> None:
    """The least there is to reach is ln 8 / 128 = 0.016, since one token tells the document.

    Whoever does not see it stays at ln 8 = 2.08. Longer patterns need more steps than a test has.
    """
    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 32, "dropout": 0.0}
    config = Config.model_validate({"steps": STEPS, "model": sizes})
    model = build_model(config, DataSpec({}, (8,), 1, {}, num_classes=WORDS.size))
    tokens = torch.arange(97, 105)[:, None].repeat(1, LENGTH)
    text = torch.ones_like(tokens, dtype=torch.bool)
    assert held(model, tokens, text) == pytest.approx(math.log(WORDS.size), rel=0.05)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / 20, 2 * (1 - step / STEPS))
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        noised = masked_noise(
            {"tokens": tokens}, text, WORDS.mask_id, generator, eps=1e-3, stratified=True
        )
        optimiser.zero_grad()
        nelbo(model, noised).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rate.step()
    assert held(model, tokens, text) < 0.1
