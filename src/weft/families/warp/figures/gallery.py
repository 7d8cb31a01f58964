"""What `weft sample` draws of a trained model: predictions, recurrence, paths of its weights."""

# N sequences, T steps, d channels, D weights

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weft.data.source import Batch
from weft.families.warp.baselines.direct import Direct
from weft.families.warp.cell.outputs import Prediction
from weft.families.warp.cell.root import MlpRoot
from weft.families.warp.config import Config
from weft.families.warp.figures import canvas, film, portrait, report
from weft.families.warp.model import WarpModel
from weft.families.warp.score.inference import context_of, infer, mode_of, patched
from weft.families.warp.score.scoring import score
from weft.families.warp.score.stability import trajectory
from weft.families.warp.sets.source import SeriesSource, SeriesSpec
from weft.plots.images import spread
from weft.task.context import Context

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

Picture = tuple[str, str, "Figure | Sequence[Image]"]

SCORED = 256
"""Sequences that errors by step and by context are taken over."""
CONTEXTS = (0.1, 0.25, 0.5, 0.75, 0.9)
LONGEST = 2048
"""Sequences of more steps have no weight paths drawn: the loop that keeps all weights is slow."""
FINER = 8
"""Places read between two steps."""


@dataclass(frozen=True)
class Scene:
    """What all pictures are drawn from."""

    config: Config
    spec: SeriesSpec
    model: nn.Module
    source: SeriesSource
    ctx: Context

    def batch(self, size: int) -> Batch:
        """The first `size` sequences."""
        return next(self.source.batches(size))

    @property
    def context(self) -> int:
        """Steps given."""
        return context_of(self.config, self.spec)

    def truth(self, batch: Batch) -> Tensor:
        """What is predicted, (N, T, d)."""
        return batch.get("target", batch["x"])

    def predict(self, batch: Batch, context: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Mean and deviation of each step's target, (N, T, d).

        Args:
            context: steps given of each sequence, (N,); the run's own L if None.
        """
        draws = self.ctx.generator("sample")
        steps = self.context if context is None else context
        predicted = infer(self.config, self.spec, self.model, batch, steps, draws)
        assert predicted.mean is not None
        if self.config.target == "same":
            return predicted.mean, predicted.std
        # Nothing predicts the first step; it is given.
        mean = torch.cat([self.truth(batch)[:, :1], predicted.mean[:, :-1]], 1)
        std = predicted.std
        return mean, None if std is None else torch.cat([std[:, :1], std[:, :-1]], 1)

    def read(self, batch: Batch) -> Tensor | None:
        """Forcing under which the model reads a whole sequence: the truth, or a free run."""
        if not self.config.feeds_back:
            return None
        return torch.ones(batch["x"].shape[:2], device=batch["x"].device)


def pictures(
    config: Config, spec: SeriesSpec, model: nn.Module, source: SeriesSource, ctx: Context
) -> Iterator[Picture]:
    """All pictures that fit the task and the model."""
    scene = Scene(config, spec, model, source, ctx)
    if config.reconstructs:
        yield from _predictions(scene)
    if config.classifies:
        yield _classes(scene)
    if isinstance(model, WarpModel):
        yield from _recurrence(model)
        if spec.steps <= LONGEST:
            yield from _weights(scene, model)


def _predictions(scene: Scene) -> Iterator[Picture]:
    spec, batch = scene.spec, scene.batch(canvas.PICTURES)
    mean, std = scene.predict(batch)
    start = spec.steps - batch["length"] if "length" in batch else None
    forecast = report.Forecast(scene.truth(batch), mean, std, scene.context, start)
    if spec.canvas is not None:
        yield canvas.pictures(forecast, spec.canvas, _black(scene))
    else:
        yield report.series(forecast)
    yield _errors(scene)
    # Where input and target differ, the problem itself says what is given.
    open_ended = mode_of(scene.config, spec) in ("feedback", "query")
    if open_ended and "target" not in spec.fields and not isinstance(scene.model, Direct):
        yield _contexts(scene)
        if spec.steps <= LONGEST:
            yield _film(scene)


def _errors(scene: Scene) -> Picture:
    batch = scene.batch(SCORED)
    truth = scene.truth(batch)
    mean, _ = scene.predict(batch)
    context = scene.context
    repeated = None
    if context and "length" not in batch:
        last = truth[:, context - 1 : context].expand_as(truth)
        repeated = _rms(last - truth)
    return report.error_by_step(_rms(mean - truth), context, repeated)


def _rms(errors: Tensor) -> Tensor:
    return errors.square().mean((0, 2)).sqrt()


def _contexts(scene: Scene) -> Picture:
    steps = scene.spec.steps
    lengths = sorted({max(1, min(steps - 1, round(share * steps))) for share in CONTEXTS})
    few = replace(
        scene.source, fields={name: v[:SCORED] for name, v in scene.source.fields.items()}
    )
    rows = [
        score(scene.config, scene.spec, scene.model, few, scene.ctx, length) for length in lengths
    ]
    return report.by_context(lengths, rows, len(few))


def _classes(scene: Scene) -> Picture:
    steps = scene.spec.steps
    batch = scene.batch(SCORED if steps <= LONGEST else canvas.PICTURES)
    predicted: Prediction = scene.model(
        batch["x"], force=scene.read(batch), length=batch.get("length")
    )
    assert predicted.logits is not None
    label = batch["label"]
    accuracy = (predicted.logits.argmax(-1) == label[:, None]).float().mean(0)
    few = _one_of_each(label, 4)
    return report.classes_over_time(predicted.logits[few].softmax(-1), label[few], accuracy)


def _one_of_each(label: Tensor, wanted: int) -> list[int]:
    """Places of sequences of different classes, as far as there are any."""
    firsts: dict[int, int] = {}
    for place, value in enumerate(label.tolist()):
        firsts.setdefault(value, place)
    others = [place for place in range(len(label)) if place not in firsts.values()]
    return sorted([*sorted(firsts.values())[:wanted], *others][:wanted])


def _recurrence(model: WarpModel) -> Iterator[Picture]:
    layers = model.rnn.layers
    for number, layer in enumerate(layers):
        root = layer.root
        ends = [each.stop for each in root.layers] if isinstance(root, MlpRoot) else [root.size]
        pair = portrait.transition(layer.transition.dense()), portrait.drive(layer.B, ends)
        for name, caption, figure in pair:
            yield (f"{name}_{number + 1}" if len(layers) > 1 else name), caption, figure


def _weights(scene: Scene, model: WarpModel) -> Iterator[Picture]:
    batch = scene.batch(canvas.PICTURES)
    steps, length = batch["x"].shape[1], batch.get("length")
    read = patched(batch["x"], scene.config.patch or 1)
    theta = trajectory(model.rnn, read, force=scene.read(batch), length=length)[-1]
    start = None if length is None else steps - length
    label = batch["label"] if scene.config.classifies else None
    yield portrait.weight_paths(theta, label, start)
    rule, config = model.rnn.layers[-1].rule, scene.config
    if config.reconstructs and not rule.input_prev_data:
        yield _held(scene, model, batch, theta[:, -1])


def _held(scene: Scene, model: WarpModel, batch: Batch, theta: Tensor) -> Picture:
    size, truth = scene.spec.canvas, scene.truth(batch)
    recalled = _mean(model.recall(theta, batch["x"]))
    if size is None:
        place = torch.arange(FINER * (truth.shape[1] - 1) + 1, device=theta.device) / FINER
        return report.between_steps(truth, _mean(model.query(theta, place)), FINER)
    finer = None
    if model.rnn.clock.picture is not None:
        rows, columns = (4 * side for side in size)
        finer = _mean(model.picture(theta, rows, columns)), (rows, columns)
    return canvas.held_pictures(truth, recalled, size, _black(scene), finer)


def _film(scene: Scene) -> Picture:
    """Forecasts from every length of context; all moments run as one batch."""
    size = scene.spec.canvas
    batch = scene.batch(canvas.PICTURES if size is not None else 1)
    truth = scene.truth(batch)
    given = [place + 1 for place in spread(truth.shape[1] - 1, film.FRAMES)]
    moments = {
        name: values.repeat(len(given), *[1] * (values.dim() - 1)) for name, values in batch.items()
    }
    contexts = torch.tensor(given, device=truth.device).repeat_interleave(len(truth))
    mean, std = (
        None if values is None else values.view(len(given), *truth.shape)
        for values in scene.predict(moments, contexts)
    )
    assert mean is not None
    if size is None:
        deviation = None if std is None else std[:, 0]
        frames = film.curve_frames(truth[0], mean[:, 0], deviation, given)
    else:
        later = torch.arange(truth.shape[1], device=truth.device)
        known = later[None, :] < torch.tensor(given, device=truth.device)[:, None]
        rows = {"completed": torch.where(known[:, None, :, None], truth, mean)}
        frames = film.pixel_frames(truth, rows, given, size, _black(scene))
    caption = "What the model makes of the rest of a held-out sequence as more of it is given."
    return "film", caption, frames


def _mean(predicted: Prediction) -> Tensor:
    assert predicted.mean is not None
    return predicted.mean


def _black(scene: Scene) -> float:
    return 0.0 if scene.config.unit_normalise else -1.0
