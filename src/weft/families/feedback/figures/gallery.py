"""Computes the content of figures: completions of held-out chunks, and sizes of their deltas."""

# B rows, T positions, L blocks, Z adapted matrices of a block

from __future__ import annotations

import torch
from torch import Tensor

from weft.data.source import Source
from weft.families.feedback.config import Config
from weft.families.feedback.figures.report import Story
from weft.families.feedback.model import LanguageModel
from weft.families.feedback.nets.attention import Block
from weft.families.feedback.nets.rows import Rows
from weft.families.feedback.noise.process import fixed_noise
from weft.families.feedback.score.evaluation import chunks
from weft.families.feedback.score.generation import complete
from weft.families.feedback.sets.tokenizer import Tokenizer, Vocabulary

_TEXTS = 8


def stories(
    model: LanguageModel,
    config: Config,
    tokenizer: Tokenizer,
    source: Source,
    generator: torch.Generator | None,
    count: int,
) -> list[Story]:
    """The first `count` held-out chunks, whose beginnings model and base complete."""
    device = model.base.table.device
    batch = {name: value.to(device) for name, value in next(chunks(source, count, count)).items()}
    tokens, text = batch["tokens"], batch["tokens"] != tokenizer.vocabulary.pad_id
    begun = (text.sum(1, keepdim=True) * config.diffusion.context).floor()
    later = torch.arange(tokens.shape[1], device=device) >= begun
    masked = text & ~batch["given"] if "given" in batch else text & later
    forms = {"adapted": True} | ({"base": False} if config.stage != "feedforward" else {})
    endings = {
        form: complete(
            model, config, tokenizer.vocabulary, tokens, masked, generator, adapted=adapted
        )
        for form, adapted in forms.items()
    }
    return [
        Story(
            tokenizer.decode(tokens[row][~masked[row] & text[row]].tolist()),
            tokenizer.decode(tokens[row][masked[row]].tolist()),
            {
                form: tokenizer.decode(made[row][masked[row]].tolist())
                for form, made in endings.items()
            },
        )
        for row in range(len(tokens))
    ]


def delta_sizes(
    model: LanguageModel, config: Config, vocabulary: Vocabulary, source: Source
) -> tuple[Tensor, Tensor, list[str]] | None:
    """Sizes of the deltas of some half-masked chunks, and their variation between chunks.

    Returns: the Frobenius norm of the mean delta over that of the weight, (L, Z); the share of the
        deltas' mean squared norm that is variance around that mean, (L, Z); the names of the Z
        stacks of matrices. None for a model without deltas.
    """
    tokens = next(chunks(source, _TEXTS, _TEXTS))["tokens"].to(model.base.table.device)
    text = tokens != vocabulary.pad_id
    noised = fixed_noise(tokens, text, 0, vocabulary.mask_id, eps=config.diffusion.eps, levels=3)[1]
    rows = Rows.of(noised.tokens, None if config.data.pad_is_text else vocabulary.pad_id)
    deltas = model.deltas(noised.tokens, rows)
    if deltas is None:
        return None
    relative, varying = [], []
    for block, changes in zip(model.base.blocks, deltas.blocks, strict=True):
        assert isinstance(block, Block)
        for name, factors in changes.items():
            dense = factors.dense().float()
            dense = dense if dense.dim() == 3 else dense[None]
            mean = dense.mean(0)
            around = (dense - mean).square().sum() / len(dense)
            relative.append(mean.norm() / getattr(block, name).norm())
            varying.append(around / (around + mean.square().sum()).clamp_min(1e-30))
    names = [name for name, _ in deltas.blocks[0].items()]
    sizes, shares = (
        torch.stack(values).cpu().view(-1, len(names)) for values in (relative, varying)
    )
    return sizes, shares, names
