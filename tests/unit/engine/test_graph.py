"""What a step that is recorded may know, and what of it stays the same at every replay."""

from __future__ import annotations

import pytest
import torch

from weft import api
from weft.engine.graph import Replayed
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.errors import DeviceError
from weft.families import find
from weft.task.context import Context

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["step", "progress"])
def test_a_recorded_loss_that_depends_on_the_step_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=rf"depends on `ctx\.{name}`"):
        getattr(Replayed(1, 0, 100, CPU), name)


def test_streams_of_a_recorded_step_begin_as_those_of_any_other() -> None:
    known = Replayed(7, 0, 100, CPU)
    drawn = known.generator("noise")
    for step in (0, 5):
        known.reseed("noise", step)
        usual = Context(7, step, 100, CPU).generator("noise")
        assert torch.equal(torch.rand(4, generator=drawn), torch.rand(4, generator=usual))
    assert known.generator("noise") is drawn


def test_a_stream_of_another_device_is_refused() -> None:
    with pytest.raises(DeviceError, match="outside the graph"):
        Replayed(7, 0, 100, CPU).generator("length", device="meta")


def test_without_a_gpu_steps_are_taken_as_usual() -> None:
    config = api.configure("cet/digits", "engine.graph=true", "engine.device=cpu").config
    parts = Parts.of(find("cet"), config)
    stepper = Stepper(parts, parts.model())
    assert stepper.gradients == stepper._gradients
