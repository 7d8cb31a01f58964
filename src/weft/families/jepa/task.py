"""Trains a world model of moving dots and reads positions out of its rollouts."""

# T frames, B batch, D code, K dots

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weft.data.random import derive, stream
from weft.data.source import Batch, DataSpec, Splits
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec, load_splits, probe_source
from weft.families.jepa.figures import report
from weft.families.jepa.figures.preview import draw_frames
from weft.families.jepa.model import JepaModel, build_model
from weft.families.jepa.nets.rssm import RssmModel
from weft.families.jepa.objective import loss as objective
from weft.families.jepa.objective import time_first, weighted_sum
from weft.families.jepa.options.sections import Lars
from weft.families.jepa.score.diagnostics import diagnose
from weft.families.jepa.score.planning import carry_out, plan_actions
from weft.families.jepa.score.probe import Pair, Readout, fit_adam, fit_closed_form, squared_errors
from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.terms.rollout import Rollout
from weft.nn.norm import batch_statistics
from weft.task.context import Context
from weft.task.metric import Metric
from weft.task.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

Model = JepaModel | RssmModel
POWERS = tuple(2**n for n in range(10))
METRICS = tuple(
    Metric(name, "lower", "px", about)
    for name, about in {
        "rmse_px": "Error of positions read out of rollouts, over all frames and dots.",
        "enc_rmse_px": "Error of positions read out of the encoder's code of the first frame.",
        "dot_rmse_px_*": "Error of one dot, counted from 1, over all frames.",
        "step_rmse_px_*": "Error of one frame, counted from 0, over all dots.",
        "batch_norm_rmse_px": "Error under batch statistics, as the original scored.",
        "mpc_miss_px": "Distance between a goal and where the actions planned for it lead.",
    }.items()
)


