"""Continues a user's prompts, by a model and by its base."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from weft.errors import UsageError
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel
from weft.families.feedback.score.generation import complete
from weft.families.feedback.sets.tokenizer import Tokenizer
from weft.task.writing import Writing, Written


def go_on(
    model: LanguageModel,
    config: Config,
    tokenizer: Tokenizer,
    asked: Writing,
    generator: torch.Generator | None,
) -> Iterator[Written]:
    """One text for each prompt, generated separately; it ends at end-of-text, if there is one.

    Args:
        model: in eval mode.
        config: of the run; settings in `asked` override those of its `diffusion`.
        tokenizer: of the run.
        asked: prompts and settings.
        generator: draws tokens and positions.
    Raises:
        UsageError: if a prompt and its continuation are longer than a chunk, or `top_p` is asked
            for where nothing is drawn.
    """
    given = {
        "generation_steps": asked.steps,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "remask": asked.remask,
        "block": asked.block,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    diffusion = config.diffusion.model_copy(update=changes)
    if asked.top_p is not None and not diffusion.temperature:
        raise UsageError(
            f"{asked.top_p:g} of the probability to draw tokens from, and at temperature 0 none is "
            "drawn: the most likely is taken",
            where="top_p",
            expected="a temperature above 0 beside it",
        )
    how = config.model_copy(update={"diffusion": diffusion})
    forms = {"model": True} | ({"base": False} if config.stage != "feedforward" else {})
    for prompt in asked.prompts:
        [ids] = tokenizer.encode([prompt])
        count = len(ids) + (asked.length or max(1, config.data.block_size - len(ids)))
        if count > config.data.block_size:
            raise UsageError(
                f"the prompt of {len(ids)} tokens and what follows are longer than a chunk",
                expected=f"{config.data.block_size} tokens in all (data.block_size), not {count}",
            )
        clean = torch.full((1, count), tokenizer.vocabulary.mask_id)
        clean[0, : len(ids)] = torch.from_numpy(ids)
        clean = clean.to(model.base.table.device)
        masked = torch.arange(count, device=clean.device)[None] >= len(ids)
        endings = {}
        for name, adapted in forms.items():
            filled = complete(
                model, how, tokenizer.vocabulary, clean, masked, generator, adapted=adapted
            )
            endings[name] = tokenizer.text(filled[0, len(ids) :].tolist())
        yield Written(prompt, endings)
