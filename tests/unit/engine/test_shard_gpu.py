"""On a GPU, weights in pieces over a group of one process train as whole ones do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.golden.losses import Enough, Losses
from weft import api, families
from weft.engine.loop import Progress, Trainer
from weft.engine.parts import Parts
from weft.engine.shard import Shards
from weft.engine.step import LossModule, Stepper

WORDS = ("feedback/text", "model.n_layer=2", "batch_size=4", "data.download=false",
         "engine.device=cuda", "engine.compile=false", "log.every=2")  # fmt: skip


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    dist.init_process_group("cpu:gloo,cuda:nccl", init_method=f"file://{tmp_path / 'group'}",
                            rank=0, world_size=1)  # fmt: skip
    yield
    dist.destroy_process_group()


def _trained(steps: int) -> tuple[dict[str, Tensor], Stepper]:
    config = api.configure(*WORDS).config
    parts = Parts.of(families.find(config.family), config)
    parts = replace(parts, plan=replace(parts.plan, eval_every=1 << 40, save_every=1 << 40))
    data = parts.data()
    stepper = Stepper(parts, parts.model(data=data))
    with suppress(Enough):
        Trainer(parts, data, stepper, None, Losses(steps)).train(Progress())
    stepper.settle()
    return {name: value.cpu() for name, value in stepper.shown.state_dict().items()}, stepper


@pytest.mark.gpu
def test_pieces_on_a_gpu_train_as_whole_weights_do(
    group: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = _trained(6)
    # Two processes cannot share a card, and a run of one has nothing to share out.
    monkeypatch.setattr(
        "weft.engine.step._shared_out",
        lambda parts, model: Shards(parts, model, LossModule(parts.task, model)),
    )
    pieces, stepper = _trained(6)
    assert stepper.shards is not None
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-5)
    state = stepper.state()
    moments = state["optim"]["state"][0]["exp_avg"]
    assert type(moments) is Tensor
    assert moments.device.type == "cpu"
    stepper.load(state)
    stepper.settle()
    after = {name: value.cpu() for name, value in stepper.shown.state_dict().items()}
    torch.testing.assert_close(after, pieces, rtol=0, atol=0)
