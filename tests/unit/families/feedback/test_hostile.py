"""Batches that nothing prepares a model for, under bf16: losses and gradients stay numbers."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

from weft import families
from weft.config.load import load
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel
from weft.families.feedback.task import FeedbackTask
from weft.task.context import Context

TINY = (
    "feedback/text", "model.n_layer=2", "model.n_head=2", "model.n_embd=16", "data.block_size=16",
    "model.dropout=0.1", "engine.precision=bf16",
)  # fmt: skip
WRITTEN = ("stage=feedback", "base=feedback/text", "lora_rank=2")
ASSOC = (*WRITTEN, "feedback_source=both", "generator=assoc")
FORMS = {
    "feedforward": (),
    "self-conditioned": ("self_condition=true",),
    "deeper": ("base=feedback/text", "stage=fine_tune", "scope=all", "extra_layers=1"),
    "static": ("stage=static", "base=feedback/text", "lora_rank=2"),
    "compat": (*WRITTEN, "mode=compat"),
    "recurrent": (*WRITTEN, "mode=compat", "recurrent=true"),
    "tokens": (*WRITTEN, "generator=tokens", "feedback_source=tokens"),
    "latent": (*WRITTEN, "feedback_source=hidden", "generator=latent", "latents=2"),
    "outer": (*WRITTEN, "feedback_source=hidden", "generator=outer"),
    "assoc": ASSOC,
    "rounds": (*ASSOC, "feedback_error=prediction", "rounds=2"),
    "gradient": (*ASSOC, "feedback_error=gradient"),
}
"""Everything that computes a loss, by the words that ask for it."""

BATCHINGS = {
    "original": ("data.batching=padded", "data.pad_is_text=true"),
    "buckets": ("data.batching=buckets",),
    "packed": ("data.batching=packed",),
}
CASES = [
    (form, batching)
    for form, words in FORMS.items()
    for batching in BATCHINGS
    # A delta that is written from a row belongs to one document.
    if batching != "packed" or "stage=feedback" not in words
]
BATCHES = ((1, "none"), (1, "all"), (7, "all"), (7, "one"))
"""Tokens of a row, and which of them are masked."""


def hostile(task: FeedbackTask, length: int, masks: str, *, packed: bool) -> dict[str, Tensor]:
    """Three rows, the last of padding alone; p is as small as it gets where anything is masked."""
    vocabulary = task.tokenizer.vocabulary
    tokens = torch.randint(32, 120, (3, length), generator=torch.Generator().manual_seed(length))
    tokens[2] = vocabulary.pad_id
    text = torch.ones_like(tokens, dtype=torch.bool)
    if not task.config.data.pad_is_text:
        text[2] = False
    masked = text.clone() if masks == "all" else torch.zeros_like(text)
    masked[0, 0] = masks != "none"
    batch = {
        "tokens": tokens,
        "noisy": tokens.masked_fill(masked, vocabulary.mask_id),
        "masked": masked,
        "weight": torch.full(tokens.shape, 1e3),
        "text": text,
        "count": text.sum().clamp(min=1).expand(3),
    }
    if packed:
        # Documents of one token each.
        batch["document"] = torch.arange(length).expand(3, length).masked_fill(~text, -1)
        batch["position"] = torch.zeros_like(tokens)
    return batch


@pytest.mark.parametrize(("form", "batching"), CASES)
def test_no_batch_makes_bf16_lose_its_numbers(form: str, batching: str) -> None:
    keeps_its_numbers(form, batching, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize(("form", "batching"), CASES)
def test_no_batch_makes_bf16_lose_its_numbers_on_a_card(form: str, batching: str) -> None:
    keeps_its_numbers(form, batching, "cuda")


def keeps_its_numbers(form: str, batching: str, device: str) -> None:
    """Fails where a loss or a gradient of a hostile batch is no number."""
    words = [*TINY, *FORMS[form], *BATCHINGS[batching]]
    task = FeedbackTask(cast(Config, load(words, families).config))
    torch.manual_seed(0)
    model = cast(LanguageModel, task.model(task.spec())).to(device).train()
    context = Context(0, 1, 10, torch.device(device))
    for length, masks in BATCHES:
        batch = hostile(task, length, masks, packed=batching == "packed")
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        model.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            loss, _ = task.loss(model, batch, context)
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients
        numbers = torch.stack([x.to_dense().isfinite().all() for x in gradients])
        assert bool(loss.isfinite()) and bool(numbers.all()), (length, masks)
        assert masks != "none" or float(loss.detach()) == 0
