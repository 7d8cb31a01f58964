"""The ground a run computes on: what its caller has set in torch does not reach it, nor is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

_ALONE = threading.RLock()
"""Held by the thread that computes: torch's generators and its number of threads are those of the
process, so that two runs at once would draw from each other's."""

_kept: list[dict[torch.device, Tensor]] = []
"""Generators of accelerators as a caller left them, one mapping for each ground that is entered."""


@contextmanager
def own_ground() -> Iterator[None]:
    """Inside, torch is as a fresh process has it; afterwards, as it was before, generators too.

    That is gradients on, no inference mode, no autocast, float32 and the CPU as defaults, and whole
    float32 products. What only makes torch slower or stricter stays: deterministic algorithms,
    the detection of anomalies, warnings as errors. A second thread waits until the first has left.
    """
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
    """Has the ground put back the generator of an accelerator that a run is about to draw from.

    Not when the ground is entered: the question alone would wake a GPU that nothing needs.
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
