"""Pictures of any size, without labels, from files, folders, npz files or sets known by name."""

# M pictures of H x W pixels

from __future__ import annotations

import glob
import io
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.config.sections import Layout
from weft.data import fetch
from weft.data.catalog.sets import SETS, find
from weft.data.content import read_bytes
from weft.data.guard import parsing, unreadable
from weft.data.images import load_images
from weft.data.npz import open_npz
from weft.data.pictures import Decoder
from weft.data.remarks import remark
from weft.errors import DataError, UsageError

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".jp2", ".avif",
)  # fmt: skip
"""Endings of the files that count as pictures in a folder."""

_NPZ = "an npz file with pictures: uint8 (M, H, W), (M, 3, H, W) or (M, H, W, 3), in one array"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A picture whose pixels are decoded on demand.

    Attributes:
        name: unique in its album, and usable as a file name.
        size: (height, width) in pixels.
        digest: SHA-256 of shape and pixels.
        pixels: a function that returns the pixels, uint8 (3, H, W).
    """

    name: str
    size: tuple[int, int]
    digest: str
    pixels: Callable[[], Pixels]


def album(
    words: Sequence[str],
    *,
    split: str = "",
    root: str | Path | None = None,
    layout: Layout | None = None,
) -> list[Picture]:
    """The pictures that `words` name; each is decoded once, so that a bad one is found here.

    Args:
        words: each a file, a folder (searched recursively), a pattern with `*`, an npz file, or a
            set of images or pictures of the catalogue. The name of a set takes precedence over a
            folder of that name, which can be given as `./NAME`.
        split: of a set or an npz file: "train", "val" or "test"; by default the last one there is.
        root: folder to look for sets in before $WEFT_DATA and the cache.
        layout: order of the axes of an npz file's pictures; needed if it is ambiguous.

    Raises:
        UsageError: if a word names nothing.
        DataError: if there is no picture, or one cannot be read.
    """
    decode = Decoder()
    found = [picture for word in words for picture in _named(word, decode, split, root, layout)]
    for text in decode.remarks(", ".join(words)[:80]):
        remark(text)
    if not found:
        raise DataError("there are no pictures", where=" ".join(words), expected="at least one")
    return _with_unique_names(found)


def tiles(pictures: Iterable[Picture], side: int, each: int = 0, seed: int = 0) -> list[Picture]:
    """Squares cut out of pictures.

    Args:
        pictures: to cut.
        side: of a square, in pixels.
        each: number of squares a picture, at random places; 0 for all squares side by side from the
            upper left corner.
        seed: chooses the places, together with the picture's digest.

    Raises:
        DataError: if a picture is smaller than a square.
    """
    found = []
    for picture in pictures:
        height, width = picture.size
        if min(height, width) < side:
            raise DataError(
                f"{picture.name} has {height} x {width} pixels",
                where=picture.name,
                expected=f"at least {side} x {side}, to cut squares out of it",
            )
        if each:
            draw = np.random.default_rng([seed, int(picture.digest[:16], 16)])
            tops = draw.integers(0, height - side + 1, each)
            lefts = draw.integers(0, width - side + 1, each)
            corners = list(zip(tops.tolist(), lefts.tolist(), strict=True))
        else:
            corners = [
                (top, left)
                for top in range(0, height - side + 1, side)
                for left in range(0, width - side + 1, side)
            ]
        pixels = picture.pixels()
        for number, (top, left) in enumerate(corners):
            # A copy, so that it does not keep the whole picture in memory.
            square = pixels[:, top : top + side, left : left + side].copy()
            found.append(_held(f"{picture.name}-{number:03d}", square))
    return found


def _named(
    word: str, decode: Decoder, split: str, root: str | Path | None, layout: Layout | None
) -> Iterator[Picture]:
    path = Path(word).expanduser()
    if word in SETS:
        yield from _of_set(word, decode, split, root)
    elif path.is_dir():
        inside = (each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
        for each in sorted(inside):
            if each.is_fifo() or each.is_socket():
                # To open one waits for whoever writes there, for ever if nobody does.
                raise unreadable(each, "a picture", "a pipe")
            yield _of_file(each, str(each.relative_to(path)), decode)
    elif path.is_file() and path.suffix == ".npz":
        yield from _of_arrays(path.stem, _npz_pixels(path, split, layout))
    elif path.is_file():
        yield _of_file(path, path.name, decode)
    elif glob.has_magic(word):
        for match in sorted(glob.glob(str(path), recursive=True)):
            yield _of_file(Path(match), Path(match).name, decode)
    else:
        known = [name for name, each in SETS.items() if each.kind in ("images", "pictures")]
        raise UsageError(
            f"there are no pictures `{word}`",
            expected="a picture, a folder or an npz file of pictures, or one of "
            + ", ".join(known),
        )


def _of_file(path: Path, name: str, decode: Decoder) -> Picture:
    return _seen(name, partial(_decoded, decode, path, path))


def _seen(name: str, load: Callable[[], Pixels]) -> Picture:
    """A picture that is loaded each time its pixels are asked for."""
    return replace(_held(name, load()), pixels=load)


def _held(name: str, pixels: Pixels) -> Picture:
    """A picture that stays in memory."""
    digest = sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())
    return Picture(name, pixels.shape[1:], digest.hexdigest(), lambda: pixels)


def _decoded(decode: Decoder, source: Path | bytes, where: str | Path) -> Pixels:
    return np.ascontiguousarray(np.asarray(decode(source, where)).transpose(2, 0, 1))


def _of_arrays(name: str, arrays: Pixels) -> Iterator[Picture]:
    digits = len(str(len(arrays) - 1))
    for number, pixels in enumerate(arrays):
        coloured = pixels if len(pixels) == 3 else np.repeat(pixels, 3, axis=0)
        yield _held(f"{name}-{number:0{digits}d}", coloured)


def _of_set(name: str, decode: Decoder, split: str, root: str | Path | None) -> Iterator[Picture]:
    """The pictures of a set of the catalogue, its checksums verified."""
    known = find(name)
    if known.kind not in ("images", "pictures"):
        raise UsageError(f"`{name}` is a set of {known.kind}", expected="a set of pictures")
    split = split or list(known.sizes)[-1]
    if known.kind == "images":
        images = load_images(name, split, root=root).images.numpy()
        yield from _of_arrays(f"{name}-{split}", images)
        return
    form, paths = fetch.require(name, split, root=root)
    if form.reader == "pictures":
        for path in paths:
            yield _of_file(path, path.name, decode)
        return
    for path in paths:
        for member, content in _unpacked(path):
            yield _seen(member, partial(_decoded, decode, content, f"{path}, {member}"))


def _unpacked(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a tar archive, by name."""
    form = "a tar archive of pictures"
    stream = io.BytesIO(read_bytes(path, form))
    with parsing(path, form), tarfile.open(fileobj=stream, mode="r:") as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        contents = {name: file.read() for name, file in files.items() if file is not None}
    for name, content in sorted(contents.items()):
        yield Path(name).name, content


