"""Registers the family for these tests, whether or not the house lists it yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from weft import families


@pytest.fixture(autouse=True)
def jepa(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The family `jepa`."""
    monkeypatch.setitem(families.BUILT_IN, "jepa", "weft.families.jepa")
    families._modules.cache_clear()
    families.find.cache_clear()
    yield
    monkeypatch.undo()
    families._modules.cache_clear()
    families.find.cache_clear()
