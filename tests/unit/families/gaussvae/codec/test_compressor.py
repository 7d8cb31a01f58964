"""Pictures to bytes and back by a model and its tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.unit.families.gaussvae.codec.cosines import TILE, Cosines, pictures
from weft.errors import DataError, UsageError
from weft.families.gaussvae.codec import container
from weft.families.gaussvae.codec.compressor import Compressor, psnr

pytest.importorskip("constriction", reason="the extra `splats` is not installed")


def picture(size: tuple[int, int]) -> np.ndarray:
    return pictures(1, size, seed=7)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(1, 1), TILE, (5, 7), (40, 33)])
def test_a_picture_of_any_size_comes_back_nearly_itself(
    size: tuple[int, int], compressor: Compressor
) -> None:
    wanted = picture(size)
    header, payload = container.unpack(compressor.compress(wanted, halves=1), "a.lat")
    found = compressor.decompress(header, payload)
    assert found.shape == wanted.shape and found.dtype == np.uint8
    assert psnr(found, wanted) > 20


def test_a_larger_step_costs_fewer_bytes_and_more_error(compressor: Compressor) -> None:
    wanted = picture((64, 48))
    sizes, errors = [], []
    for halves in (1, 4, 16, 128):
        content = compressor.compress(wanted, halves=halves)
        sizes.append(len(content))
        errors.append(-psnr(compressor.decompress(*container.unpack(content, "")), wanted))
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 2 * sizes[-1]
    assert errors == sorted(errors)


def test_refinement_brings_the_picture_nearer(compressor: Compressor) -> None:
    # Cosines are orthogonal: their first coefficients are the best ones already. A code that is
    # not begins from worse ones.
    network = Cosines()
    network.basis += 0.02 * torch.randn(
        network.basis.shape, generator=torch.Generator().manual_seed(3)
    )
    skewed = Compressor.of(network, iter(pictures(400, TILE).split(100)))
    wanted = picture((16, 18))

    def found(refinement: int) -> float:
        content = skewed.compress(wanted, halves=1, refinement=refinement)
        return psnr(skewed.decompress(*container.unpack(content, "")), wanted)

    assert found(10) > found(0) + 0.2


def test_the_bytes_of_a_picture_depend_on_no_number_of_threads_or_neighbours(
    compressor: Compressor,
) -> None:
    content = compressor.compress(picture((60, 90)))
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(compressor.decompress(*container.unpack(content, "")))
    torch.set_num_threads(before)
    assert all(np.array_equal(each, found[0]) for each in found)
    units = compressor.latents(np.repeat(picture(TILE)[None], 70, 0))
    alone = compressor.pictures(units[:1])
    assert all(np.array_equal(each, alone[0]) for each in compressor.pictures(units))


def test_a_file_of_another_model_is_refused(compressor: Compressor) -> None:
    other = Compressor.of(Cosines(deviation=0.2), iter(pictures(400, TILE).split(100)))
    again = Compressor.of(Cosines(), iter(pictures(400, TILE).split(100)))
    header, payload = container.unpack(other.compress(picture(TILE)), "a.lat")
    with pytest.raises(DataError, match="with another model") as caught:
        compressor.decompress(header, payload, "a.lat")
    assert other.key.hex() in str(caught.value) and compressor.key.hex() in str(caught.value)
    assert again.key == compressor.key != other.key


def test_a_model_without_deviations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = Cosines.encode
    monkeypatch.setattr(Cosines, "encode", lambda self, images: (encode(self, images)[0], None))
    with pytest.raises(UsageError, match="without a deviation"):
        Compressor.of(Cosines(), iter(pictures(8, TILE).split(8)))


def test_a_picture_too_large_for_the_format_is_refused(compressor: Compressor) -> None:
    wide = np.zeros((1, 2**16, 3), np.uint8)
    with pytest.raises(UsageError, match="1 x 65536 pixels"):
        compressor.compress(wide)


def test_psnr_is_that_of_its_definition() -> None:
    black, grey = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 51, np.uint8)
    assert psnr(black, grey) == pytest.approx(20 * np.log10(5))
    assert psnr(grey, grey) == float("inf")
