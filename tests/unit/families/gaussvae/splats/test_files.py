"""Files of splats: hostile and damaged ones are one error, and no code in them is run."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weft.errors import DataError
from weft.families.gaussvae.splats.files import (
    GROUPS,
    SplatFile,
    read_file,
    read_npz,
    read_pt,
    write_npz,
    write_pt,
)

SPLATS = np.random.default_rng(0).random((5, 8), np.float32)
FILE = SplatFile(SPLATS, {"psnr": 30.5, "lpips": 0.25})
KINDS: dict[str, tuple[Callable[..., None], Callable[[Path], SplatFile]]] = {
    ".pt": (write_pt, read_pt),
    ".npz": (write_npz, read_npz),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_back_splats_and_scores_bit_for_bit(tmp_path: Path, kind: str) -> None:
    write, read = KINDS[kind]
    write(tmp_path / f"one{kind}", FILE)
    found = read(tmp_path / f"one{kind}")
    assert np.array_equal(found.splats, SPLATS) and found.scores == FILE.scores
    assert np.array_equal(read_file(tmp_path / f"one{kind}"), SPLATS)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_are_none_are_not_for_training(tmp_path: Path, kind: str) -> None:
    KINDS[kind][0](tmp_path / f"one{kind}", SplatFile(np.where(SPLATS > 0.5, np.nan, SPLATS)))
    with pytest.raises(DataError, match="cannot be read"):
        read_file(tmp_path / f"one{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_any_cut_and_any_changed_byte_is_read_or_one_error(tmp_path: Path, kind: str) -> None:
    write, read = KINDS[kind]
    path = tmp_path / f"one{kind}"
    write(path, FILE)
    content = path.read_bytes()
    for place in range(0, len(content), 31):
        for damaged in (content[:place], content[:place] + b"\xff" + content[place + 1 :]):
            path.write_bytes(damaged)
            try:
                found = read(path)
            except DataError:
                continue
            assert found.splats.shape[1] == 8


class _Code:
    """A pickle that would write a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("written"),)


def _tensors(**changed: Any) -> dict[str, Any]:
    return {name: torch.zeros(5, width) for name, width in GROUPS.items()} | changed


HOSTILE: dict[str, Any] = {
    "code": {"state_dict": _tensors(rot=_Code())},
    "no dictionary": [1, 2],
    "a state_dict of text": {"state_dict": "xy"},
    "rows that differ": _tensors(xy=torch.zeros(4, 2)),
    "no rows": {name: torch.zeros(0, width) for name, width in GROUPS.items()},
    "whole numbers": _tensors(xy=torch.zeros(5, 2, dtype=torch.int64)),
    "a sparse tensor": _tensors(xy=torch.zeros(5, 2).to_sparse()),
    "memory without end": {
        name: torch.zeros(1, 1).expand(2**40, width) for name, width in GROUPS.items()
    },
    "a score of text": {**_tensors(), "psnr": "high"},
    "a score without bounds": {**_tensors(), "psnr": float("inf")},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_checkpoint_is_one_error(workspace: Path, name: str) -> None:
    torch.save(HOSTILE[name], "bad.pt")
    with pytest.raises(DataError):
        read_pt(Path("bad.pt"))
    assert not Path("written").exists()


def test_a_plain_pickle_is_not_run(workspace: Path) -> None:
    Path("bad.pt").write_bytes(pickle.dumps(_Code()))
    with pytest.raises(DataError):
        read_pt(Path("bad.pt"))
    assert not Path("written").exists()


def test_a_checkpoint_that_unpacks_to_far_more_is_refused_unread(workspace: Path) -> None:
    with zipfile.ZipFile("bad.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bad/data.pkl", bytes(2**27))
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_pt(Path("bad.pt"))
    assert "times as many bytes" in caught.value.expected


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    for kind, (_, read) in KINDS.items():
        with pytest.raises(DataError):
            read(tmp_path / f"none{kind}")
