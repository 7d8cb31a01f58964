"""No garbage is collected while a graph is recorded."""

from __future__ import annotations

import gc
import weakref

from weft.nn.recording import uncollected


class _Round:
    """An earlier run, which holds what holds it."""

    def __init__(self) -> None:
        self.itself = self


def test_an_earlier_run_is_given_back_before_a_step_is_recorded_and_never_meanwhile() -> None:
    before = weakref.ref(_Round())
    with uncollected():
        assert before() is None
        meanwhile = weakref.ref(_Round())
        kept: list[list[int]] = [[] for _ in range(5000)]
        assert meanwhile() is not None, len(kept)
    assert gc.isenabled()
