"""Benchmark: a training step by traces, by back-propagation, and in the original's way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from weft.data.source import Batch, DataSpec, Field
from weft.families.cet.config import Config
from weft.families.cet.objective import cross_entropy
from weft.families.cet.reference import use_per_item
from weft.families.cet.task import CetTask
from weft.task.bench import Case, Form
from weft.task.context import Context

Shape = tuple[int, int, int]
CLASSES = 10


def cases(full: bool) -> Iterator[Case]:
    """The paper's MLP and CNN, and a CNN small enough for the original's per-item tensors.

    Each form is a whole training step on random inputs: forward, backward, clip, fused AdamW.

    Args:
        full: not needed; all cases fit into the default three minutes.
    """
    mlp = Config(steps=1, delay=5, order=6)
    cnn = Config(steps=1, delay=10, order=6, arch="cnn")
    small = Config(steps=1, delay=10, order=6, arch="cnn", batch_size=64, hidden_dim=128)
    yield _case("mlp", mlp, (1, 28, 28), reference=True, steps_per_window=20)
    yield _case("cnn", cnn, (3, 32, 32), reference=False, steps_per_window=1)
    yield _case("cnn-small", small, (3, 16, 16), reference=True, steps_per_window=20)


def _case(name: str, config: Config, shape: Shape, *, reference: bool, **timing: int) -> Case:
    watched = config.model_copy(update={"track_sim": True})
    forms = {
        "cet": partial(_traced, config, shape, **timing),
        "cet+similarity": partial(_traced, watched, shape, **timing),
        "backprop": partial(_plain, config, shape, **timing),
    }
    if reference:
        forms["reference"] = partial(_per_item, config, shape, windows=3, steps_per_window=1)
    return Case(name, forms, tuple(form for form in forms if not form.startswith("cet")))


def _traced(config: Config, shape: Shape, **timing: int) -> Form:
    task, spec = CetTask(config), _spec(config, shape)
    return _form(partial(_loss, task), task.model(spec), spec, **timing)


def _per_item(config: Config, shape: Shape, **timing: int) -> Form:
    task, spec = CetTask(config), _spec(config, shape)
    return _form(partial(_loss, task), use_per_item(task.model(spec)), spec, **timing)


def _plain(config: Config, shape: Shape, **timing: int) -> Form:
    spec = _spec(config, shape)

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        return cross_entropy(model(batch["image"][0]), batch["label"][0]).mean()

    return _form(loss, CetTask(config).network(spec), spec, **timing)


def _loss(task: CetTask, model: nn.Module, batch: Batch) -> torch.Tensor:
    # A step is logged (and then compared) where similarity is measured, and only there.
    where = Context(0, 0, 1, torch.get_default_device(), log=task.config.track_sim)
    return task.loss(model, batch, where)[0]


def _form(
    loss: Callable[[nn.Module, Batch], torch.Tensor],
    model: nn.Module,
    spec: DataSpec,
    **timing: int,
) -> Form:
    """A form that takes one optimiser step on a fixed random batch."""
    batch = {
        "image": torch.rand(*spec.batch_shape, *spec.fields["image"].shape),
        "label": torch.randint(spec.num_classes, spec.batch_shape),
    }
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        loss(model, batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimiser.step()

    with FlopCounterMode(display=False) as counter:
        step()
    return Form(step, counter.get_total_flops(), **timing)


def _spec(config: Config, shape: Shape) -> DataSpec:
    return DataSpec(
        fields={"image": Field(shape), "label": Field((), torch.int64)},
        batch_shape=(1, config.batch_size),
        batches_per_epoch=1,
        sizes={},
        num_classes=CLASSES,
    )
