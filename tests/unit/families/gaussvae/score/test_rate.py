"""Curves of quantised latents, and the rate of a run without training pictures."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.families.gaussvae.codec.cosines import TILE, pictures
from weft.families.gaussvae.codec.compressor import Compressor
from weft.families.gaussvae.codec.entropy import FINE
from weft.families.gaussvae.score.rate import channels_last, coded, ladder, psnrs

IMAGES = channels_last(pictures(300, TILE, seed=4))


def test_a_ladder_is_what_files_of_single_pictures_cost(compressor: Compressor) -> None:
    pytest.importorskip("constriction", reason="the extra `splats` is not installed")
    latents = compressor.latents(IMAGES[:9])
    steps = (2 * 1, 2 * 16)
    curve = ladder(compressor.tables, latents, compressor.pictures, IMAGES[:9], steps)
    for at, halves in enumerate((1, 16)):
        files = [len(compressor.compress(image, halves=halves)) for image in IMAGES[:9]]
        assert curve.bits[at] + curve.header[at] == pytest.approx(8 * np.mean(files))
    assert curve.bits[0] > curve.bits[1] and curve.psnr[0] > curve.psnr[1]


def test_the_rate_of_a_run_is_near_that_of_its_compressor(compressor: Compressor) -> None:
    latents = compressor.latents(IMAGES)
    found = coded(latents, compressor.pictures, IMAGES, FINE)
    symbols = compressor.tables.quantised(latents, FINE)
    assert found["bits"] == pytest.approx(compressor.tables.bits(symbols, FINE).mean(), rel=0.05)
    values = compressor.pictures(compressor.tables.values(symbols, FINE))
    assert found["psnr_coded"] == pytest.approx(psnrs(values, IMAGES).mean(), abs=0.1)


def test_no_picture_pays_less_because_it_was_counted_itself() -> None:
    # Latents that nothing can be known of: uniform over 128 values, 20 pictures.
    latents = np.random.default_rng(0).integers(0, 128, (20, 3)).astype(float)
    assert coded(latents, lambda z: IMAGES[: len(z)], IMAGES[:20], FINE)["bits"] > 3 * np.log2(20)


def test_psnr_is_capped_where_pictures_are_the_same() -> None:
    assert psnrs(IMAGES[:1], IMAGES[:1]).tolist() == [100.0]
