"""Benchmark: a training step with traces, by back-propagation, and as the original code does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from weft.data.source import Batch, DataSpec, Field
from weft.families.cet.config import Config
from weft.families.cet.forms.stacked import Mlps
from weft.families.cet.objective import cross_entropy
from weft.families.cet.reference import use_per_item
from weft.families.cet.sets.stream import Norm, StreamSource
from weft.families.cet.task import CetTask
from weft.task.bench import Case, Form
from weft.task.context import Context

Shape = tuple[int, int, int]
CLASSES = 10


def cases() -> Iterator[Case]:
    """The paper's MLP and CNN, a CNN small enough for the original's per-item tensors, and a stack.

    Each form is a whole training step on random inputs: forward, backward, clip, fused AdamW.
    """
    mlp = Config(steps=1, delay=5, order=6)
    cnn = Config(steps=1, delay=10, order=6, arch="cnn")
    small = Config(steps=1, delay=10, order=6, arch="cnn", batch_size=64, hidden_dim=128)
    yield _case("mlp", mlp, (1, 28, 28), reference=True, steps_per_window=20)
    yield _case("cnn", cnn, (3, 32, 32), reference=False, steps_per_window=1)
    yield _case("cnn-small", small, (3, 16, 16), reference=True, steps_per_window=20)
    yield _stack()


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


def _stack() -> Case:
    """A step of eight models of the preset cet/digits, with eight different delays."""
    delays = (1, 2, 3, 5, 10, 20, 35, 50)
    configs = [Config(steps=1, delay=delay, order=10, hidden_dim=256) for delay in delays]
    forms = {"stacked": partial(_together, configs), "apart": partial(_apart, configs)}
    return Case("eight", forms, ("apart",))


def _together(configs: Sequence[Config]) -> Form:
    shape = (1, 8, 8)
    tasks, spec = [CetTask(config) for config in configs], _spec(configs[0], shape)
    source = StreamSource(
        torch.randint(256, (512, *shape), dtype=torch.uint8), torch.randint(CLASSES, (512,)),
        Norm(torch.tensor(1 / 255), torch.tensor(0.0)), CLASSES, 1, configs[0].batch_size,
    )  # fmt: skip
    stack = Mlps([task.model(spec) for task in tasks], tasks, [source] * len(tasks))
    batch = stack.take(torch.randint(512, (len(tasks), *spec.batch_shape)))
    optimiser = torch.optim.AdamW(stack.weights.values(), lr=1e-3, fused=True)
    where = Context(0, 0, 1, torch.get_default_device(), log=False)

    @torch.no_grad()
    def step() -> None:
        gradients = stack.gradients(batch, where)[1]
        norms = [gradient.flatten(1).norm(dim=1) for gradient in gradients.values()]
        share = (0.5 / (torch.stack(norms).norm(dim=0) + 1e-6)).clamp(max=1.0)
        for name, weight in stack.weights.items():
            weight.grad = gradients[name] * share.view(-1, *[1] * (weight.dim() - 1))
        optimiser.step()

    return _counted(step)


def _apart(configs: Sequence[Config]) -> Form:
    forms = [_traced(config, (1, 8, 8)) for config in configs]

    def step() -> None:
        for form in forms:
            form.step()

    return _counted(step)


def _counted(step: Callable[[], None], **timing: Any) -> Form:
    with FlopCounterMode(display=False) as counter:
        step()
    return Form(step, counter.get_total_flops(), **timing)


def _traced(config: Config, shape: Shape, **timing: int) -> Form:
    task, spec = CetTask(config), _spec(config, shape)
    return _form(partial(_loss, task), task.model(spec), spec, task.scalars, **timing)


def _per_item(config: Config, shape: Shape, **timing: int) -> Form:
    task, spec = CetTask(config), _spec(config, shape)
    return _form(partial(_loss, task), use_per_item(task.model(spec)), spec, **timing)


def _plain(config: Config, shape: Shape, **timing: int) -> Form:
    spec = _spec(config, shape)

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        return cross_entropy(model(batch["image"][0]), batch["label"][0]).mean()

    return _form(loss, CetTask(config).network(spec), spec, **timing)


def _loss(task: CetTask, model: nn.Module, batch: Batch) -> torch.Tensor:
    # `track_sim` alone decides whether this step counts as a logged one, and so compares updates.
    where = Context(0, 0, 1, torch.get_default_device(), log=task.config.track_sim)
    return task.loss(model, batch, where)[0]


def _form(
    loss: Callable[[nn.Module, Batch], torch.Tensor],
    model: nn.Module,
    spec: DataSpec,
    read: Callable[[nn.Module], object] = lambda model: None,
    /,
    **timing: int,
) -> Form:
    """A form that takes one optimiser step on a fixed random batch.

    Args:
        loss: gives the loss of a model on a batch.
        model: the model to train.
        spec: shapes and dtypes of the batch.
        read: called with the model after each backward pass.
        timing: options of `Form`.
    """
    batch = {
        "image": torch.rand(*spec.batch_shape, *spec.fields["image"].shape),
        "label": torch.randint(spec.num_classes, spec.batch_shape),
    }
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        loss(model, batch).backward()
        read(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimiser.step()

    return _counted(step, **timing)


def _spec(config: Config, shape: Shape) -> DataSpec:
    return DataSpec(
        fields={"image": Field(shape), "label": Field((), torch.int64)},
        batch_shape=(1, config.batch_size),
        batches_per_epoch=1,
        sizes={},
        num_classes=CLASSES,
    )
