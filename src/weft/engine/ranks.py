"""What processes share of a run: who they are, how they meet, and each one's part of a batch."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from weft.config.family import Parallel
from weft.data.source import Batch
from weft.errors import DeviceError, RunError

_MEETING_SECONDS = 120
"""How long the processes of a run may take to find each other."""


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