def _npz_pixels(path: Path, split: str, layout: Layout | None) -> Pixels:
    """Pictures (M, C, H, W) of an npz file."""
    splits = [split] if split else ["test", "val", "train"]
    names = [name.format(split=each) for each in splits for name in ("{split}_images", "x_{split}")]
    with open_npz(path, _NPZ) as archive:
        names = [name for name in (*names, "images") if name in archive] or list(archive.names)
        if len(names) > 1 and names == list(archive.names):
            raise unreadable(path, _NPZ, f"the arrays {', '.join(names[:20])}")
        images: NDArray[Any] = archive.array(names[0]) if names else np.empty(0)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.dtype != np.uint8 or not images.size:
        raise unreadable(path, _NPZ, f"{images.dtype} {images.shape}")
    first, last = images.shape[1] in (1, 3), images.shape[3] in (1, 3)
    if first and last and layout is None:
        raise unreadable(
            path, _NPZ + "; or `--layout channels_first` or `channels_last`", images.shape
        )
    if layout == "channels_last" or (layout is None and last):
        images = images.transpose(0, 3, 1, 2)
    if images.shape[1] not in (1, 3):
        raise unreadable(path, _NPZ, f"pictures of {images.shape[1]} channels")
    return images


def _with_unique_names(pictures: list[Picture]) -> list[Picture]:
    """The pictures with names without folders and suffix, which stay where needed to be unique.

    Raises:
        DataError: if two pictures still have one name.
    """
    flat = [picture.name.replace("/", "-") for picture in pictures]
    short = [Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name for name in flat]
    often = Counter(short)
    names = [long if often[name] > 1 else name for name, long in zip(short, flat, strict=True)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"two pictures are called {twice[0]}",
            expected="pictures of different names, as what is made of them goes by their name",
        )
    return [replace(picture, name=name) for picture, name in zip(pictures, names, strict=True)]
