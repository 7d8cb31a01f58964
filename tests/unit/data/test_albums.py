"""Pictures by file, folder, pattern, npz file and set: named apart, decoded, cut to squares."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weft.data import albums
from weft.data.albums import Picture, album, tiles
from weft.data.catalog.entry import File, Form
from weft.errors import DataError, UsageError

DRAW = np.random.default_rng(0)


def _png(path: Path, height: int = 4, width: int = 6) -> np.ndarray:
    pixels = DRAW.integers(0, 256, (height, width, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels.transpose(2, 0, 1)


def test_a_folder_is_searched_to_its_depths_by_suffix(workspace: Path) -> None:
    wanted = {"b": _png(Path("in/b.png")), "deep-a": _png(Path("in/deep/a.PNG"), 5, 3)}
    Path("in/notes.txt").write_text("no picture")
    found = album(["in"])
    assert [picture.name for picture in found] == ["b", "deep-a"]
    assert [picture.size for picture in found] == [(4, 6), (5, 3)]
    assert all(np.array_equal(one.pixels(), wanted[one.name]) for one in found)


def test_files_and_patterns_are_taken_in_order(workspace: Path) -> None:
    for name in ("z", "a1", "a2"):
        _png(Path(f"{name}.png"))
    assert [one.name for one in album(["z.png", "a*.png"])] == ["z", "a1", "a2"]


def test_names_that_would_be_the_same_keep_their_suffix(workspace: Path) -> None:
    _png(Path("in/a.png"))
    _png(Path("in/a.bmp"))
    _png(Path("in/b.png"))
    assert [one.name for one in album(["in"])] == ["a.bmp", "a.png", "b"]
    with pytest.raises(DataError, match="two pictures are called b"):
        album(["in/b.png", "in/b.png"])


def test_a_digest_is_of_pixels_and_of_their_shape(workspace: Path) -> None:
    pixels = _png(Path("a.png"))
    Image.fromarray(pixels.transpose(1, 2, 0)).save("same.bmp")
    Image.fromarray(pixels.transpose(1, 2, 0).reshape(6, 4, 3)).save("shaped.png")
    one, same, shaped = album(["a.png", "same.bmp", "shaped.png"])
    assert one.digest == same.digest != shaped.digest


@pytest.mark.parametrize(
    ("arrays", "options", "size"),
    [
        ({"images": (2, 5, 7, 3)}, {}, (5, 7)),
        ({"anything": (2, 3, 5, 7)}, {}, (5, 7)),
        ({"x_train": (2, 5, 7), "y_train": (2,)}, {}, (5, 7)),
        ({"train_images": (2, 5, 7), "test_images": (3, 4, 4)}, {}, (4, 4)),
        ({"train_images": (2, 5, 7), "test_images": (3, 4, 4)}, {"split": "train"}, (5, 7)),
        ({"images": (2, 3, 7, 3)}, {"layout": "channels_last"}, (3, 7)),
        ({"images": (2, 3, 7, 3)}, {"layout": "channels_first"}, (7, 3)),
    ],
)
def test_an_npz_file_s_pictures_are_found(
    workspace: Path,
    arrays: dict[str, tuple[int, ...]],
    options: dict[str, str],
    size: tuple[int, int],
) -> None:
    np.savez("a.npz", **{name: np.zeros(shape, np.uint8) for name, shape in arrays.items()})
    assert album(["a.npz"], **options)[0].size == size


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((2, 3, 7, 3), np.uint8)},
        {"images": np.zeros((2, 5, 7, 3))},
        {"images": np.zeros((2, 2, 5, 7), np.uint8)},
        {"images": np.zeros((0, 5, 7), np.uint8)},
        {"a": np.zeros((2, 5, 7), np.uint8), "b": np.zeros(2)},
        {"images": np.array([{}], object)},
        {},
    ],
)
def test_other_npz_files_are_one_error(workspace: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez("a.npz", **arrays)
    with pytest.raises(DataError):
        album(["a.npz"])


def test_grey_pictures_become_red_green_and_blue(workspace: Path) -> None:
    np.savez("a.npz", images=np.arange(12, dtype=np.uint8).reshape(1, 3, 4))
    pixels = album(["a.npz"])[0].pixels()
    assert pixels.shape == (3, 3, 4) and (pixels == pixels[0]).all()


def test_sets_of_the_catalogue_come_by_name() -> None:
    found = album(["digits"])
    assert len(found) == 360 and found[0].size == (8, 8)
    assert len(album(["digits"], split="train")) == 1437


def test_a_folder_that_is_called_like_a_set_is_not_taken_for_it(workspace: Path) -> None:
    _png(Path("digits/a.png"))
    assert len(album(["digits"])) == 360
    assert [one.name for one in album(["./digits"])] == ["a"]


def test_real_photographs_have_their_sizes(real_data: Path) -> None:
    for name, size in (("kodak", (512, 768)), ("bsds500-256", (256, 256))):
        if not (real_data / name).is_dir():
            pytest.skip(f"{name} is not there")
        assert album([name], root=real_data)[0].size == size


def test_a_tar_archive_s_pictures_come_by_name(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {name: _png(Path(f"{name}.png")) for name in ("b", "a")}
    with tarfile.open("set.tar", "w") as archive:
        for name in wanted:
            archive.add(f"{name}.png", f"train/{name}.png")
    form = Form("set", "picture-tar", {"val": (File("set.tar", 0, ""),)})
    monkeypatch.setattr(albums.fetch, "require", lambda *_, **__: (form, (Path("set.tar"),)))
    found = album(["bsds500-256"])
    assert [one.name for one in found] == ["a", "b"]
    assert all(np.array_equal(one.pixels(), wanted[one.name]) for one in found)
    Path("set.tar").write_bytes(Path("set.tar").read_bytes()[:700])
    with pytest.raises(DataError):
        album(["bsds500-256"])


@pytest.mark.parametrize("word", ["none.png", "cifar11", "ETTh1"])
def test_a_word_that_names_no_pictures_is_a_usage_error(workspace: Path, word: str) -> None:
    with pytest.raises(UsageError):
        album([word])


def test_no_pictures_are_an_error(workspace: Path) -> None:
    Path("empty").mkdir()
    for word in ("empty", "*.png"):
        with pytest.raises(DataError, match="there are no pictures"):
            album([word])


def test_a_damaged_picture_is_one_error_before_anything_is_done(workspace: Path) -> None:
    _png(Path("in/a.png"), 40, 40)
    content = Path("in/a.png").read_bytes()
    Path("in/b.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"b\.png cannot be read"):
        album(["in"])


def _big(name: str = "big", digest: str = "ab" * 32) -> Picture:
    pixels = DRAW.integers(0, 256, (3, 10, 13), np.uint8)
    return Picture(name, (10, 13), digest, lambda: pixels)


def test_squares_lie_side_by_side_from_the_corner() -> None:
    big = _big()
    found = tiles([big], 4)
    assert [one.name for one in found] == [f"big-{number:03d}" for number in range(6)]
    corners = [(top, left) for top in (0, 4) for left in (0, 4, 8)]
    for one, (top, left) in zip(found, corners, strict=True):
        assert np.array_equal(one.pixels(), big.pixels()[:, top : top + 4, left : left + 4])


def test_drawn_squares_depend_on_the_seed_and_the_picture_alone() -> None:
    big, other = _big(), _big("other", "cd" * 32)

    def drawn(pictures: list[Picture], seed: int) -> list[str]:
        return [one.digest for one in tiles(pictures, 4, 3, seed) if one.name.startswith("big")]

    assert drawn([big, other], 1) == drawn([other, big], 1) == drawn([big], 1)
    assert drawn([big], 1) != drawn([big], 2)
    assert len(tiles([big, other], 4, 3, 1)) == 6


def test_squares_larger_than_a_picture_are_refused() -> None:
    with pytest.raises(DataError, match="big has 10 x 13 pixels"):
        tiles([_big()], 11)
