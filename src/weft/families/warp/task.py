"""Trains sequence models whose state is a network's weights, and scores their predictions."""

# N batch, T steps, d channels, L steps of context, D weights

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weft.data.source import Batch, Splits
from weft.errors import ConfigError, UsageError
from weft.families.warp.cell.outputs import Prediction
from weft.families.warp.cell.parts import head_of
from weft.families.warp.config import Config
from weft.families.warp.data import data_spec, load_splits
from weft.families.warp.figures import gallery, portrait
from weft.families.warp.model import Model, WarpModel, build_model
from weft.families.warp.objective import (
    classification,
    drawn_steps,
    forcing,
    grounding,
    prediction_loss,
    reconstruction,
    scored_steps,
    thinned,
)
from weft.families.warp.score.inference import asked, context_of, infer
from weft.families.warp.score.metrics import METRICS, without
from weft.families.warp.score.outline import outline
from weft.families.warp.score.scoring import score
from weft.families.warp.score.stability import largest_weight, radius_is_cheap, spectral_radius
from weft.families.warp.sets.source import SeriesSource, SeriesSpec
from weft.task.context import Context
from weft.task.inference import Inference
from weft.task.metric import Metric
from weft.task.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


class WarpTask(Task[Config, Model, SeriesSource]):
    """Completion, forecasting, classification and regression with weights as state."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics of the task; the one that the config names selects."""
        config = self.config
        others = [
            *["mse"] * config.reconstructs,
            *["bpd"] * (config.reconstructs and config.loss == "nll"),
            *["accuracy"] * config.classifies,
        ]
        leading = dict.fromkeys([config.criterion, *others])
        return (*(METRICS[name] for name in leading), *without(leading))

    def spec(self) -> SeriesSpec:
        """Shapes and sizes of the data, read from file headers only.

        Raises:
            ConfigError: if no step is left to learn or to score, or if the root's outputs do not
                match the target.
        """
        config, spec = self.config, data_spec(self.config)
        if config.traj_train_prop < min(1, 2 / spec.steps):
            raise ConfigError(
                f"a share of {config.traj_train_prop:g} of {spec.steps} steps leaves none to learn",
                where="traj_train_prop",
                expected=f"{2 / spec.steps:.2g} to 1",
            )
        if not config.reconstructs:
            return spec
        context = context_of(self.config, spec)
        if context >= spec.steps:
            fitting = f"1 to {spec.steps - 1}"
            raise ConfigError(
                f"{context} true steps are given of sequences that have {spec.steps}",
                where="grounding_length",
                expected=fitting if spec.steps > 1 else "sequences of two steps or more",
            )
        if spec.ragged and (config.read == "query" or config.train_strategy == "grounded"):
            raise ConfigError(
                "the context of these sequences ends at different steps, as they have lengths of "
                "their own",
                where="read" if config.read == "query" else "train_strategy",
                expected="sequences of equal length",
            )
        means = head_of(config, spec).channels
        if means != spec.outputs:
            raise ConfigError(
                f"the root predicts {means} channels, and the target has {spec.outputs}",
                where="root_output_dim",
                hint="leave it out: loss and data say how many outputs there must be",
            )
        return spec

    def data(self) -> Splits[SeriesSource]:
        """Training, validation and test sequences."""
        return load_splits(self.config)

    def model(self, spec: SeriesSpec) -> Model:
        """The weight-space model, or the configured baseline."""
        return build_model(self.config, spec)

    def param_groups(self, model: Model) -> Iterable[Mapping[str, Any]]:
        """Two groups: A's entries, whose rate is multiplied by `transition_lr`, and all others."""
        if not isinstance(model, WarpModel):
            return [{"params": list(model.parameters())}]
        share = self.config.transition_lr
        if share is None and self.config.optim.kind == "reference":
            share = 1.0
        return model.rnn.parameter_groups(float(self.config.optim.model_dump()["lr"]), share)

    def draw(self, batch: Batch, ctx: Context) -> Batch:
        """Draws the random choices of a step: kept steps, forcing, and steps of the loss.

        Args:
            batch: `x` (N, T, d), and if needed `target` (N, T, d'), `label`, `length` (N,).
            ctx: its streams `coin`, `noise`, `input_noise`, `loss_steps` and `kept_steps` are
                independent of each other.
        Returns: the batch at T' kept steps, and if needed `position` (N, T'), their positions on
            the clock; `force` (N, T'), share of the truth; `sample` (N, T', d); `loss_steps`
            (N, n), counted from the first step of the loss; `counted` (N,), the number of steps
            without padding in the mean of the loss; x includes `input_noise`.
        """
        config, device = self.config, ctx.device
        batch, position = thinned(batch, config.traj_train_prop, ctx.generator("kept_steps"))
        x, drawn = batch["x"], dict(batch)
        shape = (x.shape[0], x.shape[1])
        if config.input_noise:
            if config.reconstructs:
                drawn.setdefault("target", x)
            noise = torch.randn(x.shape, generator=ctx.generator("input_noise"), device=device)
            drawn["x"] = x + config.input_noise * noise
        if position is not None:
            drawn["position"] = position.expand(shape)
        given = self._apart
        if config.feeds_back and config.train_strategy == "grounded":
            drawn["force"] = grounding(x, given)
        elif config.feeds_back:
            coin = ctx.generator("coin") if config.train_strategy == "flip_coin" else None
            drawn["force"] = forcing(
                config.train_strategy, config.forcing_prob, ctx.progress, shape, coin, device
            )
        if config.stochastic:
            draws = ctx.generator("noise")
            drawn["sample"] = torch.randn(x.shape, generator=draws, device=device)
        if config.reconstructs:
            scored = (shape[0], shape[1] - max(given, config.target == "next"))
            draws = ctx.generator("loss_steps")
            steps = drawn_steps(scored, config.nb_recons_loss_steps, draws, device)
            if steps is not None:
                drawn["loss_steps"] = steps
            if "length" in batch:
                valid = scored_steps(batch["length"], scored[1], shape[1], steps)
                drawn["counted"] = valid.sum().clamp_min(1).expand(shape[0])
        return drawn

    def loss(self, model: Model, batch: Batch, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction loss over (drawn) steps, cross-entropy of the last step, or both.

        Args:
            model: made by `model`.
            batch: a result of `draw`, or a part of it.
            ctx: the state of training.
        """
        config = self.config
        terms: dict[str, Tensor] = {}
        if config.read == "query":
            predicted, terms["reconstruction"] = self._query(model, batch)
        else:
            position = batch.get("position")
            predicted = model(
                batch["x"],
                force=batch.get("force"),
                sample=batch.get("sample"),
                length=batch.get("length"),
                position=None if position is None else position[0],
                last=not config.reconstructs,
            )
            if config.reconstructs:
                counted = batch.get("counted")
                terms["reconstruction"] = prediction_loss(
                    predicted,
                    batch,
                    config.target,
                    batch.get("loss_steps"),
                    None if counted is None else counted[0] / ctx.parts,
                    self._apart,
                )
        if predicted.logits is not None:
            logits = predicted.logits[:, -1]
            terms["cross_entropy"] = classification(logits, batch["label"])
            if ctx.log:
                right = logits.argmax(-1) == batch["label"]
                terms["accuracy"] = right.float().mean()
        if ctx.log and isinstance(model, WarpModel):
            terms["max_theta"] = largest_weight(predicted.theta)
        return self._total(terms), terms

    def _query(self, model: Model, batch: Batch) -> tuple[Prediction, Tensor]:
        """Predictions at the positions of the loss, which are after the context, and the loss."""
        given, target = self._apart, batch.get("target", batch["x"])
        place = torch.arange(given, target.shape[1], device=target.device)
        if "loss_steps" in batch:
            place = place[batch["loss_steps"]]
        config = self.config
        predicted = asked(model, batch, self._read, place, config.relative_period, config.patch)
        assert predicted.mean is not None
        if place.dim() == 1:
            truth = target[:, given:]
        else:
            truth = target.gather(1, place.unsqueeze(-1).expand(-1, -1, target.shape[-1]))
        return predicted, reconstruction(predicted.mean, predicted.std, truth)

    @cached_property
    def _apart(self) -> int:
        """Number of given steps, if the loss has only the steps after them; else 0."""
        config = self.config
        grounded = config.feeds_back and config.train_strategy == "grounded"
        apart = grounded or config.read == "query"
        return context_of(config, self.spec()) if apart else 0

    @cached_property
    def _read(self) -> int:
        """Number of steps that a query reads; 0 for all, if the input is not the target."""
        return 0 if "target" in self.spec().fields else self._apart

    def _total(self, terms: dict[str, Tensor]) -> Tensor:
        if not self.config.reconstructs:
            return terms["cross_entropy"]
        if not self.config.classifies:
            return terms["reconstruction"]
        return terms["reconstruction"] + self.config.cross_entropy_weight * terms["cross_entropy"]

    def evaluate(self, model: Model, source: SeriesSource, ctx: Context) -> dict[str, float]:
        """Metrics over `source`; those of predictions are over the steps from L on.

        Returns: the metrics of `score`, and the `spectral_radius` of A if it is cheap.
        """
        metrics = score(self.config, self.spec(), model, source, ctx)
        if isinstance(model, WarpModel) and radius_is_cheap(model.rnn):
            metrics["spectral_radius"] = spectral_radius(model.rnn)
        return metrics

    def inference(self, model: Model, spec: SeriesSpec) -> Inference:
        """Predictions for sequences (N, T, d), of which only the given steps are read.

        The outputs are those that the run's task has: means (N, T, c), standard deviations, and
        logits (N, K).

        Raises:
            UsageError: for sequences of different lengths.
        """
        if spec.ragged:
            raise UsageError(
                "the lengths of these sequences differ, and an exported program takes only one",
                where="data.dataset",
                expected="a run on sequences of equal length",
            )
        config, context = self.config, context_of(self.config, spec)
        if config.stochastic and not config.smooth_inference:
            raise UsageError(
                "this model feeds samples of its predictions back",
                where="stochastic=true, smooth_inference=false",
                expected="a model that feeds back means",
            )

        def told(net: Model, x: Tensor) -> tuple[Tensor, ...]:
            found = infer(config, spec, net, {"x": x}, context)
            return tuple(part for part in found[:3] if part is not None)

        x = torch.zeros(2, *spec.fields["x"].shape)
        with torch.no_grad():
            there = infer(config, spec, model, {"x": x}, context)
        names = ("mean", "std", "logits")
        return Inference(told, {"x": x}, tuple(n for n in names if getattr(there, n) is not None))

    def notes(self, model: Model, spec: SeriesSpec) -> list[str]:
        """Cautions on the results, and for a weight-space model its parts and forms."""
        config, lines = self.config, list(self.config.cautions)
        if not isinstance(model, WarpModel):
            return lines
        return [*lines, *outline(model.rnn, config, spec)]

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """Stability of the recurrence: the largest weight and the spectral radius of A."""
        yield from portrait.stability(history)

    def sample(
        self, model: Model, data: Splits[SeriesSource], ctx: Context
    ) -> Iterator[tuple[str, str, Figure | Sequence[Image]]]:
        """Completions or classes over time, errors by step and context, A, B, trajectories of the
        weights, and the root's outputs between and during the steps."""
        yield from gallery.pictures(self.config, self.spec(), model, data.shown, ctx)
