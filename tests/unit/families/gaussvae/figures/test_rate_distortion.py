"""The page of a sweep shows its runs' rates beside known codes, which are computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.families.gaussvae.codec.cosines import pictures
from weft import api
from weft.families.gaussvae.baselines import file_formats, linear_code, raw_splats
from weft.families.gaussvae.baselines import known as baselines
from weft.families.gaussvae.baselines.known import PCA, known
from weft.families.gaussvae.figures.rate_distortion import caption, figures
from weft.families.gaussvae.score.bd_rate import Curve, bd_rate

pytest.importorskip("constriction", reason="the extra `splats` is not installed")


SPLATS = Curve(np.array([50.0, 90.0]), np.array([12.0, 15.0]), np.full(2, 232.0))
WORDS = (
    "gaussvae/cifar10-rate", "data.dataset=own.npz", "picture.components=8", "latent_dim=4",
    "picture.width=8", "picture.splats=4", "batch_size=8", "steps=2", "eval.every=2 steps",
    "render.form=gemm",
)  # fmt: skip


@pytest.fixture
def config(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Of a run on small pictures, with a cache of its own."""
    monkeypatch.setenv("WEFT_CACHE", str(workspace / "cache"))
    # Fits have tests of their own, and take longer than all else.
    monkeypatch.setattr(raw_splats, "raw_splats", lambda train, images: SPLATS)
    images, labels = pictures(60, (8, 8)).numpy(), np.arange(60) % 2
    np.savez("own.npz", train_images=images, train_labels=labels, test_images=images[:20] ^ 1,
             test_labels=labels[:20])  # fmt: skip
    return api.configure(*WORDS).config.plain()


def test_runs_of_one_set_are_drawn_beside_known_codes_with_the_bd_rate_told(
    config: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = [
        {"test/bits": bits, "test/psnr_coded": quality, "val/bits": 1.0, "val/psnr_coded": 1.0}
        for bits, quality in ((40.0, 18.0), (20.0, 15.0), (80.0, 24.0))
    ]
    [(name, words, figure)] = figures([(config, each) for each in metrics])
    assert name == "rate_distortion"
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert set(lines) == {"latents", PCA, "JPEG", "WebP", "raw splats"}
    assert list(lines["latents"].get_xdata()) == [20.0, 40.0, 80.0]
    assert "own.npz, test; known codes on 20 pictures" in [
        text.get_text() for text in figure.axes[0].texts
    ]
    assert "% against PCA of pixels" in words
    # The second time nothing is computed.
    monkeypatch.setattr(linear_code, "linear_code", None)
    [(_, again, _)] = figures([(config, each) for each in metrics])
    assert again == words


def test_a_single_run_or_runs_without_a_rate_draw_nothing(config: dict[str, object]) -> None:
    assert list(figures([(config, {"test/bits": 3.0, "test/psnr_coded": 20.0})])) == []
    assert list(figures([(config, {"test/psnr": 20.0})] * 3)) == []


def test_the_caption_says_where_no_quality_is_common() -> None:
    low, high = (
        Curve(np.array([10.0, 20.0]), np.array(psnr), np.zeros(2)) for psnr in ((9, 10), (19, 20))
    )
    half = Curve(low.bits / 2, low.psnr, low.header)
    words = caption({"ours": half, "A": low, "B": high}, "ours")
    assert "-50.0% against A, no quality in common against B" in words


def test_known_codes_of_other_pictures_are_others(config: dict[str, object]) -> None:
    train, first = pictures(40, (8, 8)), pictures(10, (8, 8), seed=2)
    one, other = known(train, first), known(train, first.flip(0).bitwise_xor(64))
    assert one.keys() == other.keys()
    for name in (PCA, "JPEG", "WebP"):
        assert not np.array_equal(one[name].psnr, other[name].psnr)
    assert bd_rate(one["JPEG"], one["JPEG"]) == 0
    assert len(one["WebP"].bits) == len(file_formats.QUALITIES)


def test_splats_are_fitted_to_pictures_from_all_over_the_set(
    config: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tiles of a few large pictures follow each other: the first of them are of one picture.
    seen = []

    def code(train: Tensor, images: Tensor) -> Curve:
        seen.append(images)
        return SPLATS

    monkeypatch.setattr(raw_splats, "raw_splats", code)
    monkeypatch.setattr(baselines, "FITTED", 4)
    images = pictures(10, (8, 8), seed=2)
    known(pictures(40, (8, 8)), images)
    assert torch.equal(seen[0], images[[0, 3, 6, 9]])


@pytest.mark.slow
def test_a_sweep_over_beta_ends_in_the_figure(config: dict[str, object]) -> None:
    words = (*WORDS, "beta.max=1e-4,1e-2", "log.tensorboard=false")
    sweep = api.sweep(*words, workers=1, directory="swept")
    assert "rate_distortion.png" in [path.name for path in sweep.pictures]
    assert "BD-rate of latents" in sweep.page.read_text()
