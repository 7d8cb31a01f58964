"""A step is a function of the whole batch, however many parts or processes it is taken in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden.record import is_quick
from weft import api, families
from weft.config.presets import preset_names
from weft.data.random import stream
from weft.data.source import Batch
from weft.engine.loop import seed_step
from weft.engine.parts import Parts
from weft.engine.ranks import Ranks, shares
from weft.errors import ConfigError, DataError, DeviceError, MissingExtra

ITEMS = 8
UNITS = {"items": f"batch_size={ITEMS}", "streams": f"streams={ITEMS}"}


def _cases() -> list[Any]:
    cases = []
    for name in families.names():
        family = families.find(name)
        for preset in preset_names(family):
            if preset in family.generated:
                continue
            marks = [] if is_quick(name, preset) else [pytest.mark.exhaustive]
            cases.append(pytest.param(f"{name}/{preset}", id=f"{name}/{preset}", marks=marks))
    return cases


def _parts(recipe: str) -> Parts:
    family = families.find(recipe.partition("/")[0])
    words = ["engine.device=cpu", "engine.precision=fp32", "engine.compile=false"]
    unit = family.split(api.configure(recipe).config)
    words += ["data.download=false", *([UNITS[unit]] if unit in UNITS else [])]
    # Dropout is of each part its own; here all see none, that of functions neither.
    if hasattr(getattr(api.configure(recipe).config, "model", None), "dropout"):
        words.append("model.dropout=0")
    try:
        return Parts.of(family, api.configure(recipe, *words).config)
    except ConfigError:  # Fewer items than that.
        pytest.skip("a batch of one item cannot be split")
    except (DataError, MissingExtra) as error:
        pytest.skip(error.message)


def _whole(parts: Parts, step: int) -> Batch:
    """A step's batch, as the loop takes and draws it, in float64."""
    source, config = parts.data().train, parts.config
    taken = source.take(source.plan(config.seed, 0)[0], stream(config.seed, step, "data"))
    drawn = parts.task.draw(taken, parts.context(step))
    return {k: v.double() if v.is_floating_point() else v for k, v in drawn.items()}


def _step(parts: Parts, batch: Batch, split: int) -> tuple[float, list[Tensor]]:
    """Loss and gradients of the batch taken in `split` parts, as accumulation and ranks do."""
    model = parts.model().double().train()
    ctx = replace(parts.context(3), parts=split)
    total = 0.0
    for part in shares(batch, split, Ranks()):
        # Dropout is of each part its own; here all see none.
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        seed_step(0, 3, 0, parts.device)
        loss, _ = parts.task.loss(model, part, ctx)
        (loss / split).backward()
        total += float(loss.detach()) / split
    return total, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("recipe", _cases())
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(recipe: str) -> None:
    parts = _parts(recipe)
    if parts.family.split(parts.config) == "none":
        for ranks, words in ((Ranks(), ["engine.accumulation=2"]), (Ranks(0, 2), [])):
            # A config that knows why it cannot be split says so itself.
            with pytest.raises((DeviceError, ConfigError), match=r"cannot be split|accumulation"):
                config = api.configure(recipe, "data.download=false", *words).config
                Parts.of(parts.family, config, ranks)
        return
    batch = _whole(parts, 3)
    loss, whole = _step(parts, batch, 1)
    for split in (2, ITEMS):
        again, gradients = _step(parts, batch, split)
        assert again == pytest.approx(loss, rel=1e-10)
        scale = max(float(g.abs().max()) for g in whole)
        for ours, theirs in zip(gradients, whole, strict=True):
            assert float((ours - theirs).abs().max()) < 1e-10 * scale
