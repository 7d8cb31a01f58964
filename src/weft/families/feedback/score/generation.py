"""Completes text with a model, and measures how often GSM8K answers have the right number."""

# B rows, T positions, N masked positions, V vocabulary

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from weft.data.source import Source
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel
from weft.families.feedback.nets.rows import Rows
from weft.families.feedback.noise.sampling import Predict, Way, unmask
from weft.families.feedback.options.sections import FeedbackEval
from weft.families.feedback.score.exact_match import answer_of, prompt_length, same_answer
from weft.families.feedback.score.lineage import origin_of
from weft.families.feedback.sets.tokenizer import Tokenizer, Vocabulary
from weft.nn.dense import linear


def adapted_predictor(model: LanguageModel, rows: Rows) -> Predict:
    """Predictions of the model, with new deltas at every step from the current tokens.

    With self-conditioning a step is given the guess of the step before, so that it needs no
    additional pass.
    """
    previous: Tensor | None = None

    def predict(tokens: Tensor, masked: Tensor) -> Tensor:
        nonlocal previous
        read = model(tokens, rows, previous=previous)
        previous = read if model.condition is not None else None
        return model.logits(read[masked])

    return predict


def base_predictor(model: LanguageModel, rows: Rows) -> Predict:
    """Predictions of the feedforward network before adaptation."""
    origin = origin_of(model)

    def predict(tokens: Tensor, masked: Tensor) -> Tensor:
        return linear(origin(tokens, rows)[0][masked], origin.table)

    return predict


def complete(
    model: LanguageModel,
    config: Config,
    vocabulary: Vocabulary,
    clean: Tensor,
    masked: Tensor,
    generator: torch.Generator | None,
    *,
    adapted: bool = True,
) -> Tensor:
    """Rows whose masked positions the model has filled.

    Args:
        model: in eval mode.
        config: gives the settings, see `way_of`.
        vocabulary: only its ids of text and end-of-text are generated.
        clean: int64 (B, T), padded with [PAD].
        masked: the positions to fill, bool (B, T).
        generator: draws tokens and positions.
        adapted: whether the model fills them, or its base.
    Returns: int64 (B, T).
    """
    tokens = clean.masked_fill(masked, vocabulary.mask_id)
    rows = Rows.of(tokens, None if config.data.pad_is_text else vocabulary.pad_id)
    predict = adapted_predictor(model, rows) if adapted else base_predictor(model, rows)
    allowed = torch.arange(vocabulary.size, device=tokens.device) <= vocabulary.end_id
    return unmask(predict, tokens, masked, allowed, way_of(config), generator)


def way_of(config: Config) -> Way:
    """Settings of unmasking by the run's config; in mode compat those of the original."""
    diffusion = config.diffusion
    return Way(
        diffusion.generation_steps,
        diffusion.temperature,
        diffusion.top_p,
        diffusion.remask,
        diffusion.block,
        jointly=config.mode == "compat",
    )


def exact_match(
    model: LanguageModel,
    config: Config,
    tokenizer: Tokenizer,
    source: Source,
    generator: torch.Generator | None,
) -> dict[str, float]:
    """How often a generated answer ends in the right number.

    The model is given the question and as many masked tokens as the true answer has.

    Args:
        model, config, generator: as for `complete`.
        tokenizer: of the run.
        source: chunks of gsm8k; the first `eval.exact_match` whole problems are used.
    Returns: `exact_match`, a share, and its standard error `exact_match_se`; empty if no problem
        is whole.
    """
    device = model.base.table.device
    right, asked = 0, 0
    for tokens, prompts in problems(source, tokenizer, config.eval):
        tokens = tokens.to(device)
        place = torch.arange(tokens.shape[1], device=device)
        after = place >= torch.tensor(prompts, device=device)[:, None]
        masked = after & (tokens != tokenizer.vocabulary.pad_id)
        filled = complete(model, config, tokenizer.vocabulary, tokens, masked, generator)
        for made, true in zip(filled.tolist(), tokens.tolist(), strict=True):
            answers = (answer_of(tokenizer.text(ids)) for ids in (made, true))
            right += same_answer(*answers)
            asked += 1
    if not asked:
        return {}
    share = right / asked
    return {"exact_match": share, "exact_match_se": math.sqrt(share * (1 - share) / asked)}


def problems(
    source: Source, tokenizer: Tokenizer, config: FeedbackEval
) -> Iterator[tuple[Tensor, list[int]]]:
    """Rows with whole problems, and for each row the number of tokens up to its answer."""
    left = config.exact_match
    for batch in source.batches(config.batch_size):
        prompts: dict[int, int] = {}
        for row, ids in enumerate(batch["tokens"].tolist()):
            kept = [number for number in ids if number != tokenizer.vocabulary.pad_id]
            length = prompt_length(kept, tokenizer.decode)
            if length is not None and len(prompts) < left:
                prompts[row] = length
        if prompts:
            yield batch["tokens"][list(prompts)], list(prompts.values())
        left -= len(prompts)
        if left <= 0:
            return
