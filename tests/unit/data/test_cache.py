"""What is kept comes back, what is damaged is made anew, and a full disk stops nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from weft.data.cache import Arrays, cached, checksum


def _arrays(value: int) -> Arrays:
    return {"pixels": np.full((2, 2), value, np.uint8), "label": np.array([value])}


def test_arrays_are_made_once_and_read_back(cache: Path) -> None:
    for value in (1, 2):
        kept = cached("decoded", "kept", lambda value=value: _arrays(value))
        assert kept["pixels"].tolist() == [[1, 1], [1, 1]]
        assert kept["label"].tolist() == [1]
    assert [file.name for file in (cache / "decoded").iterdir()] == ["kept.npz"]


def test_a_damaged_file_is_made_anew(cache: Path) -> None:
    cached("decoded", "kept", lambda: _arrays(1))
    path = cache / "decoded/kept.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"\x01" * 4)] ^= 0xFF
    for damaged in (content, content[:100], b""):
        path.write_bytes(damaged)
        assert cached("decoded", "kept", lambda: _arrays(2))["label"].tolist() == [2]
        assert cached("decoded", "kept", lambda: _arrays(3))["label"].tolist() == [2]


def test_a_cache_that_cannot_be_written_costs_a_warning_not_the_run(cache: Path) -> None:
    cache.write_bytes(b"")
    with pytest.warns(UserWarning, match="decoded could not be kept"):
        assert cached("decoded", "kept", lambda: _arrays(1))["label"].tolist() == [1]


def test_a_checksum_tells_parts_and_their_order_apart() -> None:
    keys = {checksum("a", "b"), checksum("b", "a"), checksum("ab"), checksum("a", "b", 1)}
    assert len(keys) == 4
