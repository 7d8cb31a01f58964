"""`Task`: what a family gives the engine to train: data, model, loss, metrics, optional hooks."""

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
    """File name without suffix, caption, and a figure, the frames of an animation, or text."""

C = TypeVar("C", bound=FamilyConfig)
M = TypeVar("M", bound="nn.Module")
S = TypeVar("S", bound="Source")


class Task(ABC, Generic[C, M, S]):
    """Joins a family's data, model and objective; one instance a run, no state but its config.

    Generic in the types of its config `C`, its model `M` and its sources `S`.
    """

    steps_are_alike: ClassVar[bool] = False
    """Whether every step costs the same, whatever its batch and random draws, and `loss` changes
    nothing but the model. The cost of a small model is then counted on a step with zeros."""

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
        """Builds the model; the caller has set device and seed, and no files are touched.

        Args:
            spec: what `spec` returned.
        """

    def draw(self, batch: Batch, ctx: Context) -> Batch:
        """Makes all random draws of a step (noise, masks, kept steps) and adds them to the batch.

        Called once a step with the whole batch, before accumulation or several processes split it,
        so that the split changes nothing. Each entry has one row an item along dimension 0; so has
        a count over the whole batch, if a mean in `loss` needs one.
        """
        return batch

    @abstractmethod
    def loss(self, model: M, batch: Batch, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar loss of a batch, and scalars to log, all still on the device.

        Args:
            model: in training mode.
            batch: the batch that `draw` returned, or one of `ctx.parts` equal parts of it. The mean
                of the parts' losses must be the loss of the whole batch.
            ctx: step, seed and device.
        """

    @abstractmethod
    def evaluate(self, model: M, source: S, ctx: Context) -> dict[str, float]:
        """Metrics over all of `source`; the model is in eval mode, gradients are off."""

    # All hooks below are optional.

    def adopt(self, model: M, parents: Mapping[str, Parent]) -> None:
        """Copies the weights of the earlier runs that the config names, given by config key.

        Called once, before the first step of a new run, with gradients off. It is not called at
        resume or evaluation, so whatever the model needs must be in its own state. By default a
        parent fills the whole model.
        """
        for parent in parents.values():
            parent.fill(model)

    def prime(self, model: M, data: Splits[S]) -> None:
        """Computes what the model needs from its training data, such as statistics or a basis.

        Called once, after `adopt`, before the first step of a new run, with gradients off. It is
        not called at resume or evaluation, so the result must be in the model's own state.
        `data.train` and the model are on the device.
        """

    def scalars(self, model: M) -> dict[str, Tensor]:
        """Diagnostics left behind by the backward pass, read when a step is logged."""
        return {}

    def param_groups(self, model: M) -> Iterable[Mapping[str, Any]]:
        """Parameter groups for the optimiser; one group of all trainable parameters by default."""
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def units(self, model: M) -> Mapping[nn.Module, Sequence[str]]:
        """Modules whose weights `engine.shard` may split over processes, each with the names of
        its methods, besides `forward`, that read the weights.

        The weights of such a unit are whole only during these calls; all other weights are whole
        throughout `loss`. By default there are no units, and `engine.shard` is refused.
        """
        return {}

    def notes(self, model: M, spec: Any) -> Sequence[str]:
        """Lines that a dry run prints below the costs, such as which form is computed."""
        return ()

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """Figures for the report: (name, caption, figure), from the rows of metrics.jsonl."""
        return iter(())

    def sample(self, model: M, data: Splits[S], ctx: Context) -> Iterator[Picture]:
        """Samples of the trained model, for `weft sample`: (name, caption, picture).

        The model is in eval mode and gradients are off; `data.shown` is the source to draw from.
        Figures get weft's style.
        """
        return iter(())

    def tell(self, model: M, source: S, ctx: Context) -> Iterable[str]:
        """Lines of text for the log at each evaluation; called as `evaluate` is."""
        return ()

    def inference(self, model: M, spec: Any) -> Inference:
        """The function that `weft export` writes; the model is on the CPU, in eval mode.

        Raises:
            UsageError: if the model has none; the message says why.
        """
        raise UsageError(
            f"family `{self.config.family}` has no inference function to export",
            expected="a family whose task has `inference`",
            hint="the weights are in the run's model.safetensors; `weft.load` reads them",
        )

    def write(self, model: M, asked: Writing, ctx: Context) -> Iterator[Written]:
        """Texts for `weft sample --prompt`, one for each prompt; none if the model writes no text.

        The model is in eval mode and gradients are off.

        Raises:
            UsageError: if an option in `asked` does not apply to the model.
        """
        return iter(())
