"""What the engine asks of a family: a `Family` to find it by, a `Task` to train it with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from weft.config.base import FamilyConfig
from weft.config.kinds import Kind
from weft.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from torch import Tensor, nn

    from weft.config.presets import Preset
    from weft.data.source import Batch, DataSpec, Source, Splits

C = TypeVar("C", bound=FamilyConfig)
Parallel = Literal["items", "streams", "none"]
Converter = Callable[[Any], Any]


@dataclass(frozen=True)
class Family:
    """A family as the registry, the config loader and the command line see it; imports no torch.

    Args:
        name: the word users type, e.g. `cet`.
        summary: one sentence for `weft recipes`.
        config: the family's config class.
        task: "module:Class" of its `Task`, imported when something trains.
        default: preset used when a recipe names none, e.g. `digits`.
        parallel: what torchrun and accumulation may split along dimension 0 of an index batch:
            `items`, `streams` (whole streams in time), or `none`.
        table: "module:function" giving further presets by name, for families that ship a table of
            them rather than a file each; or "".
        bench: "module:function" giving the benchmark cases, or "" if there are none.
        comparison: "module:function" that draws many runs together, for the page of a sweep: from
            (config, metrics) of finished runs it yields (name, caption, Figure); or "".
        aliases: old key -> (new key, converter of the value).
        optimisers, schedules, clips: kinds this family adds to the engine's own.
    """

    name: str
    summary: str
    config: type[FamilyConfig]
    task: str
    default: str
    parallel: Parallel = "items"
    table: str = ""
    bench: str = ""
    comparison: str = ""
    aliases: Mapping[str, tuple[str, Converter]] = field(default_factory=dict)
    optimisers: Mapping[str, Kind] = field(default_factory=dict)
    schedules: Mapping[str, Kind] = field(default_factory=dict)
    clips: Mapping[str, Kind] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The family's folder: presets/, claims.yaml and README.md lie in it."""
        module = import_module(self.config.__module__)
        return Path(str(module.__file__)).parent

    @property
    def generated(self) -> Mapping[str, Preset]:
        """Presets that are rows of a table, by name."""
        presets: Mapping[str, Preset] = resolve(self.table)() if self.table else {}
        return presets

    def load_task(self, config: FamilyConfig) -> Task[Any]:
        """Imports the task class (and torch with it) and builds the task for `config`."""
        task: Task[Any] = resolve(self.task)(config)
        return task


def resolve(path: str) -> Any:
    """The object that "package.module:name" names; names come from code, never from a config."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True)
class Parent:
    """An earlier run that a new one starts from.

    Attributes:
        key: the config key, of type `RunRef`, that names it.
        file: its checkpoint, or exported weights.
        sha256: checksum of the file when the new run began.
        config: what it was trained with.
        load_weights: reads its model's state, after the checksum was compared.
    """

    key: str
    file: Path
    sha256: str
    config: FamilyConfig
    load_weights: Callable[[], dict[str, Tensor]]

    def __str__(self) -> str:
        return f"{self.key}: starts from {self.file}, sha256 {self.sha256[:12]}…"

    def fill(self, module: nn.Module) -> None:
        """Copies the weights into `module`, name for name.

        Raises:
            ConfigError: if their names or shapes differ.
        """
        weights, own = self.load_weights(), module.state_dict()
        there, here = ({k: tuple(v.shape) for k, v in s.items()} for s in (weights, own))
        differing = [k for k in {**here, **there} if here.get(k) != there.get(k)]
        if differing:
            first = differing[0]
            raise ConfigError(
                f"the weights of `{self.key}` do not fit this run's model: "
                f"{len(differing)} of {len(here)} tensors differ",
                where=str(self.file),
                expected=f"`{first}` of shape {here.get(first, 'absent')}; the earlier run's is "
                f"{there.get(first, 'absent')}",
                hint="give both runs the same model; the earlier run's config.yaml says what it is",
            )
        module.load_state_dict(weights)


@dataclass
class Context:
    """Where training stands when a task is called.

    Attributes:
        seed: the run's seed.
        step: optimiser steps done so far, 0 at the first call.
        total_steps: optimiser steps of the whole run.
        device: where the model and the batch live.
        train: False during evaluation and sampling.
        rank: which of several processes this is.
        log: whether this step's scalars will be recorded; diagnostics may be skipped otherwise.
    """

    seed: int
    step: int
    total_steps: int
    device: torch.device
    train: bool = True
    rank: int = 0
    log: bool = True

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return self.step / max(1, self.total_steps)

    def generator(self, name: str) -> torch.Generator:
        """A random stream of its own for `name`, a pure function of (seed, step, name, rank)."""
        from weft.data.random import stream

        return stream(self.seed, self.step, name, self.rank, device=self.device)


class Task(ABC, Generic[C]):
    """Joins a family's data, model and objective; one instance a run, no state but its config."""

    #: metrics a human looks at first, best first; the leading one selects the best checkpoint.
    headline: ClassVar[tuple[str, ...]] = ("loss",)
    #: whether a larger value of the leading headline metric is better.
    maximise: ClassVar[bool] = False

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    def spec(self) -> DataSpec:
        """Shapes, dtypes, class count and batches per epoch, from headers only."""

    @abstractmethod
    def data(self) -> Splits:
        """Loads the train, val and test sources."""

    @abstractmethod
    def model(self, spec: DataSpec) -> nn.Module:
        """Builds the model under the caller's device context and seed; no input or output."""

    @abstractmethod
    def loss(
        self, model: nn.Module, batch: Batch, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar loss of a batch, and scalars to log, all still on the device."""

    @abstractmethod
    def evaluate(self, model: nn.Module, source: Source, ctx: Context) -> dict[str, float]:
        """Metrics of the model in eval mode over all of `source`."""

    def adopt(self, model: nn.Module, parents: Mapping[str, Parent]) -> None:
        """Takes over the weights of the earlier runs that the config names, by config key.

        Called once, before the first step of a new run, with gradients off; never at resume or
        evaluation, so whatever the model needs of them must be in its own state. By default a
        parent fills the whole model.
        """
        for parent in parents.values():
            parent.fill(model)

    # Optional. A task that sets `gradients` to a method replaces loss + backward by it: it leaves
    # gradients in `p.grad` (adding to what is there) and returns what `loss` returns.
    gradients: Callable[[nn.Module, Batch, Context], tuple[Tensor, dict[str, Tensor]]] | None = None

    def scalars(self, model: nn.Module) -> dict[str, Tensor]:
        """Diagnostics left behind by the backward pass, read when a step is logged."""
        return {}

    def after_step(self, model: nn.Module, ctx: Context) -> None:
        """Called after each optimiser step."""

    def param_groups(self, model: nn.Module) -> Iterable[Mapping[str, Any]]:
        """Parameter groups for the optimiser; one group of all trainable parameters by default."""
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def notes(self, model: nn.Module, spec: DataSpec) -> Sequence[str]:
        """Lines that a dry run adds to the costs: how it would compute, what to know of it."""
        return ()

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """(name, caption, figure) to show in the report, from the rows of metrics.jsonl."""
        return iter(())

    def sample(
        self, model: nn.Module, data: Splits, ctx: Context
    ) -> Iterator[tuple[str, str, Figure | Sequence[Image]]]:
        """(name, caption, picture) of what the trained model makes, for `weft sample`.

        A picture is a figure, or the frames of an animation.
        """
        return iter(())
