"""Training from pixels: what a step draws, what the loss is, what is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from weft import api, families
from weft.data.source import Batch, TensorSource
from weft.engine.device import seed_step
from weft.engine.parts import Parts
from weft.engine.profile import cost
from weft.engine.ranks import Ranks, shares
from weft.errors import ConfigError
from weft.families.gaussvae.figures.picture_report import pictures
from weft.families.gaussvae.nets.picture_model import PictureModel
from weft.families.gaussvae.pictures.task import PictureTask
from weft.families.gaussvae.terms.log_mse import log_mse
from weft.testing.contract import CHECKS, PRESET_CHECKS, Check, name_of

TINY = (
    "data.items=60",
    "batch_size=8",
    "latent_dim=4",
    "picture.components=8",
    "picture.width=8",
    "picture.splats=16",
    "picture.dropout=0",
)


def made(*words: str) -> tuple[PictureTask, PictureModel, Batch, Parts]:
    config = api.configure("gaussvae/pictures", *TINY, "engine.device=cpu", *words).config
    parts = Parts.of(families.find("gaussvae"), config)
    data = parts.data()
    task, model = parts.task, parts.model(data=data)
    assert isinstance(task, PictureTask) and isinstance(model, PictureModel)
    batch = data.train.take(data.train.plan(0, 0)[0], torch.Generator())
    return task, model, batch, parts


def test_a_step_mirrors_half_of_its_pictures_and_moves_those_of_every_other_batch() -> None:
    task, _, batch, parts = made("picture.shift=2")
    flat = batch["image"].float().mean((1, 2))
    mirrored, moved = [], []
    for step in range(200):
        drawn = task.draw(batch, parts.context(step))["image"].float().mean((1, 2))
        still = (drawn == flat).all(1) | (drawn == flat.flip(-1)).all(1)
        moved.append(float(1 - still.float().mean()))
        mirrored += (drawn == flat.flip(-1)).all(1)[still].tolist()
    assert 0.4 < sum(mirrored) / len(mirrored) < 0.6
    assert 0.35 < sum(share > 0 for share in moved) / 200 < 0.65


def test_nothing_moves_that_was_not_asked_to() -> None:
    task, _, batch, parts = made("picture.flip=false", "picture.shift=0")
    for step in range(5):
        drawn = task.draw(batch, parts.context(step))
        assert torch.equal(drawn["image"], batch["image"])
        assert "epsilon" not in drawn


def test_the_loss_is_the_mean_over_pictures_and_beta_times_the_divergence() -> None:
    task, model, batch, parts = made("beta.max=0.5", "picture.search_from=1")
    ctx = parts.context(0)
    drawn = task.draw(batch, ctx)
    loss, terms = task.loss(model, drawn, ctx)
    wanted = drawn["image"].float() / 255
    mean, log_variance = model.encode(wanted)
    assert log_variance is not None
    found = model.decode(mean + torch.exp(log_variance / 2) * drawn["epsilon"])
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
    torch.testing.assert_close(loss, log_mse(found, wanted).mean() + 0.5 * kl)
    torch.testing.assert_close(terms["kl_loss"], kl)


def test_the_squared_error_can_be_the_loss_and_is_scaled() -> None:
    task, model, batch, parts = made("picture.error=mse", "render.gain=3")
    loss, _ = task.loss(model, batch, parts.context(0))
    wanted = batch["image"].float() / 255
    torch.testing.assert_close(loss, 3 * (model(wanted) - wanted).square().mean())


def test_search_begins_at_its_share_of_training_and_lowers_the_loss_of_the_items_it_is_for() -> (
    None
):
    task, model, batch, parts = made("picture.search_from=0.5", "picture.search_steps=20")
    ctx = replace(parts.context(0), step=parts.plan.total_steps // 2)
    drawn = task.draw(batch, ctx)
    torch.nn.init.constant_(model.encoder.linear.bias, 0.5)
    assert drawn["searched"].tolist() == [False, True] * 4
    assert "searched" not in task.draw(batch, replace(ctx, step=ctx.step - 1))
    unsearched = {"image": drawn["image"]}
    with torch.no_grad():
        before, _ = task.loss(model, unsearched, ctx)
        after, _ = task.loss(model, drawn, ctx)
    assert float(after) < float(before) - 0.01
    whole, _ = task.loss(model, drawn, ctx)
    (gradient,) = torch.autograd.grad(whole, model.encoder.linear.bias)
    half, _ = task.loss(model, {"image": drawn["image"][~drawn["searched"]]}, ctx)
    (alone,) = torch.autograd.grad(half, model.encoder.linear.bias)
    torch.testing.assert_close(2 * gradient, alone)


def _gradients(parts: Parts, model: PictureModel, batch: Batch, split: int) -> list[Tensor]:
    model = model.double()
    ctx = replace(parts.context(parts.plan.total_steps - 1), parts=split)
    model.zero_grad()
    for part in shares(batch, split, Ranks()):
        seed_step(0, 3, 0, parts.device)
        torch.autograd.backward(parts.task.loss(model, part, ctx)[0] / split)
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_a_batch_in_parts_gives_the_gradient_of_the_whole_while_searching_too() -> None:
    task, model, batch, parts = made()
    drawn = task.draw(batch, parts.context(3))
    whole = _gradients(parts, model, drawn, 1)
    # One item a part: some parts have nothing to search for, some nothing else.
    for split in (2, 8):
        for ours, theirs in zip(_gradients(parts, model, drawn, split), whole, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_a_run_that_searches_from_its_first_step_knows_its_cost() -> None:
    assert cost(made("picture.search_from=0")[3]).flops_per_step > 0


@pytest.mark.parametrize("count", [1, 3])
def test_samples_are_drawn_of_however_few_pictures(count: int) -> None:
    _, model, batch, parts = made("picture.refine=1")
    few = TensorSource({"image": batch["image"][:count]}, count)
    with torch.no_grad():
        found = list(pictures(parts.task.config, model.eval(), few, torch.Generator()))
    drawn = [(name, figure) for name, _, figure in found]
    pairs = ["interpolations"] * (count > 1)
    assert [name for name, _ in drawn] == ["reconstructions", "psnr", *pairs, "samples"]
    for one in (axes for _, figure in drawn for axes in figure.axes if axes.images):
        assert np.isfinite(one.images[0].get_array()).all()


def test_a_model_that_has_components_keeps_them() -> None:
    task, model, _, parts = made()
    before = model.principal.basis.clone()
    other = parts.data()
    other.train.fields["image"].copy_(255 - other.train.fields["image"].flip(0))
    task.prime(model, other)
    assert torch.equal(model.principal.basis, before)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["loss=equal"], "compares splats"),
        (["monitor=fvu"], "does not measure fvu"),
        (["picture.refine=0"], "does not measure psnr_refined"),
        (["picture.splats=60"], "no square number"),
        (["latent_dim=9"], "more than the 8 components"),
        (["render.ssim=0.1"], "beside the squared error"),
    ],
)
def test_options_that_do_not_fit_are_refused(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        api.configure("gaussvae/pictures", *TINY, *words)


def test_two_stages_are_two_runs_and_the_second_keeps_the_components_of_the_first(
    workspace: Path, without_pictures: None
) -> None:
    words = (*TINY, "steps=3", "log.tensorboard=false", "picture.refine=2", "engine.device=cpu")
    first = api.train("gaussvae/pictures", *words, "run.dir=one", report=False)
    second = api.train(
        "gaussvae/pictures", *words, "run.dir=two", "init=one", "seed=5", report=False
    )
    assert first is not None and second is not None
    bases = [
        run.load_model("last").state_dict()["encoder.principal.basis"] for run in (first, second)
    ]
    assert torch.equal(*bases)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


@pytest.mark.slow
@pytest.mark.parametrize("check", [c for c in CHECKS if c not in PRESET_CHECKS], ids=name_of)
def test_the_contract_is_kept_by_pictures_too(check: Check, folder: Path) -> None:
    check("gaussvae/pictures", folder)
