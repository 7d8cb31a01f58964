"""Errors in pixels of positions read out of a model's rollouts over held-out episodes."""

# T frames, B batch, D code, K dots

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from weft.data.random import derive, stream
from weft.data.source import Batch
from weft.families.jepa.config import Config
from weft.families.jepa.data import probe_source
from weft.families.jepa.model import JepaModel, Model
from weft.families.jepa.score.planning import Planned, planned
from weft.families.jepa.score.probe import Pair, Readout, fit_adam, fit_closed_form, squared_errors
from weft.families.jepa.score.tuned import Tuned, tuned
from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.sets.shifts import SHIFTS, shifted
from weft.nn.norm import batch_statistics

POWERS = tuple(2**n for n in range(10))


@dataclass(frozen=True)
class Reading:
    """Evaluates a model's rollouts over some episodes.

    Attributes:
        config: of the run.
        model: in eval mode.
        source: the episodes, on the model's device.
    """

    config: Config
    model: Model
    source: DotsSource

    def metrics(self) -> dict[str, float]:
        """Errors in pixels.

        Every error is the root of a mean squared *Euclidean* distance, of x and y together.

        Returns:
            rmse_px: over all frames and dots.
            enc_rmse_px: of the encoder alone, on the first frame.
            dot_rmse_px_<k>: of dot k, counted from 1; only if there are three dots.
            step_rmse_px_<t>: of frame t = 0, 1, 2, 4, 8, …; of every frame if diagnostics=full.
            batch_norm_rmse_px: with batch statistics instead of running ones, as the original
                scores; only for `supervised`.
            mpc_…: of plans, see `Planned.metrics`; only with `probe.mpc`.
            shift_rmse_px_<factor>_<by>: with one factor of the scene changed; only with
                `probe.shifts`.
        """
        readout, first = self.readouts()
        metrics = self._errors(readout, first)
        if self.config.objective == "supervised":
            with batch_statistics(self.model):
                [errors], _ = self.squared_errors([readout], first)
            metrics["batch_norm_rmse_px"] = self.pixels(errors.mean())
        if self.config.probe.mpc:
            metrics |= self.planned(readout).metrics()
        if self.config.probe.shifts:
            for factor, sizes in SHIFTS.items():
                for by in sizes:
                    there = replace(self, source=shifted(self.source, factor, by))
                    [errors], _ = there.squared_errors([readout], first)
                    metrics[f"shift_rmse_px_{factor}_{by}"] = self.pixels(errors.mean())
        return metrics

    def planned(self, readout: Readout) -> Planned:
        """Episodes in which plans with the forward model steer the first dot towards a goal."""
        probe = self.config.probe
        steps = probe.mpc_steps or self.config.val_n_steps
        return planned(self.model, self.source, readout, probe, steps)

    def readouts(self) -> tuple[Readout, Readout | Tuned]:
        """Maps from codes to locations: for rollouts, and for the encoder's first code.

        They are fitted to episodes with the distribution of `source` that are not in it, and that
        are the same at every step of a run. Only `supervised` has its own trained maps.
        """
        probe = self.config.probe
        learnt = probe_source(self.config, self.source)
        if probe.kind == "closed_form":
            fixed = learnt.batches(self.config.probe_batch_size)
            every, first = fit_closed_form(self.pairs(fixed), probe.ridge, burnin=self.model.burnin)
        else:
            begun = self.model.burnin - 1
            rolled = ((c[begun:], p[begun:]) for c, p in self._fresh(learnt, probe.epochs))
            every = fit_adam(rolled, probe.lr, probe.prober_arch)
            starts = ((c[:1], p[:1]) for c, p in self._fresh(learnt, probe.epochs_enc))
            first = fit_adam(starts, probe.lr, probe.prober_arch)
        if self.config.objective != "supervised":
            return every, first
        if self.config.supervised.tune_encoder:
            fresh = self._episodes(learnt, probe.epochs_enc)
            return _trained_head(self.model), tuned(self.model, fresh, probe.lr)
        return _trained_head(self.model), first

    def squared_errors(
        self, readouts: Sequence[Readout], first: Readout | Tuned
    ) -> tuple[list[Tensor], Tensor]:
        """Mean squared Euclidean distances in normalised units.

        Returns: for each of `readouts` that of each frame of the rollout and dot, (T, K); and that
            of each dot, (K,), for `first` and the code of the first frame.
        """
        size = self.config.eval.batch_size
        known = [*readouts] if isinstance(first, Tuned) else [*readouts, first]
        rolled = squared_errors(known, self.pairs(self.source.batches(size)))
        if isinstance(first, Tuned):
            own = first.pairs(self.source.batches(size))
            rolled += squared_errors([first.probe], own)
        *rolled, of_first = rolled
        return [errors[self.model.burnin - 1 :] for errors in rolled], of_first[0]

    def pairs(self, batches: Iterable[Batch]) -> Iterator[Pair]:
        """Codes of all frames, which are true codes before the rollout begins, and locations."""
        for batch in batches:
            start = self.model.encode(batch["image"][:, : self.model.burnin])
            codes = self.model.rollout(start, batch["action"])
            yield torch.cat((start[:-1], codes)), batch["location"].transpose(0, 1)

    def pixels(self, squared: Tensor) -> float:
        """The root in pixels of a mean squared distance in normalised units."""
        return float(squared.sqrt()) * self.source.norm.location_scale

    def _errors(self, readout: Readout, first: Readout | Tuned) -> dict[str, float]:
        [errors], of_first = self.squared_errors([readout], first)
        metrics = {"rmse_px": self.pixels(errors.mean())}
        metrics["enc_rmse_px"] = self.pixels(of_first.mean())
        if errors.shape[1] > 1:
            for dot, error in enumerate(errors.mean(0), start=1):
                metrics[f"dot_rmse_px_{dot}"] = self.pixels(error)
        shown = range(len(errors)) if self.config.diagnostics == "full" else (0, *POWERS)
        for step in shown:
            if step < len(errors):
                metrics[f"step_rmse_px_{step}"] = self.pixels(errors[step].mean())
        return metrics

    def _fresh(self, learnt: DotsSource, epochs: int) -> Iterator[Pair]:
        """Codes and locations of `epochs` passes over new episodes."""
        return self.pairs(self._episodes(learnt, epochs))

    def _episodes(self, learnt: DotsSource, epochs: int) -> Iterator[Batch]:
        """Batches of `epochs` passes over new episodes, from the probe's own random stream."""
        seed = derive(self.config.seed, "probe")
        plans = (indices for epoch in range(epochs) for indices in learnt.plan(seed, epoch))
        for step, indices in enumerate(plans):
            yield learnt.take(indices, stream(seed, step, "episodes"))


def _trained_head(model: Model) -> Readout:
    """The read-out that was trained with the networks."""
    head = model.position_head if isinstance(model, JepaModel) else None
    assert head is not None, "the objective `supervised` has a term that needs it"
    return lambda codes: head(codes).float().unflatten(-1, (-1, 2))
