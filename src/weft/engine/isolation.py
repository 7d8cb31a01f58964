"""Isolates a run from torch's global state: the caller's settings do not reach it, nor are lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

_ALONE = threading.RLock()
"""Held by the thread that computes: torch's generators and number of threads belong to the process,
so that two runs at once would change each other's."""

_kept: list[dict[torch.device, Tensor]] = []
"""States of accelerators' generators as the caller left them, a mapping for each nested block."""


class _Forks:
    """What a forked process must know: of torch's threads none but the one that forked is there,
    and work that is shared out among them would wait for the others for ever."""

    def __init__(self) -> None:
        self.watched, self.here = False, False

    def watch(self) -> None:
        """Has processes that are forked from now on compute with one thread."""
        if not self.watched and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)
        self.watched = True

    def _in_child(self) -> None:
        global _ALONE
        _ALONE = threading.RLock()  # Whoever held it is not here.
        self.here = True
        torch.set_num_threads(1)


FORKS = _Forks()


@contextmanager
def isolated() -> Iterator[None]:
    """Runs the block with torch's global state as in a fresh process, and restores it afterwards.

    Inside, gradients are on, inference mode and autocast off, float32 and the CPU the defaults, and
    float32 products exact; afterwards random generators, too, are as before. Settings that only
    make torch slower or stricter stay: deterministic algorithms, anomaly detection, warnings as
    errors. A second thread waits until the first has left its block.
    """
    FORKS.watch()
    with _ALONE, ExitStack() as left:
        left.enter_context(_defaults())
        left.enter_context(_products())
        left.enter_context(torch.inference_mode(False))
        left.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                left.enter_context(torch.autocast(kind, enabled=False))
        # Only where it is needed: it costs each call of torch some microseconds.
        if torch.get_default_device().type != "cpu":
            left.enter_context(torch.device("cpu"))
        left.enter_context(_generators())
        yield


def keep_generator(device: torch.device) -> None:
    """Has the enclosing block restore the generator of an accelerator that a run will draw from.

    Not done on entering the block: reading the state would initialise a GPU that nothing needs.
    """
    if not _kept or device in _kept[-1]:
        return
    if device.type == "cuda":
        _kept[-1][device] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        _kept[-1][device] = torch.mps.get_rng_state()


@contextmanager
def _generators() -> Iterator[None]:
    before = torch.get_rng_state()
    _kept.append({})
    try:
        yield
    finally:
        torch.set_rng_state(before)
        for device, state in _kept.pop().items():
            if device.type == "cuda":
                torch.cuda.set_rng_state(state, device)
            else:
                torch.mps.set_rng_state(state)


@contextmanager
def _defaults() -> Iterator[None]:
    dtype = torch.get_default_dtype()
    attention = bool(torch.backends.cuda.cudnn_sdp_enabled())  # type: ignore[no-untyped-call]
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.backends.cuda.enable_cudnn_sdp(attention)


@contextmanager
def _products() -> Iterator[None]:
    # Releases of torch before 2.9 have but the one word for all places.
    places: tuple[Any, ...] = (
        torch.backends.cuda.matmul,
        getattr(torch.backends.mkldnn, "matmul", None),
    )
    own = {place: place.fp32_precision for place in places if hasattr(place, "fp32_precision")}
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:
        before = ""  # Set for each place by itself, of which torch gives no word.
    if before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        if before:
            torch.set_float32_matmul_precision(before)
        for place, precision in own.items():
            place.fp32_precision = precision
