"""What the engine asks of a family that trains: data, model, loss, metrics, and a few more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from weft.config.base import FamilyConfig
from weft.errors import UsageError
from weft.task.context import Context as Context
from weft.task.inference import Inference as Inference
from weft.task.metric import Metric as Metric
from weft.task.parent import Parent as Parent
from weft.task.writing import Writing as Writing
from weft.task.writing import Written as Written

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from torch import Tensor, nn

    from weft.data.source import Batch, DataSpec, Source, Splits

    Picture = tuple[str, str, Figure | Sequence[Image] | str]
    """Name (of a file, without suffix), caption, and a figure, the frames of an animation, or
    text."""

C = TypeVar("C", bound=FamilyConfig)
M = TypeVar("M", bound="nn.Module")
S = TypeVar("S", bound="Source")


class Task(ABC, Generic[C, M, S]):
    """Joins a family's data, model and objective; one instance a run, no state but its config.

    Typed in its config `C`, its model `M` and its sources `S`.
    """

    steps_are_alike: ClassVar[bool] = False
    """Whether a step costs the same whatever its batch holds and chance draws, and its loss changes
    nothing but the model. A small model's cost is then counted by a step on zeros."""

    def __init__(self, config: C) -> None:
        self.config = config

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What `evaluate` may return, most important first; the first selects the best weights."""
        return (Metric("loss", "lower", about="The training loss, on held-out items."),)

    @abstractmethod
    def spec(self) -> DataSpec:
        """Shapes, dtypes, class count and batches per epoch, from headers only."""

    @abstractmethod
    def data(self) -> Splits[S]:
        """Loads the train, val and test sources."""

    @abstractmethod
    def model(self, spec: Any) -> M:
        """Builds the model under the caller's device context and seed; no input or output.

        Args:
            spec: what `spec` returned.
        """

    def draw(self, batch: Batch, ctx: Context) -> Batch:
        """All that a step draws at random for its batch: noise, coins, masks, kept steps.

        Called once a step with the whole batch, before it is taken in parts by accumulation or by
        several processes, so that every split sees the same. What is drawn goes into the batch,
        item by item along dimension 0; so does a count that a mean over the whole batch needs.
        """
        return batch

    @abstractmethod
    def loss(self, model: M, batch: Batch, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar loss of a batch, and scalars to log, all still on the device.

        Args:
            model: in training mode.
            batch: what `draw` made of the step's batch, or one of `ctx.parts` equal parts of it.
                The mean of the parts' losses must be the loss of the whole.
            ctx: where training stands.
        """

    @abstractmethod
    def evaluate(self, model: M, source: S, ctx: Context) -> dict[str, float]:
        """Metrics over all of `source`; the model is in eval mode, gradients are off."""

    # All below is optional.

    def adopt(self, model: M, parents: Mapping[str, Parent]) -> None:
        """Takes over the weights of the earlier runs that the config names, by config key.

        Called once, before the first step of a new run, with gradients off; never at resume or
        evaluation, so whatever the model needs of them must be in its own state. By default a
        parent fills the whole model.
        """
        for parent in parents.values():
            parent.fill(model)

    def prime(self, model: M, data: Splits[S]) -> None:
        """Gives the model what it needs of its training data: statistics, a basis, codes of items.

        Called once, after `adopt`, before the first step of a new run, with gradients off; never
        at resume or evaluation, so what is taken must be in the model's own state. `data.train`
        is on the device, as the model is.
        """

    def scalars(self, model: M) -> dict[str, Tensor]:
        """Diagnostics left behind by the backward pass, read when a step is logged."""
        return {}

    def param_groups(self, model: M) -> Iterable[Mapping[str, Any]]:
        """Parameter groups for the optimiser; one group of all trainable parameters by default."""
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def units(self, model: M) -> Mapping[nn.Module, Sequence[str]]:
        """Modules whose weights several processes may share out (`engine.shard`), and the methods
        of each, `forward` aside, that read them.

        Outside these calls a unit's weights are in pieces. Those of no unit are whole from the
        first line of `loss` to its last. By default there are none, and `engine.shard` is refused.
        """
        return {}

    def notes(self, model: M, spec: Any) -> Sequence[str]:
        """Lines that a dry run adds to the costs: how it would compute, what to know of it."""
        return ()

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """(name, caption, figure) to show in the report, from the rows of metrics.jsonl."""
        return iter(())

    def sample(self, model: M, data: Splits[S], ctx: Context) -> Iterator[Picture]:
        """(name, caption, picture) of what the trained model makes, for `weft sample`.

        As for `evaluate`, the model is in eval mode and gradients are off; `data.shown` is the
        source to show. Figures get the house style.
        """
        return iter(())

    def tell(self, model: M, source: S, ctx: Context) -> Iterable[str]:
        """Lines for the log at each evaluation, where numbers do not say it all; as `evaluate`."""
        return ()

    def inference(self, model: M, spec: Any) -> Inference:
        """How the model is used alone, for `weft export`; the model is on the CPU, in eval mode.

        Raises:
            UsageError: saying why, if there is no such use.
        """
        raise UsageError(
            f"family `{self.config.family}` does not say how its models are used alone",
            expected="a family whose task has `inference`",
            hint="the weights are in the run's model.safetensors; `weft.load` reads them",
        )

    def write(self, model: M, asked: Writing, ctx: Context) -> Iterator[Written]:
        """Texts for `weft sample --prompt`, one for each prompt; of a model that writes none,
        none.

        As for `evaluate`, the model is in eval mode and gradients are off.

        Raises:
            UsageError: if something is asked that cannot be.
        """
        return iter(())
