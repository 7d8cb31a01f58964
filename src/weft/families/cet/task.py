"""Image classification: trains a classifier on streams of images with delayed errors."""

# S streams, B time steps, m kept items of a stream, C channels, H height, W width, K classes

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weft.data.random import stream
from weft.data.source import Batch, DataSpec, Splits
from weft.families.cet.config import Config
from weft.families.cet.control.task import ControlTask
from weft.families.cet.data import data_spec, load_splits
from weft.families.cet.figures import report
from weft.families.cet.model import cnn, keep_own, lending, mlp, set_streams
from weft.families.cet.objective import correct, cross_entropy, largest
from weft.families.cet.score.accuracy import accuracy
from weft.families.cet.score.agreement import agreement
from weft.families.cet.sets.stream import StreamSource
from weft.families.cet.trace.configured import configured
from weft.families.cet.trace.conversion import clock
from weft.nn.norm import batch_statistics
from weft.task.context import Context
from weft.task.inference import Inference
from weft.task.metric import Metric
from weft.task.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CetTask(Task[Config, nn.Module, StreamSource]):
    """Classification with delayed errors by cascading eligibility traces."""

    steps_are_alike = True

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Accuracy, by which checkpoints are selected, and the loss."""
        return (
            Metric("accuracy", "higher", about="Share of items that are classified correctly."),
            Metric("loss", "lower", "nats", "Mean cross-entropy of an item."),
        )

    def spec(self) -> DataSpec:
        """Shapes and sizes of the data, read from file headers only."""
        return data_spec(self.config)

    def data(self) -> Splits[StreamSource]:
        """Streams of the training set, and the items of the other splits."""
        return load_splits(self.config)

    def model(self, spec: DataSpec) -> nn.Module:
        """The configured network, whose dense and convolution layers learn by traces.

        Raises:
            DeviceError: for `carry` on several processes.
        """
        return configured(self.config, self.network(spec))

    def network(self, spec: DataSpec) -> nn.Sequential:
        """The configured network before conversion, which learns by back-propagation."""
        config = self.config
        channels, height, width = spec.fields["image"].shape
        shape, plain = (channels, height, width), config.timescale == "retrograde"
        sizes = shape, config.hidden_dim, spec.num_classes
        if config.arch == "mlp":
            return mlp(*sizes, plain_output=plain)
        return cnn(*sizes, config.norm_op, config.p_drop, plain_output=plain)

    def draw(self, batch: Batch, ctx: Context) -> Batch:
        """The batch; with `random_times` it gets `times`, int64 (S, m), of the items learnt."""
        if not self.config.random_times:
            return batch
        streams, length = batch["image"].shape[:2]
        draws = torch.rand(streams, length, generator=ctx.generator("times"), device=ctx.device)
        times = draws.argsort(dim=1)[:, : self.config.kept_items].sort(dim=1).values
        return {**batch, "times": times}

    def loss(
        self, model: nn.Module, batch: Batch, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy over the items learnt from; on logged steps, accuracy over all items.

        Args:
            model: made by `model`.
            batch: `image`, (S, B, C, H, W), and `label`, (S, B) or (S, B, K).
            ctx: the state of training.
        """
        images, targets = batch["image"], batch["label"]
        streams, length = images.shape[:2]
        time = clock(model)
        time.streams = streams
        time.similarity = self._compares(ctx)
        time.keep_all()
        set_streams(model, streams)
        if self.config.top_quantile == 0:
            logits = all_logits = _logits(model, images)
            loss = cross_entropy(logits, targets).mean()
        else:
            all_logits, kept = self._gate(model, images, targets)
            number = torch.arange(streams, device=kept.device)[:, None].expand_as(kept)
            time.keep(batch.get("times", kept).flatten(), number.flatten(), length=length)
            logits = _logits(model, images[number, kept])
            keep_own(model)
            loss = cross_entropy(logits, targets[number, kept]).mean()
        if not ctx.log:
            return loss, {}
        return loss, {"accuracy": correct(all_logits, targets).float().mean()}

    def _compares(self, ctx: Context) -> bool:
        """Whether this step compares updates with true gradients: only logged steps may."""
        config = self.config
        return config.track_sim and ctx.log and (ctx.step + 1) % config.sim_every == 0

    def _gate(self, model: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of all items, and the times (S, m) of those with the largest losses."""
        config = self.config
        # `lending` keeps the statistics of the full stream for the pass that learns; otherwise
        # this pass must leave no trace in the running statistics.
        of_all = lending(model) if config.bn_from == "full" else batch_statistics(model)
        with torch.no_grad(), of_all:
            logits = _logits(model, images)
        losses = cross_entropy(logits, targets)
        return logits, largest(losses, config.kept_items, config.input_accumulation)

    def evaluate(self, model: nn.Module, source: StreamSource, ctx: Context) -> dict[str, float]:
        """Accuracy in [0, 1] and mean cross-entropy in nats over all items of `source`."""
        return accuracy(model, source, self.config.eval.batch_size)

    def scalars(self, model: nn.Module) -> dict[str, Tensor]:
        """Agreement of updates with true gradients, see `agreement`.

        On the retrograde timescale the last layer, whose update is exact, is left out.
        """
        return agreement(model, exact_last=self.config.timescale == "retrograde")

    def inference(self, model: nn.Module, spec: DataSpec) -> Inference:
        """Logits (N, K) of images (N, C, H, W), normalised as the sources serve them."""
        image = torch.zeros(2, *spec.fields["image"].shape)
        return Inference(lambda net, x: net(x), {"image": image}, ("logits",))

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """Agreement of updates with true gradients over training, if it was measured."""
        measured = (value for row in history for key, value in row.items() if key[:4] == "sim/")
        if any(value is not None for value in measured):
            yield report.similarity(history)

    def sample(
        self, model: nn.Module, data: Splits[StreamSource], ctx: Context
    ) -> Iterator[tuple[str, str, Figure]]:
        """Kernel, pairing matrix, a trace during a stream of images, and predictions."""
        yield report.kernels(self.config)
        yield report.pairing_matrix(self.config)
        draws = stream(ctx.seed, ctx.step, "sample", device=ctx.device)
        shown = data.train.take(data.train.plan(ctx.seed, 0)[0][:1], draws)
        yield report.trace(self.config, shown["image"][0])
        batch = next(iter(data.shown.batches(report.PICTURES)))
        yield report.predictions(self.config, batch["image"], batch["label"], model(batch["image"]))


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (S, B, K) of streams of images (S, B, C, H, W)."""
    logits: Tensor = model(images.flatten(0, 1))
    return logits.unflatten(0, images.shape[:2])


def task_of(config: Config) -> type[CetTask | ControlTask]:
    """The task of a config: image classification, or reinforcement learning."""
    return CetTask if config.control.environment is None else ControlTask
