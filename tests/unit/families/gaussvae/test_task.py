"""A step of training is the same whole and in parts; autoencoders stay finite and can overfit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from weft import api, families
from weft.engine.parts import Parts
from weft.engine.ranks import Ranks, shares
from weft.engine.step import Stepper
from weft.families.gaussvae.model import SplatVAE
from weft.families.gaussvae.task import GaussTask

SMALL = ("data.items=40", "batch_size=8", "latent_dim=4", "net.encoder_dense_units=16",
         "engine.device=cpu", "log.tensorboard=false", "eval.pictures=4")  # fmt: skip


def parts_of(*words: str) -> Parts:
    config = api.configure("gaussvae/demo", *SMALL, *words).config
    return Parts.of(families.find("gaussvae"), config)


def primed(parts: Parts) -> SplatVAE:
    model, data = parts.model(), parts.data()
    assert isinstance(model, SplatVAE)
    with torch.no_grad():
        parts.task.prime(model, data)
    return model


def drawn_batch(parts: Parts, step: int = 0) -> dict[str, torch.Tensor]:
    source = parts.data().train
    batch = source.take(source.plan(0, 0)[0], torch.Generator())
    return parts.task.draw(batch, parts.context(step))


@pytest.mark.parametrize("loss", ["equal", "render"])
def test_in_the_plane_parts_of_a_batch_have_the_loss_of_the_whole(loss: str) -> None:
    parts = parts_of("arch=grid2d", f"loss={loss}", "beta.warmup=0")
    model, whole = primed(parts), drawn_batch(parts)
    ctx = parts.context(0)
    full, _ = parts.task.loss(model, whole, ctx)
    halves = [
        parts.task.loss(model, part, replace(ctx, parts=2))[0] for part in shares(whole, 2, Ranks())
    ]
    torch.testing.assert_close(torch.stack(halves).mean(), full, rtol=1e-5, atol=1e-6)


def test_the_loss_is_reconstruction_and_beta_kl_and_says_so() -> None:
    parts = parts_of("loss=equal", "beta.max=0.5", "beta.warmup=5")
    third = 2 * parts.plan.batches_per_epoch
    model, batch = primed(parts), drawn_batch(parts, third)
    loss, terms = parts.task.loss(model, batch, parts.context(third))
    assert float(terms["beta"]) == pytest.approx(0.3)
    total = terms["recon_loss"] + terms["beta"] * terms["kl_loss"]
    torch.testing.assert_close(loss, total)
    groups = sum(terms[f"loss_{name}"] for name in ("xy", "scale", "rot", "feat"))
    torch.testing.assert_close(groups, terms["recon_loss"])


def test_mixed_goes_over_from_splats_to_pictures() -> None:
    parts = parts_of("loss=mixed", "render.ramp=0.5", "beta.max=0", "steps=100")
    model, batch = primed(parts), drawn_batch(parts)
    model.eval()

    def of(task_parts: Parts, step: int) -> torch.Tensor:
        with torch.no_grad():
            return task_parts.task.loss(model, batch, task_parts.context(step))[0]

    splats, pictures = of(parts, 0), of(parts_of("loss=render", "beta.max=0", "steps=100"), 0)
    torch.testing.assert_close(of(parts, 25), (splats + pictures) / 2)
    torch.testing.assert_close(of(parts, 75), pictures)


def test_evaluation_measures_the_floors_and_what_is_left_unexplained() -> None:
    parts = parts_of()
    model, source = primed(parts), parts.data().val
    assert isinstance(parts.task, GaussTask)
    with torch.no_grad():
        for layer in (model.decoder.out.weight, model.decoder.out.bias):
            layer.zero_()
        found = parts.task.evaluate(model.eval(), source, parts.context(0))
    # A decoder of zeros predicts the column means: nothing is explained, nothing varies.
    assert found["recon_loss"] == pytest.approx(
        sum(found[f"loss_{name}"] for name in ("xy", "scale", "rot", "feat"))
    )
    for name in ("xy", "scale", "rot", "feat"):
        assert found[f"fvu_{name}"] == pytest.approx(1, abs=1e-4)
        assert found[f"std_{name}"] == pytest.approx(0, abs=1e-3)
        assert 0 < found[f"floor_{name}"] < 1.6
    assert found["floor_xy"] < 0.1  # The place of a splat in the order tells its centre.
    assert found["psnr_fit"] > found["psnr"] + 10
    assert set(found) == {metric.name for metric in parts.task.metrics}


def test_sampled_evaluation_repeats_and_differs_from_that_of_means() -> None:
    parts, plain = parts_of("eval.sampled=true"), parts_of()
    model, source = primed(parts).eval(), parts.data().val
    with torch.no_grad():
        one, two = (parts.task.evaluate(model, source, parts.context(3)) for _ in range(2))
        means = plain.task.evaluate(model, source, plain.context(3))
    assert one == two
    assert one["recon_loss"] != means["recon_loss"]


@pytest.mark.slow
def test_two_hundred_epochs_without_kl_stay_finite(workspace: Path, without_pictures: None) -> None:
    run = api.train("gaussvae/conv1d_512d_beta0", *SMALL, "epochs=200", "eval.every=50 epochs",
                    "log.every=50", "checkpoint.every=200 epochs", "eval.patience=null",
                    "schedule.kind=constant", "log.histograms=null", report=False)  # fmt: skip
    assert run is not None
    values = [value for row in run.history() for value in row.values()]
    assert None not in values  # null stands for what is not finite.


@pytest.mark.slow
def test_sixteen_pictures_are_learnt_by_heart() -> None:
    words = ["loss=equal", "data.items=20", "batch_size=16", "latent_dim=512", "pool=flatten",
             "beta.max=0", "net.encoder_dropout_rates=[0,0,0]", "net.encoder_dense_dropout=0",
             "net.encoder_dense_units=512", "schedule.kind=constant", "optim.lr=2e-3"]  # fmt: skip
    parts = parts_of(*words)
    task, source = parts.task, parts.data().train
    assert len(source) == 16
    stepper = Stepper(parts, primed(parts))
    for step in range(600):
        batch = source.take(torch.arange(16), torch.Generator())
        ctx = parts.context(step)
        stepper([task.draw(batch, ctx)], ctx)
    model = stepper.model.eval()
    with torch.no_grad():
        found = task.evaluate(model, source, parts.context(600))
    assert {n: found[f"fvu_{n}"] for n in ("xy", "scale", "rot", "feat") if
            found[f"fvu_{n}"] >= 0.05} == {}  # fmt: skip
