"""Pictures of every form arrive upright, composited, in bytes; what was done is told once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from weft.data.pictures import Decoder, decoding
from weft.data.remarks import collecting
from weft.errors import DataError


def encoded(image: Image.Image, kind: str, **how: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def decoded(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Decoder()(content))


RAMP = np.arange(16, dtype=np.uint16)[None].repeat(4, 0)


def test_an_orientation_tag_turns_the_picture() -> None:
    image = Image.new("RGB", (16, 8), "black")
    image.paste("white", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = decoded(encoded(image, "PNG", exif=exif))
    assert found.shape == (16, 8, 3)
    assert found[:8].min() == 255 and found[8:].max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_composited_on_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (10, 10, 10, 0))
    image.putpixel((0, 0), (10, 10, 10, 255))
    found = decoded(encoded(image.convert(mode), "PNG"))
    assert found[0, 0].tolist() == [10, 10, 10]
    assert found[1, 1].tolist() == [255, 255, 255]


def test_a_palette_with_a_transparent_colour_is_composited() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 200, 100, 50])
    image.putpixel((1, 0), 1)
    found = decoded(encoded(image, "PNG", transparency=0))
    assert found.tolist() == [[[255, 255, 255], [200, 100, 50]]]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (RAMP * 4369, "PNG"),
        (RAMP * 4369, "TIFF"),
        ((RAMP / 15).astype(np.float32), "TIFF"),
        ((RAMP * 17).astype(np.float32), "TIFF"),
    ],
    ids=["16-bit png", "16-bit tiff", "float 0 to 1", "float 0 to 255"],
)
def test_wide_samples_are_scaled_and_keep_their_levels(
    values: np.ndarray[Any, Any], kind: str
) -> None:
    found = decoded(encoded(Image.fromarray(values), kind))
    assert found[0, :, 0].tolist() == [17 * level for level in range(16)]


@pytest.mark.parametrize("wrong", [np.nan, -1.0, 1e9])
def test_samples_of_no_known_scale_are_refused(wrong: float) -> None:
    values = np.full((2, 2), wrong, np.float32)
    with pytest.raises(DataError, match="cannot be read"):
        decoded(encoded(Image.fromarray(values), "TIFF"))


def test_cmyk_and_the_first_frame_of_an_animation_become_rgb() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(decoded(encoded(red, "JPEG"))[0, 0].astype(int) - [255, 0, 0]).max() < 8
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decoded(content)[0, 0].tolist() == [255, 0, 0]


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (9_000, 9_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(DataError) as caught:
        decoded(bomb)
    assert caught.value.exit_code == 2


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DataError) as caught:
        Decoder()(path)
    assert caught.value.where == str(path)


def test_what_was_done_is_told_once() -> None:
    content = encoded(Image.fromarray(RAMP * 4369), "PNG")
    plain = encoded(Image.new("RGB", (4, 4)), "PNG")
    remarks: list[str] = []
    with collecting(remarks), decoding("mine") as decode:
        for picture in (content, plain, content):
            decode(picture)
    assert remarks == ["pictures of mine: 2 scaled from 16 bits to 8"]
    with pytest.warns(UserWarning, match="16 bits"), decoding("mine") as decode:
        decode(content)
