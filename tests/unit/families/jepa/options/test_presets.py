"""Every preset of the family builds and takes a step: those in files here, the 144 as `slow`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from weft import api
from weft.data.random import stream
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.families.jepa import FAMILY
from weft.families.jepa.options.original import flat, translate
from weft.families.jepa.options.table import presets

SMALL = ("batch_size=4", "dataset_size=64", "norm_batches=2", "val_dataset_size=8",
         "probe.batch_size=null", "engine.device=cpu")  # fmt: skip


def step(recipe: str, *words: str, count: int = 1) -> dict[str, torch.Tensor]:
    """The scalars of the last of `count` steps on one batch, and what they moved, as `moved`."""
    config = api.configure(f"jepa/{recipe}", *SMALL, *words).config
    parts = Parts.of(FAMILY, config)
    source, model = parts.data().train, parts.model()
    before = [p.detach().clone() for p in model.parameters()]
    stepper = Stepper(parts, model)
    batch = source.take(source.plan(config.seed, 0)[0], stream(config.seed, 0, "data"))
    for number in range(count):
        scalars = stepper([batch], parts.context(number))
    moved = sum(
        (p.detach() - b).abs().sum() for p, b in zip(model.parameters(), before, strict=True)
    )
    return {**scalars, "moved": torch.as_tensor(moved)}


@pytest.mark.parametrize(
    "recipe",
    ["clean", "vicreg", "simclr", "idm", "combo", "swap", "supervised", "rssm", "three-dots"],
)
def test_a_preset_takes_a_finite_step_that_moves_it(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # CIFAR-10, which the 144 below read, takes six seconds to unpack.
    pictures = torch.randint(256, (50, 28, 28), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(
        "weft.families.jepa.data.load_backgrounds",
        lambda split, **options: pictures.to(torch.uint8),
    )
    small = ("model.embedding_size=8", "model.backbone_width_factor=1")
    scalars = step(recipe, *small, "data.download=false")
    assert all(bool(torch.isfinite(value)) for value in scalars.values())
    assert scalars["moved"] > 0


@pytest.mark.slow  # A ResNet-18.
def test_the_original_s_defaults_train() -> None:
    first, last = (step("original", "optim.base_lr=2", count=count) for count in (1, 5))
    assert all(bool(torch.isfinite(value)) for value in last.values())
    assert last["moved"] > first["moved"] > 0
    assert last["loss"] < first["loss"]


def test_the_preset_of_the_original_says_what_its_defaults_are() -> None:
    ours = flat(api.configure("jepa/original").config.plain())
    wanted = flat(translate({"model_type": "VICReg"}))
    assert {key: ours[key] for key in wanted} == wanted


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clean", "published"])
def test_ten_epochs_train_to_their_end(kind: str, workspace: Path) -> None:
    small = ("model.embedding_size=8", "model.backbone_width_factor=1", "dataset_size=8",
             "probe.size=8", "log.tensorboard=false", "log.every=1",
             f"schedule.kind={kind}")  # fmt: skip
    run = api.train("jepa/clean", "steps=null", "epochs=10", *SMALL[:1], *SMALL[2:], *small)
    assert run is not None
    assert run.state == "finished"
    assert run.status["step"] == run.status["total_steps"] == 20
    rates = [row["opt/lr"] for row in run.history() if "opt/lr" in row]
    assert max(rates) > rates[-1] > 0


def test_each_preset_is_listed_with_a_line_of_its_own() -> None:
    lines = [row["about"] for row in api.recipes("jepa")]
    assert len(set(lines)) == len(lines) >= 144


@pytest.mark.slow
@pytest.mark.skipif("WEFT_DATA" not in os.environ, reason="needs CIFAR-10 below WEFT_DATA")
def test_all_144_published_presets_build_and_take_one_finite_step() -> None:
    for name in presets():
        scalars = step(name, "data.download=false")
        wrong = [key for key, value in scalars.items() if not bool(torch.isfinite(value))]
        assert not wrong, f"{name}: {wrong}"
        assert scalars["moved"] > 0, name
