"""Every preset of the family builds and takes a step: those in files here, the 144 as `slow`."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from weft import api
from weft.config.recipe import kind_of
from weft.data.random import stream
from weft.engine.device import Ranks
from weft.engine.step import Stepper
from weft.families.jepa.original import flat, translate
from weft.families.jepa.table import presets
from weft.run.launch import Parts

SMALL = ("batch_size=4", "dataset_size=64", "norm_batches=2", "val_dataset_size=8",
         "probe.batch_size=null", "engine.device=cpu")  # fmt: skip


def step(recipe: str, *words: str) -> dict[str, torch.Tensor]:
    """The scalars of the recipe's first step, and what it moved, as `moved`."""
    parts = Parts.of(api.configure(f"jepa/{recipe}", *SMALL, *words).config)
    config, source, model = parts.config, parts.data().train, parts.model()
    kinds = {s: kind_of(parts.family, s, getattr(config, s).kind)
             for s in ("optim", "schedule", "clip")}  # fmt: skip
    before = [p.detach().clone() for p in model.parameters()]
    total = parts.plan.total_steps
    stepper = Stepper(parts.task, model, config, kinds, total, Ranks(), parts.device)
    batch = source.take(source.plan(config.seed, 0)[0], stream(config.seed, 0, "data"))
    scalars = stepper([batch], replace(parts.context(0), train=True))
    moved = sum(
        (p.detach() - b).abs().sum() for p, b in zip(model.parameters(), before, strict=True)
    )
    return {**scalars, "moved": torch.as_tensor(moved)}


@pytest.mark.skipif("WEFT_DATA" not in os.environ, reason="needs CIFAR-10 below WEFT_DATA")
@pytest.mark.parametrize(
    "recipe", ["clean", "vicreg", "simclr", "idm", "combo", "supervised", "rssm", "three-dots"]
)
def test_a_preset_takes_a_finite_step_that_moves_it(recipe: str) -> None:
    small = ("model.embedding_size=8", "model.backbone_width_factor=1")
    scalars = step(recipe, *small, "data.download=false")
    assert all(bool(torch.isfinite(value)) for value in scalars.values())
    assert scalars["moved"] > 0


def test_the_original_s_defaults_train_and_their_preset_says_what_they_are() -> None:
    scalars = step("original")
    assert all(bool(torch.isfinite(value)) for value in scalars.values())
    assert scalars["moved"] > 0
    ours = flat(api.configure("jepa/original").config.plain())
    wanted = flat(translate({"model_type": "VICReg"}))
    assert {key: ours[key] for key in wanted} == wanted


def test_ten_epochs_work_with_either_schedule() -> None:
    small = ("epochs=10", "model.embedding_size=8", "model.backbone_width_factor=1")
    for kind in ("clean", "published"):
        scalars = step("clean", *small, f"schedule.kind={kind}")
        assert scalars["moved"] > 0


@pytest.mark.slow
@pytest.mark.skipif("WEFT_DATA" not in os.environ, reason="needs CIFAR-10 below WEFT_DATA")
def test_all_144_published_presets_build_and_take_one_finite_step() -> None:
    for name in presets():
        scalars = step(name, "data.download=false")
        wrong = [key for key, value in scalars.items() if not bool(torch.isfinite(value))]
        assert not wrong, f"{name}: {wrong}"
        assert scalars["moved"] > 0, name