class JepaTask(Task[Config, Model, DotsSource]):
    """Six objectives on moving dots, scored by the same read-out."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Errors of positions in pixels; that over all frames and dots selects."""
        return METRICS

    def spec(self) -> DataSpec:
        """Shapes and sizes, from headers only."""
        return data_spec(self.config)

    def data(self) -> Splits[DotsSource]:
        """Training episodes, and two fixed sets of episodes to score on."""
        return load_splits(self.config)

    def model(self, spec: DataSpec) -> Model:
        """Encoder, forward model and the heads of the objective."""
        return build_model(self.config, spec)

    def param_groups(self, model: Model) -> Iterable[Mapping[str, Any]]:
        """One group, whose rate grows with the batch under LARS and is 0 for `random`."""
        group: dict[str, Any] = {"params": [p for p in model.parameters() if p.requires_grad]}
        if self.config.objective == "random":
            group["lr"] = 0.0
        elif isinstance(self.config.optim, Lars):
            group["lr"] = self.config.optim.base_lr * self.config.batch_size / 256
        return [group]

    def loss(self, model: Model, batch: Batch, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective, its terms, and on logged steps what the codes look like.

        Args:
            model: made by `model`.
            batch: `image` (B, T, C, S, S), `action` (B, T - 1, 2), `location` (B, T, K, 2).
            ctx: where training stands.
        """
        config = self.config
        generator = ctx.generator("objective")
        if config.objective == "random":
            return objective(model, batch, config, generator)
        rollout: Rollout = model(batch["image"], batch["action"], generator)
        timed = time_first(batch, model.burnin - 1)
        total, terms = weighted_sum(rollout, timed, config, generator)
        if ctx.log and config.diagnostics != "off":
            terms |= diagnose(_codes(rollout), each_step=config.diagnostics == "full")
        return total, terms

    def evaluate(self, model: Model, source: DotsSource, ctx: Context) -> dict[str, float]:
        """Errors of the positions read out of rollouts over `source`, in pixels.

        Every error is the root of a mean squared *Euclidean* distance, x and y together.

        Returns:
            rmse_px: over all frames and dots.
            enc_rmse_px: of the encoder alone, on the first frame.
            dot_rmse_px_<k>: of dot k, counted from 1; only where there are three.
            step_rmse_px_<t>: of frame t = 0, 1, 2, 4, 8, …; of every frame if diagnostics=full.
            batch_norm_rmse_px: with batch statistics in place of running ones, as the original
                scored; only for `supervised`.
            mpc_miss_px: between the goal and where planned actions lead; only with `probe.mpc`.
        """
        readout, first = self.readouts(model, source)
        metrics = self._errors(readout, first, model, source)
        if self.config.objective == "supervised":
            with batch_statistics(model):
                [errors] = self.squared_errors([readout], model, source)
            metrics["batch_norm_rmse_px"] = _root(errors.mean(), source)
        if self.config.probe.mpc:
            metrics["mpc_miss_px"] = self._plan(readout, model, source)
        return metrics

    def readouts(self, model: Model, source: DotsSource) -> tuple[Readout, Readout]:
        """Maps from codes to locations: of rollouts, and of the encoder's first code.

        They learn from episodes like those of `source`, none of which are in it, and are the same
        at every step of a run. Only `supervised` brings its own.
        """
        probe = self.config.probe
        learnt = probe_source(self.config, source)
        if probe.kind == "closed_form":
            fixed = learnt.batches(self.config.probe_batch_size)
            every, first = fit_closed_form(self._pairs(model, fixed), probe.ridge)
        else:
            every = fit_adam(self._fresh(model, learnt, probe.epochs), probe.lr, probe.prober_arch)
            starts = ((c[:1], p[:1]) for c, p in self._fresh(model, learnt, probe.epochs_enc))
            first = fit_adam(starts, probe.lr, probe.prober_arch)
        if self.config.objective == "supervised":
            return _positions(model), first
        return every, first

    def squared_errors(
        self, readouts: Sequence[Readout], model: Model, source: DotsSource
    ) -> list[Tensor]:
        """Mean squared Euclidean distance of each frame and dot, (T, K), normalised units."""
        batches = source.batches(self.config.eval.batch_size)
        return squared_errors(readouts, self._pairs(model, batches))

    def _errors(
        self, readout: Readout, first: Readout, model: Model, source: DotsSource
    ) -> dict[str, float]:
        errors, of_first = self.squared_errors([readout, first], model, source)
        metrics = {"rmse_px": _root(errors.mean(), source)}
        metrics["enc_rmse_px"] = _root(of_first[0].mean(), source)
        if errors.shape[1] > 1:
            for dot, error in enumerate(errors.mean(0), start=1):
                metrics[f"dot_rmse_px_{dot}"] = _root(error, source)
        shown = range(len(errors)) if self.config.diagnostics == "full" else (0, *POWERS)
        for step in shown:
            if step < len(errors):
                metrics[f"step_rmse_px_{step}"] = _root(errors[step].mean(), source)
        return metrics

    def _pairs(self, model: Model, batches: Iterable[Batch]) -> Iterator[Pair]:
        """Codes of rollouts from the first frames, and the locations they should hold."""
        burnin = model.burnin
        for batch in batches:
            batch = _on(model, batch)
            codes = model.rollout(model.encode(batch["image"][:, :burnin]), batch["action"])
            yield codes, batch["location"][:, burnin - 1 :].transpose(0, 1)

    def _fresh(self, model: Model, learnt: DotsSource, epochs: int) -> Iterator[Pair]:
        """Pairs of `epochs` passes over fresh episodes, in a random stream of the probe's own."""
        seed = derive(self.config.seed, "probe")
        plans = (indices for epoch in range(epochs) for indices in learnt.plan(seed, epoch))
        batches = (
            learnt.take(indices, stream(seed, step, "episodes"))
            for step, indices in enumerate(plans)
        )
        return self._pairs(model, batches)

    def _plan(self, readout: Readout, model: Model, source: DotsSource) -> float:
        """Mean distance, in pixels, of goals from where the actions planned for them lead."""
        probe, scene, norm = self.config.probe, source.scene, source.norm
        batch = _on(model, next(source.batches(probe.mpc_episodes)))
        burnin = model.burnin
        start = model.encode(batch["image"][:, :burnin])
        seen = batch["action"][:, : burnin - 1]
        draws = torch.rand(len(seen), 2, generator=stream(0, 0, "goals")).to(seen.device)
        goal = scene.low + (scene.high - scene.low) * draws
        actions = plan_actions(
            lambda codes, planned: model.rollout(codes, torch.cat([seen, planned], dim=1)),
            readout,
            start,
            norm.location(goal),
            num_actions=self.config.val_n_steps,
            longest=scene.walks[0].max_step / norm.action_scale,
            iterations=probe.mpc_iterations,
            lr=probe.mpc_lr,
        )
        here = norm.pixels(batch["location"][:, burnin - 1, 0])
        path = carry_out(here, actions * norm.action_scale, scene.low, scene.high)
        return float((path[:, -1] - goal).norm(dim=-1).mean())

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """How the error of each frame fell over training."""
        yield from report.error_over_training(history)

    def sample(
        self, model: Model, data: Splits[DotsSource], ctx: Context
    ) -> Iterator[tuple[str, str, Figure | Sequence[Image]]]:
        """Rollouts beside the truth, as paths and as film, the error of each frame, and what the
        model learns from, as an animation."""
        source = data.shown
        readout, first = self.readouts(model, source)
        batch = _on(model, next(source.batches(report.EPISODES)))
        [(codes, location)] = self._pairs(model, [batch])
        episodes = report.Episodes(
            batch["image"][:, model.burnin - 1 :],
            source.norm.pixels(location.transpose(0, 1)),
            source.norm.pixels(readout(codes).transpose(0, 1)),
            source.scene.low,
            source.scene.high,
        )
        decoded = model(batch["image"], batch["action"], ctx.generator("sample")).pixels
        readers = (readout, first, _centre(source))
        errors, of_first, guess = self.squared_errors(readers, model, source)
        yield report.rollouts(episodes)
        yield report.film(episodes)
        yield report.error_over_time(
            [_root(error, source) for error in errors.mean(1)],
            _root(of_first[0].mean(), source),
            [_root(error, source) for error in guess.mean(1)],
        )
        if decoded is not None:
            yield report.reconstructions(episodes.image[0], decoded[:, 0])
        yield _preview(data.train)


def _codes(rollout: Rollout) -> dict[str, Tensor]:
    """The kinds of code a step has: projections only where there is a projector."""
    codes = {"e": rollout.e, "h": rollout.h}
    if rollout.z_e is not rollout.e:
        codes |= {"z_e": rollout.z_e, "z_h": rollout.z_h}
    return codes


def _on(model: nn.Module, batch: Batch) -> Batch:
    device = next(model.parameters()).device
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _root(squared: Tensor, source: DotsSource) -> float:
    """Root of a mean squared distance in normalised units, in pixels."""
    return float(squared.sqrt()) * source.norm.location_scale


def _positions(model: Model) -> Readout:
    """The read-out that was trained with the networks."""
    head = model.position_head if isinstance(model, JepaModel) else None
    assert head is not None, "the objective `supervised` has a term that needs it"
    return lambda codes: head(codes).float().unflatten(-1, (-1, 2))


def _centre(source: DotsSource) -> Readout:
    """Reads the centre of the scene, whatever the code."""
    scene = source.scene
    place = source.norm.location(torch.tensor((scene.low + scene.high) / 2)).item()
    return lambda codes: codes.new_full((*codes.shape[:2], scene.num_dots, 2), place)


def _preview(source: DotsSource) -> tuple[str, str, Sequence[Image]]:
    """A training episode, with positions and actions."""
    batch = source.episodes(source.plan(0, 0)[0][:1], stream(0, 0, "preview", device=source.device))
    frames = draw_frames(
        batch["image"][0],
        source.norm.pixels(batch["location"][0]),
        batch["action"][0] * source.norm.action_scale,
    )
    caption = (
        "What the model learns from: a training episode. Ring: a dot's position p; line: its next "
        "action a, in pixels, before walls stop it. Only dot 1's actions are told to the model."
    )
    return "episode", caption, frames
