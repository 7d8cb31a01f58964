"""Remarks of readers on what they did to data, collected by the run that reads them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_kept: ContextVar[list[str] | None] = ContextVar("kept", default=None)


@contextmanager
def collecting(remarks: list[str]) -> Iterator[None]:
    """Adds remarks made within the block to `remarks`, each once."""
    token = _kept.set(remarks)
    try:
        yield
    finally:
        _kept.reset(token)


def remark(text: str) -> None:
    """Records a sentence about the data, for the innermost `collecting`; else as a warning."""
    kept = _kept.get()
    if kept is None:
        warnings.warn(text, stacklevel=2)
    elif text not in kept:
        kept.append(text)
