"""Where and how a run computes: device, threads, precision, and its share among processes."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from weft.config.family import Parallel
from weft.config.sections import EngineConfig
from weft.data.random import derive
from weft.data.source import Batch
from weft.engine.isolation import FORKS
from weft.errors import DeviceError, RunError

_MEETING_SECONDS = 120
"""How long the processes of a run may take to find each other."""

_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1
"""Parameters of mallopt(3)."""


@dataclass(frozen=True)
class Ranks:
    """This process's number (`rank`) among the `world` processes torchrun started; 0 of 1 without
    torchrun."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the run."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any process; collective: every process must call it."""
        if self.world == 1:
            return flag
        total = torch.tensor(float(flag))
        dist.all_reduce(total)
        return bool(total.item())

    def of_first(self, value: float) -> float:
        """The first process's `value`, on every process; collective."""
        if self.world == 1:
            return value
        sent = torch.tensor(value, dtype=torch.float64)
        dist.broadcast(sent, 0)
        return float(sent)

    def average(self, tensors: list[Tensor]) -> None:
        """Replaces each tensor, in place, by its mean over processes; collective."""
        if self.world == 1:
            return
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor.div_(self.world)


def launched(name: str, alone: int) -> int:
    """What torchrun says of this process, or `alone` where it did not start it.

    Raises:
        DeviceError: if the environment says no number.
    """
    said = os.environ.get(name, "")
    if said and not said.isdecimal():
        raise DeviceError(
            f"{name}={said} is no number",
            where=f"${name}",
            expected="what torchrun sets, or nothing",
            hint=f"`unset {name}` where no torchrun is at work",
        )
    return int(said) if said else alone


@contextmanager
def joined(timeout: float) -> Iterator[Ranks]:
    """Joins the process group if torchrun started this process, and leaves it at the end.

    Args:
        timeout: seconds that a process waits for another one's answer.

    Raises:
        RunError: if another process has ended, or does not answer in time.
    """
    if launched("WORLD_SIZE", 1) == 1:
        yield Ranks()
        return
    _meet(timedelta(seconds=timeout))
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
        # A process that leaves while another still talks, or with a DistributedDataParallel that
        # outlives the group, can abort on its way out.
        gc.collect()
        dist.barrier()
    except RuntimeError as error:
        if not _is_connection_error(error):
            raise
        raise RunError(
            "another process of this run has ended, or does not answer",
            where=f"process {os.environ.get('RANK')} of {os.environ.get('WORLD_SIZE')}",
            expected="all processes, from the first step to the last, and an answer within "
            f"engine.timeout = {timeout:g} s",
            hint="its own message says why it ended; what was saved goes on with `weft resume`",
        ) from error
    finally:
        dist.destroy_process_group()


def _meet(timeout: timedelta) -> None:
    """Forms the process group.

    Raises:
        DeviceError: if not all processes come in time, or the environment lacks an address.
    """
    try:
        meeting = rendezvous("env://", timeout=timedelta(seconds=_MEETING_SECONDS))
        store, rank, world = next(iter(meeting))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
    except (RuntimeError, ValueError, OSError) as error:
        raise DeviceError(
            f"the processes of this run did not find each other: {_first_line(error)}",
            where=f"WORLD_SIZE={os.environ['WORLD_SIZE']}, RANK={os.environ.get('RANK')}",
            expected=f"all of them within {_MEETING_SECONDS} s",
            hint="start them by `torchrun --nproc-per-node=N -m weft train …`",
        ) from error


def _is_connection_error(error: RuntimeError) -> bool:
    """Whether the connection to another process failed, rather than a computation here."""
    words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset", "Broken pipe")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


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


def check_split(parallel: Parallel, size: int, parts: int, ranks: Ranks) -> None:
    """Refuses to split what the family says must stay whole, and uneven splits.

    Args:
        parallel: the family's declaration.
        size: length of dimension 0 of an index batch.
        parts: `engine.accumulation`.
        ranks: the processes.

    Raises:
        DeviceError: if the split is not allowed, or not even.
    """
    shares = ranks.world * parts
    if shares == 1:
        return
    unit = {"items": "items of a batch", "streams": "streams", "none": "batches"}[parallel]
    if parallel == "none":
        raise DeviceError(
            "the loss of this run needs the whole batch, which cannot be split",
            where=f"{ranks.world} process(es), engine.accumulation={parts}",
            hint="run one process with engine.accumulation=1; use `weft sweep` for many runs",
        )
    if size % shares:
        raise DeviceError(
            f"{size} {unit} cannot be shared evenly by {ranks.world} process(es) "
            f"x {parts} accumulation part(s)",
            expected=f"a multiple of {shares}",
            hint="change `streams`, `engine.accumulation` or --nproc-per-node"
            if parallel == "streams"
            else "change `batch_size`, `engine.accumulation` or --nproc-per-node",
        )


def shares(batch: Batch, parts: int, ranks: Ranks) -> list[Batch]:
    """This process's equal share of a batch along dimension 0, cut into `parts` equal parts."""
    total = parts * ranks.world
    if total == 1:
        return [batch]
    cut = {name: tensor.chunk(total) for name, tensor in batch.items()}
    mine = range(ranks.rank * parts, (ranks.rank + 1) * parts)
    return [{name: pieces[number] for name, pieces in cut.items()} for number in mine]


def float_buffers(model: nn.Module) -> list[Tensor]:
    """Buffers that hold running statistics.

    Their mean over processes is what a single process would have: each saw equally many items or
    streams, and the update is linear.
    """
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]
