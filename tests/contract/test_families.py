"""What every family must do, by parametrisation over the registry."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from weft import api, families
from weft.config.presets import preset_names
from weft.data.random import stream
from weft.engine.loop import Trainer
from weft.engine.parts import Parts
from weft.engine.profile import resolved as derived
from weft.engine.step import Stepper
from weft.errors import DataError, Interrupted, MissingExtra
from weft.run.registry import Run
from weft.task.metric import find

RECIPES = [
    f"{name}/{preset}"
    for name in families.names()
    for preset in preset_names(families.find(name))
    if preset not in families.find(name).generated
]
DEFAULTS = [f"{name}/{families.find(name).default}" for name in families.names()]
SHORT = ("steps=6", "checkpoint.every=4 steps", "eval.every=6 steps", "log.every=1",
         "log.tensorboard=false")  # fmt: skip


def parts_of(recipe: str, *words: str) -> Parts:
    """The recipe's parts, or a skip where its data are not on this machine."""
    try:
        config = api.configure(recipe, "data.download=false", *words).config
        return Parts.of(families.find(config.family), config)
    except (DataError, MissingExtra) as error:
        pytest.skip(error.message)


def train(recipe: str, *words: str, **values: Any) -> Run:
    run = api.train(recipe, *SHORT, *words, report=False, **values)
    assert run is not None
    return run


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.load_model("last").state_dict()


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of `request.param`, which no test changes."""
    return train(request.param, **{"run.dir": str(tmp_path_factory.mktemp("run") / "straight")})


trained = pytest.mark.parametrize("run", DEFAULTS, indirect=True, scope="module")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_preset_builds_and_states_its_cost(recipe: str) -> None:
    parts = parts_of(recipe)
    resolved = derived(parts)
    trained = [p for p in parts.model().parameters() if p.requires_grad]
    assert resolved["parameters"] == sum(p.numel() for p in trained)
    assert resolved["flops_per_step"] > 0
    assert resolved["bytes_activations"] > 0
    assert resolved["total_steps"] > 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_preset_opens_with_what_it_is_and_its_command(recipe: str) -> None:
    name, _, preset = recipe.partition("/")
    text = (families.find(name).home / "presets" / f"{preset}.yaml").read_text()
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert len(header) >= 2
    assert f"weft train {recipe}" in text


@pytest.mark.parametrize("recipe", DEFAULTS)
def test_steps_on_one_batch_lower_its_loss(recipe: str) -> None:
    parts = parts_of(recipe, "schedule.kind=constant", "optim.kind=adam", "optim.lr=1e-3")
    data, stepper = parts.data(), Stepper(parts, parts.model())
    batch = data.train.take(data.train.plan(0, 0)[0], stream(0, 0, "data"))
    losses = []
    for _ in range(30):
        losses.append(float(stepper([batch], parts.context(0))["loss"]))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("recipe", DEFAULTS)
def test_the_plan_is_a_pure_function_that_matches_the_spec(recipe: str) -> None:
    parts = parts_of(recipe)
    source = parts.data().train
    plan, again, other = source.plan(3, 5), source.plan(3, 5), source.plan(3, 6)
    assert len(plan) == parts.spec.batches_per_epoch
    assert all(torch.equal(a, b) for a, b in zip(plan, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(plan, other, strict=True))
    batch = source.take(plan[0], stream(0, 0, "data"))
    for name, field in parts.spec.fields.items():
        assert batch[name].shape == (*parts.spec.batch_shape, *field.shape)
        assert batch[name].dtype == field.dtype


@trained
def test_same_seed_same_run(run: Run, workspace: Path) -> None:
    again = train(f"{run.family}/{families.find(run.family).default}")
    assert_same(weights(run), weights(again))
    assert again.metrics == run.metrics


@trained
def test_stop_and_resume_equals_straight_run(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer._step

    def interrupted(self: Trainer, indices: torch.Tensor, step: int, log: bool) -> Any:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, indices, step, log)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    with pytest.raises(Interrupted):
        train(f"{run.family}/{families.find(run.family).default}", **{"run.dir": "stopped"})
    monkeypatch.setattr(Trainer, "_step", original)
    resumed = api.resume("stopped", report=False)
    assert resumed is not None
    assert_same(weights(run), weights(resumed))
    assert resumed.metrics == run.metrics


@trained
def test_evaluation_changes_no_state_and_repeats(run: Run) -> None:
    before = weights(run)
    assert api.evaluate(run.path) == api.evaluate(run.path) == run.metrics
    assert_same(before, weights(run))


@trained
def test_every_metric_that_evaluation_returns_is_declared(run: Run) -> None:
    assert run.metrics
    assert [name for name in run.metrics if find(run.declared, name) is None] == []


@trained
def test_samples_and_report_are_drawn(run: Run) -> None:
    pictures = api.sample(run.path)
    assert pictures
    assert all(p.stat().st_size > 2_000 for p in pictures)
    page = api.report(run.path).read_text()
    for path in pictures:
        assert path.stem in page
    assert 'src="http' not in page and 'href="http' not in page


@trained
def test_export_loads_and_agrees(run: Run) -> None:
    exported = api.load(run.path / "model.safetensors").state_dict()
    assert_same(exported, api.load(run.path).state_dict())


@pytest.mark.parametrize("name", families.names())
def test_claims_name_real_options(name: str) -> None:
    from weft.config.explain import fields
    from weft.config.recipe import recipe_class
    from weft.reports.claims import load_claims

    family = families.find(name)
    keys = {".".join(path) for path, _ in fields(recipe_class(family))}
    claims = load_claims(family.home / "claims.yaml")
    assert claims
    for claim in claims:
        assert set(claim.config) <= keys, claim.id
