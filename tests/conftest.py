"""Shared fixtures: the toy family beside the real ones, and a clean working directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from weft import families


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Registers the family `toy` for one test."""
    monkeypatch.setitem(families.BUILT_IN, "toy", "tests.toy.family")
    families._modules.cache_clear()
    families.find.cache_clear()
    yield "toy/small"
    monkeypatch.undo()
    families._modules.cache_clear()
    families.find.cache_clear()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary current directory, so that `runs/` lands there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
