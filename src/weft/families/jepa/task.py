"""Trains a world model of moving dots and reads positions out of its rollouts."""

# T frames, B batch, D code, K dots

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weft.data.source import Batch, DataSpec, Splits
from weft.errors import UsageError
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec, load_splits, scene_of
from weft.families.jepa.figures import report
from weft.families.jepa.figures.preview import training_episode
from weft.families.jepa.model import Model, build_model
from weft.families.jepa.nets.rssm import RssmModel
from weft.families.jepa.objective import loss as objective
from weft.families.jepa.objective import time_first, weighted_sum
from weft.families.jepa.options.sections import Lars
from weft.families.jepa.score.diagnostics import diagnose
from weft.families.jepa.score.guess import guess_px2
from weft.families.jepa.score.readout import Reading
from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.terms.rollout import Rollout
from weft.task.context import Context
from weft.task.inference import Inference
from weft.task.metric import Metric
from weft.task.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

METRICS = (
    *(
        Metric(name, "lower", "px", about)
        for name, about in {
            "rmse_px": "Error of positions read out of rollouts, over all frames and dots.",
            "enc_rmse_px": "Error of positions read out of the encoder's code of the first frame.",
            "dot_rmse_px_*": "Error of one dot, counted from 1, over all frames.",
            "step_rmse_px_*": "Error of one frame, counted from 0, over all dots.",
            "batch_norm_rmse_px": "Error under batch statistics, as the original scored.",
            "mpc_miss_px": "Distance between a goal and where the actions planned for it lead.",
            "mpc_still_px": "Distance between a goal and where planning for it starts.",
            "shift_rmse_px_*": "Error where one factor of the scene is not as in training.",
        }.items()
    ),
    Metric("mpc_success", "higher", "", "Share of plans that end within 1 px of their goal."),
    Metric("mpc_seconds", "lower", "s", "Time to plan an episode."),
)


class JepaTask(Task[Config, Model, DotsSource]):
    """Six objectives on moving dots, scored by the same read-out."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Errors of positions in pixels; the one over all frames and dots selects checkpoints."""
        return METRICS

    def spec(self) -> DataSpec:
        """Shapes and sizes of the data, read from file headers only."""
        return data_spec(self.config)

    def data(self) -> Splits[DotsSource]:
        """Training episodes, and two fixed sets of episodes to score on."""
        return load_splits(self.config)

    def model(self, spec: DataSpec) -> Model:
        """Encoder, forward model and the heads of the objective."""
        return build_model(self.config, spec)

    def param_groups(self, model: Model) -> Iterable[Mapping[str, Any]]:
        """One group; its rate is scaled by the batch size under LARS, and 0 for `random`."""
        group: dict[str, Any] = {"params": [p for p in model.parameters() if p.requires_grad]}
        if self.config.objective == "random":
            group["lr"] = 0.0
        elif isinstance(self.config.optim, Lars):
            group["lr"] = self.config.optim.base_lr * self.config.batch_size / 256
        return [group]

    def loss(self, model: Model, batch: Batch, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective, its terms, and on logged steps statistics of the codes.

        Args:
            model: made by `model`.
            batch: `image` (B, T, C, S, S), `action` (B, T - 1, 2), `location` (B, T, K, 2).
            ctx: the state of training.
        """
        config = self.config
        generator = ctx.generator("objective")
        if config.objective == "random":
            return objective(model, batch, config, generator)
        rollout: Rollout = model(batch["image"], batch["action"], generator)
        timed = time_first(batch, model.burnin - 1)
        total, terms = weighted_sum(rollout, timed, config, generator)
        if ctx.log and config.diagnostics != "off":
            terms |= diagnose(rollout.codes, each_step=config.diagnostics == "full")
        return total, terms

    def evaluate(self, model: Model, source: DotsSource, ctx: Context) -> dict[str, float]:
        """Errors of the positions read out of rollouts over `source`, in pixels: see
        `Reading.metrics`."""
        return Reading(self.config, model, source).metrics()

    def inference(self, model: Model, spec: DataSpec) -> Inference:
        """Codes (T, N, D) of images (N, T, C, S, S), and codes predicted from the first of them.

        The predictions (T, N, D) also depend on the actions (N, T - 1, 2), and begin at the last
        frame that the forward model reads.

        Raises:
            UsageError: for an RSSM whose rollouts are samples.
        """
        if isinstance(model, RssmModel) and model.compat:
            raise UsageError(
                "the rollouts of this model are random samples, not a function of its inputs",
                where="rssm.compat=true",
                expected="an RSSM trained with rssm.compat=false, or another objective",
            )

        def rolled(net: Model, image: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
            codes = net.encode(image)
            return codes, net.rollout(codes[: net.burnin], action)

        fields = spec.fields
        example = {name: torch.zeros(2, *fields[name].shape) for name in ("image", "action")}
        return Inference(rolled, example, ("codes", "rollout"))

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """The error of each frame over training."""
        scene = scene_of(self.config, self.config.val_num_frames)
        read = guess_px2(scene)[self.config.model.rnn_burnin - 1 :]
        guess = [math.sqrt(sum(frame) / len(frame)) for frame in read]
        yield from report.error_over_training(history, guess)

    def sample(
        self, model: Model, data: Splits[DotsSource], ctx: Context
    ) -> Iterator[tuple[str, str, Figure | Sequence[Image]]]:
        """Rollouts with the true positions, as paths and as frames; the error of each frame; and a
        training episode as an animation."""
        reading = Reading(self.config, model, data.shown)
        readout, first = reading.readouts()
        source = reading.source
        batch = next(source.batches(report.EPISODES))
        begun = model.burnin - 1
        [(codes, location)] = ((c[begun:], p[begun:]) for c, p in reading.pairs([batch]))
        episodes = report.Episodes(
            batch["image"][:, begun:],
            source.norm.pixels(location.transpose(0, 1)),
            source.norm.pixels(readout(codes).transpose(0, 1)),
            source.scene.low,
            source.scene.high,
        )
        decoded = model(batch["image"], batch["action"], ctx.generator("sample")).pixels
        [errors], of_first = reading.squared_errors([readout], first)
        guess = torch.tensor(guess_px2(source.scene)).mean(1).sqrt()[begun:]
        yield report.rollouts(episodes)
        yield report.film(episodes)
        yield report.error_over_time(
            [reading.pixels(error) for error in errors.mean(1)],
            reading.pixels(of_first.mean()),
            guess.tolist(),
        )
        if self.config.probe.mpc:
            scene = source.scene
            yield report.plans(reading.planned(readout), scene.low, scene.high)
        if decoded is not None:
            yield report.reconstructions(episodes.image[0], decoded[:, 0])
        yield training_episode(data.train)
