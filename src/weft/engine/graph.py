"""Loss and gradients of a step as a CUDA graph: recorded once, replayed without Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from weft.data.random import stream_seed
from weft.data.source import Batch
from weft.errors import DeviceError
from weft.nn.recording import uncollected
from weft.task.calls import Scalars
from weft.task.context import Context

Gradients = Callable[[Sequence[Batch], Context], Scalars]

_FIRST = 3
"""Ordinary steps for each set of shapes before one is recorded: libraries initialise in them."""


@dataclass(frozen=True)
class Replayed(Context):
    """The context of a recorded step, which refuses to give numbers that change between steps.

    Attributes:
        streams: random streams by name, the same objects at every step, reseeded for each.
    """

    streams: dict[str, torch.Generator] = field(default_factory=dict)

    def __getattribute__(self, name: str) -> object:
        if name in ("step", "progress"):
            raise _unfit(f"its loss depends on `ctx.{name}`, which a graph would keep as it was")
        return super().__getattribute__(name)

    def generator(self, name: str, *, device: str | None = None) -> torch.Generator:
        """The stream `name`, on the device of the graph."""
        if device is not None and torch.device(device).type != self.device.type:
            raise _unfit(f"its loss draws `{name}` on {device}, outside the graph")
        if name not in self.streams:
            self.streams[name] = torch.Generator(device=self.device)
            self.reseed(name, 0)
        return self.streams[name]

    def reseed(self, name: str, step: int) -> None:
        """Sets the stream `name` to where `Context.generator` would begin it at `step`."""
        self.streams[name].manual_seed(stream_seed(self.seed, step, name))


@dataclass
class _Recording:
    """A graph with the tensors it reads (`batches`) and writes (`scalars`, `gradients`)."""

    graph: torch.cuda.CUDAGraph
    batches: list[Batch]
    scalars: Scalars
    gradients: list[Tensor | None]


class Graphed:
    """Replays `gradients` from a CUDA graph, except in the first steps and those that are logged.

    A replay launches the same kernels as an ordinary step, so the numbers are the same.

    Args:
        gradients: sets `.grad` of the parameters from a step's batches and returns its scalars.
        model: the model that learns; a step may write into its parameters and buffers, but not
            replace them.
        context: of any step of the run, on a CUDA device.
    """

    def __init__(self, gradients: Gradients, model: nn.Module, context: Replayed) -> None:
        self.gradients, self.model, self.context = gradients, model, context
        self.stream = torch.cuda.Stream(context.device)
        self.recordings: dict[tuple[object, ...], _Recording] = {}
        self.taken: Counter[tuple[object, ...]] = Counter()

    def __call__(self, batches: Sequence[Batch], ctx: Context) -> Scalars:
        """Sets the gradients of a step in `.grad` and returns its scalars.

        Raises:
            DeviceError: if the step cannot be recorded; the message says why.
        """
        key = tuple((name, value.shape) for batch in batches for name, value in batch.items())
        if ctx.log or self.taken[key] < _FIRST:
            self.taken[key] += not ctx.log
            return self._as_usual(batches, ctx)
        if key not in self.recordings:
            self.recordings[key] = self._record(batches, ctx)
        recording = self.recordings[key]
        for kept, given in zip(recording.batches, batches, strict=True):
            for name, value in given.items():
                kept[name].copy_(value)
        self._seed(ctx.step)
        recording.graph.replay()
        for parameter, gradient in zip(self.model.parameters(), recording.gradients, strict=True):
            parameter.grad = gradient
        return dict(recording.scalars)

    def _as_usual(self, batches: Sequence[Batch], ctx: Context) -> Scalars:
        """An ordinary step, on the stream that will record: autograd ties what it keeps for a
        parameter to one stream."""
        known: Context = ctx
        if not ctx.log:
            self._seed(ctx.step)
            known = self.context
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            scalars = self.gradients(batches, known)
        torch.cuda.current_stream().wait_stream(self.stream)
        return scalars

    def _record(self, batches: Sequence[Batch], ctx: Context) -> _Recording:
        kept = [{name: value.clone() for name, value in batch.items()} for batch in batches]
        self._seed(ctx.step)
        graph = torch.cuda.CUDAGraph()
        for generator in self.context.streams.values():
            graph.register_generator_state(generator)
        places = self._places()
        try:
            with uncollected(), torch.cuda.graph(graph, stream=self.stream):
                scalars = self.gradients(kept, self.context)
        except RuntimeError as error:
            raise _unfit(str(error).partition("\n")[0]) from error
        if moved := [name for name, place in self._places().items() if places.get(name) != place]:
            raise _unfit(f"a step of it replaces `{moved[0]}` instead of writing into it")
        gradients = [parameter.grad for parameter in self.model.parameters()]
        return _Recording(graph, kept, scalars, gradients)

    def _seed(self, step: int) -> None:
        for name in self.context.streams:
            self.context.reseed(name, step)

    def _places(self) -> dict[str, int]:
        return {name: value.data_ptr() for name, value in self.model.state_dict().items()}


def _unfit(reason: str) -> DeviceError:
    return DeviceError(
        f"a step of this run cannot be recorded as a CUDA graph: {reason}",
        where="engine.graph=true",
        hint="engine.graph=false takes every step as usual",
    )
