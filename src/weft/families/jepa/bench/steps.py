"""Benchmark: training steps of the objectives against the reference, and the batches they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from weft.data.source import Batch
from weft.families.jepa import objective
from weft.families.jepa.bench.batches import data_cases
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec
from weft.families.jepa.model import Model, build_model
from weft.families.jepa.optim.lars import lars
from weft.families.jepa.options.sections import Lars
from weft.families.jepa.reference import frame_by_frame
from weft.nn.dense import has_onednn
from weft.task.bench import Case, Form

_SLOW = 3
"""Windows of the reference, and of bf16 on a CPU without such instructions, where a step takes
eight times as long as in float32: with as many as the others they would take most of the time."""

Loss = Callable[[Model, Batch, Config, torch.Generator], tuple[Tensor, dict[str, Tensor]]]


def cases(full: bool) -> Iterator[Case]:
    """Steps at the shapes of the published runs (menet5, w = 2, D = 512, T = 17), and batches.

    `vicreg-32` is a whole step with LARS; the cases of B = 16 are forward and backward only. The
    reference runs on contiguous memory in float32, one frame at a time outside the encoder.

    Args:
        full: not needed; the cases say themselves whether they take long.
    """
    yield _case("vicreg-32", 32, {"objective": "vicreg"}, steps=True)
    yield _case("vicreg-16", 16, {"objective": "vicreg"})
    yield _case("idm-16", 16, {"objective": "idm"})
    yield _case("simclr-16", 16, {"objective": "simclr"})
    yield _case("combo-16", 16, {"objective": "combo"}, compared=False)
    yield _case("rssm-16", 16, {"objective": "rssm", "rssm": {"compat": True}})
    yield from data_cases()


def _case(
    name: str,
    batch_size: int,
    options: dict[str, Any],
    *,
    steps: bool = False,
    compared: bool = True,
) -> Case:
    config = Config(steps=1, batch_size=batch_size, **options)
    contiguous = config.model.model_copy(update={"channels_last": False})
    plain = config.model_copy(update={"model": contiguous})
    forms: dict[str, Callable[[], Form]] = {
        "weft": partial(_form, objective.loss, config, steps),
        "weft-bf16": partial(_form, objective.loss, config, steps, bf16=True),
    }
    if compared:
        forms["reference"] = partial(_form, frame_by_frame.loss, plain, steps, windows=_SLOW)
    return Case(name, forms, baselines=("reference",) if compared else ("weft",))


def _form(
    loss: Loss, config: Config, steps: bool, *, bf16: bool = False, windows: int = 20
) -> Form:
    """Forward and backward on a fixed random batch, with an optimiser's step if `steps`."""
    spec = data_spec(config)
    torch.manual_seed(0)
    model = build_model(config, spec)
    batch = {
        name: torch.randn(*spec.batch_shape, *field.shape) for name, field in spec.fields.items()
    }
    optimiser = lars(Lars(base_lr=1e-3), [{"params": list(model.parameters())}])
    generator = torch.Generator()

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value, _ = loss(model, batch, config, generator)
        value.backward()
        if steps:
            optimiser.step()

    if bf16 and not has_onednn(batch["image"], torch.bfloat16):
        windows = _SLOW
    with FlopCounterMode(display=False) as counter:
        step()
    return Form(step, counter.get_total_flops(), windows, steps_per_window=2)
