"""Other codes of pictures: what they cost is what they write, and more bits buy nearness."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.families.gaussvae.codec.cosines import pictures
from weft.families.gaussvae.baselines.file_formats import jpeg, webp
from weft.families.gaussvae.baselines.linear_code import linear_code
from weft.families.gaussvae.baselines.raw_splats import raw_splats, written
from weft.families.gaussvae.nets.principal import Principal
from weft.families.gaussvae.score.rate import channels_last

pytest.importorskip("constriction", reason="the extra `splats` is not installed")

TRAIN, IMAGES = pictures(60, (8, 8)), pictures(12, (8, 8), seed=9)


@pytest.mark.parametrize("code", [jpeg, webp])
def test_header_and_data_are_the_file(code: object) -> None:
    assert callable(code)
    images = channels_last(IMAGES[:3])
    curve = code(images, (10, 80))
    for at, quality in enumerate((10, 80)):
        sizes, errors = [], []
        for image in images:
            stream = io.BytesIO()
            options = {"subsampling": "4:2:0"} if code is jpeg else {"method": 6}
            kind = "JPEG" if code is jpeg else "WEBP"
            Image.fromarray(image).save(stream, kind, quality=quality, **options)
            sizes.append(8 * len(stream.getvalue()))
            with Image.open(stream) as decoded:
                errors.append(np.square(np.asarray(decoded.convert("RGB"), float) - image).mean())
        assert curve.bits[at] + curve.header[at] == pytest.approx(np.mean(sizes))
        assert curve.psnr[at] == pytest.approx(np.mean(10 * np.log10(255**2 / np.array(errors))))
    assert curve.bits[0] < curve.bits[1] and curve.psnr[0] < curve.psnr[1]


def test_the_header_of_a_jpeg_says_nothing_of_its_pixels_and_the_data_alone_grow() -> None:
    flat, noise = np.full((1, 8, 8, 3), 90, np.uint8), channels_last(
        torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    )  # fmt: skip
    first, second = jpeg(flat, (50,)), jpeg(noise, (50,))
    assert first.header == second.header and first.bits < 100 < second.bits


def test_the_linear_code_reaches_its_own_components_at_a_fine_step() -> None:
    principal = Principal((3, 8, 8), 6)
    principal.fit(TRAIN)
    fine, coarse = linear_code(principal, TRAIN, IMAGES, (2, 64)).psnr
    images = IMAGES.float() / 255
    kept = principal.back(principal(images)).clamp(0, 1)
    error = np.square(255 * (kept - images).numpy()).mean((1, 2, 3))
    assert fine == pytest.approx((10 * np.log10(255**2 / error)).mean(), abs=0.5)
    assert coarse < fine - 1


def test_what_is_written_of_splats_is_read_to_half_a_level() -> None:
    splats = torch.rand(40, 3, 8, generator=torch.Generator().manual_seed(0))
    for bits in (6, 10, 14):
        spent, read = written(splats[:30], splats[:30], bits)
        assert (read - splats[:30]).abs().max() <= 0.5001 / (2**bits - 1)
        # Even noise: all that a table knows is which values it has met.
        assert 3 * bits - 5 <= np.mean(spent) <= 3 * bits + 1
    # What lies beyond all that was known is read as the nearest that was.
    _, read = written(splats[:30], splats[30:] * 3, 6)
    assert read.max() < 1.1


def test_more_splats_and_more_bits_are_nearer() -> None:
    curve = raw_splats(TRAIN[:20], IMAGES[:6], ((1, 6), (4, 6), (4, 12)), steps=30)
    assert curve.bits.tolist() == sorted(curve.bits) and curve.psnr.tolist() == sorted(curve.psnr)
