"""Runs that end in the middle of a step, by a signal or as kill -9 ends them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from torch import Tensor

from weft.engine.loop import Trainer
from weft.task.calls import Scalars


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGTERM) -> None:
    """Sends this process a signal in `step` of the next run, once."""
    _once(monkeypatch, step, lambda: os.kill(os.getpid(), number))


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Makes the next run die in `step` with RuntimeError, and leave what kill -9 would leave."""

    def die() -> None:
        raise RuntimeError("killed")

    _once(monkeypatch, step, die)


def _once(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    original = Trainer._step

    def acting(self: Trainer, indices: Tensor, at: int, log: bool) -> Scalars:
        if at == step:
            monkeypatch.setattr(Trainer, "_step", original)
            act()
        return original(self, indices, at, log)

    monkeypatch.setattr(Trainer, "_step", acting)
