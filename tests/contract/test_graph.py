"""On a GPU, steps replayed from a recorded graph are the steps that a run takes without one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.golden.losses import Enough, Losses
from tests.golden.record import is_quick
from weft import api, families
from weft.config.presets import preset_names
from weft.engine.loop import Progress, Trainer
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.errors import DataError, DeviceError, MissingExtra

STEPS = 12
QUICK = [
    f"{name}/{preset}"
    for name in families.names()
    for preset in preset_names(families.find(name))
    if preset not in families.find(name).generated and is_quick(name, preset)
]
STEPPED = "depends on `ctx"
"""What families say whose loss has a schedule of its own."""


def _weights(recipe: str, graph: str) -> dict[str, Tensor]:
    words = ("engine.device=cuda", "engine.compile=false", "engine.precision=fp32")
    more = (f"engine.graph={graph}", "log.every=4", "data.download=false")
    config = api.configure(recipe, *words, *more).config
    parts = Parts.of(families.find(config.family), config)
    parts = replace(parts, plan=replace(parts.plan, eval_every=1 << 40, save_every=1 << 40))
    data = parts.data()
    stepper = Stepper(parts, parts.model(data=data))
    with suppress(Enough):
        Trainer(parts, data, stepper, None, Losses(STEPS)).train(Progress())
    return {name: value.detach().cpu() for name, value in stepper.model.state_dict().items()}


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", QUICK)
def test_replayed_steps_are_the_steps_of_the_run(recipe: str) -> None:
    try:
        usual = _weights(recipe, "false")
    except (DataError, MissingExtra) as error:
        pytest.skip(error.message)
    try:
        replayed = _weights(recipe, "true")
    except DeviceError as error:
        if STEPPED in error.message:
            pytest.skip(error.message)
        raise
    for name, value in usual.items():
        torch.testing.assert_close(replayed[name], value, rtol=1e-3, atol=1e-4, msg=name)
