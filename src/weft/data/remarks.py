"""What readers did to data that a user should know of, told once in the run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_kept: ContextVar[list[str] | None] = ContextVar("kept", default=None)


@contextmanager
def collecting(remarks: list[str]) -> Iterator[None]:
    """Remarks made inside are added to `remarks`, each once."""
    token = _kept.set(remarks)
    try:
        yield
    finally:
        _kept.reset(token)


def remark(text: str) -> None:
    """Says something of the data: to whoever collects remarks, else as a warning."""
    kept = _kept.get()
    if kept is None:
        warnings.warn(text, stacklevel=2)
    elif text not in kept:
        kept.append(text)
