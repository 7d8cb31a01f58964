"""Benchmark: what the training loop costs beside a bare loop of torch, and what starting costs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import torch
from pydantic import Field as Option
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from weft.config.base import FamilyConfig
from weft.config.family import Family
from weft.config.recipe import recipe_class
from weft.data.source import Batch, DataSpec, Field, Splits, TensorSource
from weft.engine.device import using_threads
from weft.engine.loop import Progress, Trainer
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.task.bench import Case, Form
from weft.task.context import Context
from weft.task.task import Task

ITEMS, INPUTS, HIDDEN, CLASSES, BATCH, EVERY = 2560, 64, 64, 10, 128, 50
"""The benchmark's sizes; its model has 4,810 parameters, and the loss is fetched every 50 steps."""


class PlainConfig(FamilyConfig):
    """A config without options of its own."""

    family: Literal["plain"] = Option("plain", description="Which family trains.")


class PlainTask(Task[PlainConfig, nn.Module, TensorSource]):
    """A classifier of random items."""

    def spec(self) -> DataSpec:
        """Shapes and sizes of `source`."""
        fields = {"x": Field((INPUTS,)), "y": Field((), torch.int64)}
        return DataSpec(fields, (BATCH,), ITEMS // BATCH, {"train": ITEMS}, CLASSES)

    def data(self) -> Splits[TensorSource]:
        """The same items for training and testing."""
        return Splits(train=source(), val=None, test=source())

    def model(self, spec: DataSpec) -> nn.Module:
        """Two dense layers."""
        return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))

    def loss(
        self, model: nn.Module, batch: Batch, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy."""
        return cross_entropy(model(batch["x"]), batch["y"]), {}

    def evaluate(self, model: nn.Module, source: TensorSource, ctx: Context) -> dict[str, float]:
        """Mean cross-entropy of all items."""
        return {"loss": float(cross_entropy(model(source.fields["x"]), source.fields["y"]))}


FAMILY = Family(
    name="plain",
    summary="a classifier of random numbers, to measure the loop by",
    config=PlainConfig,
    task="weft.studies.overhead:PlainTask",
    default="none",
)


def source() -> TensorSource:
    """Random items with random classes."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(ITEMS, INPUTS, generator=draws)
    y = torch.randint(CLASSES, (ITEMS,), generator=draws)
    return TensorSource({"x": x, "y": y}, BATCH)


def parts(steps: int) -> Parts:
    """The parts of a run of `steps` steps on the CPU with AdamW.

    It evaluates and saves only at its end, not after each epoch, which here has 20 steps.
    """
    end = {"every": f"{steps} steps"}
    engine = {"device": "cpu", "threads": 1}
    values = {
        "steps": steps, "log": {"every": EVERY}, "engine": engine, "eval": end, "checkpoint": end,
    }  # fmt: skip
    return Parts.of(FAMILY, recipe_class(FAMILY).model_validate({"family": "plain", **values}))


def ours(steps: int) -> tuple[nn.Module, Callable[[], object]]:
    """The model, and a function that trains it on by weft's loop."""
    run = parts(steps)
    model = run.model()
    trainer = Trainer(run, run.data(), Stepper(run, model), None, None)
    return model, lambda: trainer.train(Progress())


def bare(steps: int, *, indexed: bool = False) -> tuple[nn.Module, Callable[[], object]]:
    """The same in ten lines of torch, for comparison.

    It takes items by the same operation as weft and updates weights by the same kernel, by way of
    `torch.optim.AdamW`. It has no random streams, no gradient norm, and no check for NaN.

    Args:
        steps: number of steps.
        indexed: whether items are taken by x[chosen], the usual way, which takes more than twice
            the time of `TensorSource.take`.
    """
    run = parts(steps)
    model, items = run.model(), source()
    inputs, classes = (
        items.fields[name].__getitem__ if indexed else partial(items.fields[name].index_select, 0)
        for name in ("x", "y")
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def train() -> float:
        told, step, epoch = 0.0, 0, 0
        with using_threads(run.threads):
            while step < steps:
                for chosen in items.plan(run.config.seed, epoch)[: steps - step]:
                    optimiser.zero_grad()
                    loss = cross_entropy(model(inputs(chosen)), classes(chosen))
                    loss.backward()
                    optimiser.step()
                    step += 1
                    if step % EVERY == 0:
                        told = loss.item()
                epoch += 1
        return told

    return model, train


def cases() -> Iterator[Case]:
    """A hundred steps by each loop and, with `--full`, how long commands take from the shell."""
    steps = 100

    def form(build: Callable[[int], tuple[nn.Module, Callable[[], object]]]) -> Form:
        return Form(build(steps)[1], windows=30, steps_per_window=2)

    loops = {
        "weft": partial(form, ours),
        "bare": partial(form, bare),
        "indexed": partial(form, partial(bare, indexed=True)),
    }
    yield Case("loop", loops, ("bare", "indexed"))
    commands = {
        "import torch": ("-c", "import torch"),
        "--help": ("-m", "weft", "--help"),
        "config show": ("-m", "weft", "config", "show", "cet/digits"),
        "first step": ("-c", _FIRST),
    }
    forms = {name: partial(_started, words) for name, words in commands.items()}
    yield Case("start", forms, ("import torch",), full=True)


def _started(words: tuple[str, ...]) -> Form:
    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, check=True)

    return Form(run, windows=5, steps_per_window=1)


_FIRST = """
import os
from weft.engine.loop import Trainer
step = Trainer._step
Trainer._step = lambda *words: (step(*words), os._exit(0))
from weft.cli import main
main(["train", "cet/digits", "-q"])
"""
