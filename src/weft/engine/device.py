"""Where and how a run computes: device, threads, precision, seeds."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from weft.config.sections import EngineConfig
from weft.data.random import derive
from weft.engine.isolation import FORKS
from weft.engine.ranks import launched
from weft.errors import DeviceError

_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1
"""Parameters of mallopt(3)."""


def choose_device(config: EngineConfig) -> torch.device:
    """The device a config names; `auto` takes a CUDA GPU where there is one, else the CPU.

    `auto` never takes `mps`, which has no float64 and lacks operations that some families need: a
    recipe that works elsewhere would fail, or silently compute on the CPU.

    Raises:
        DeviceError: if the named device is unknown or absent.
    """
    local = launched("LOCAL_RANK", 0)
    if config.device == "auto":
        return torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(config.device)
    except RuntimeError as error:
        raise DeviceError(
            f"`{config.device}` is not a device",
            where="engine.device",
            expected="auto, cpu, cuda, cuda:N or mps",
        ) from error
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if device.type == "cuda" and device.index is None and present:
        device = torch.device("cuda", local)
    if (device.index or 0) >= present:
        raise DeviceError(
            f"there is no device `{config.device}` on this machine",
            where="engine.device",
            expected=f"one of {present} {device.type} device(s)" if present else "",
            hint="engine.device=auto takes a CUDA GPU where there is one, else the CPU",
        )
    return device


def prepare_cpu() -> None:
    """Makes glibc keep up to 2 GiB of freed memory in the process (Linux; nothing elsewhere).

    By default glibc returns freed blocks above 32 MiB to the system at once, and every page of the
    next such block costs a page fault, which takes longer than filling the page.
    """
    tuned = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tuned is not None:
        tuned(_M_MMAP_MAX, 0)
        tuned(_M_TRIM_THRESHOLD, 2**31 - 1)


def prepare_gpu() -> None:
    """Turns off cuDNN's attention, whose gradients can be NaN; flash attention takes its place.

    torch 2.11 and later may choose cuDNN on Hopper cards; for some lengths its backward pass in
    half precision returns NaN (github.com/pytorch/pytorch/issues/196678).
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


@contextmanager
def using_threads(number: int | None) -> Iterator[None]:
    """Sets torch's number of CPU threads within the block; None leaves it unchanged.

    Setting and resetting takes 1.4 us, since torch keeps idle threads for later use.

    Raises:
        DeviceError: for more than one in a process that was forked from one that trained.
    """
    before = torch.get_num_threads()
    if number is None or number == before:
        yield
        return
    if FORKS.here and number > 1:
        raise DeviceError(
            f"{number} threads are asked for in a process that was forked, where they do not run",
            where="engine.threads",
            expected="1, or a process that is spawned: multiprocessing.get_context('spawn')",
        )
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def precision(config: EngineConfig, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 if `engine.precision=bf16`; parameters stay float32."""
    if config.precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def products(config: EngineConfig) -> AbstractContextManager[object]:
    """Lets float32 matrix products round their factors to tf32 if `engine.precision=tf32`."""
    return _tf32() if config.precision == "tf32" else nullcontext()


@contextmanager
def _tf32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def seed_step(seed: int, step: int, rank: int, device: torch.device) -> None:
    """Seeds torch's own generators for one step, so that no state needs to be saved.

    `torch.manual_seed` would walk every backend (76 us); one generator takes about 1 us.
    """
    value = derive(seed, step, "torch", rank)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        index = device.index or 0
        torch.cuda.default_generators[index].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)
