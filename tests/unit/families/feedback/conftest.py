"""Texts that tests of feedback tokenise once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of tokenised texts."""
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def kept_texts(texts: Path) -> Iterator[None]:
    """The module's tests find there what others have tokenised."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEFT_CACHE", str(texts))
        yield
