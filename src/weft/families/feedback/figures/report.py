"""Figures of feedback: the bound over training and by noise level, deltas, generated texts."""

# L blocks, Z adapted matrices of a block, K noise levels

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weft.plots.axes import label_axes
from weft.plots.images import Named

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = {"adapted": "loss", "base": "base_loss", "shuffled": "shuffled_loss"}
STYLES = {"adapted": ("C0", "-"), "base": ("0.45", "--"), "shuffled": ("C1", ":")}
LABELS = {"adapted": "model", "base": "base", "shuffled": "another input's deltas"}


@dataclass(frozen=True)
class Story:
    """A text, and its completions.

    Attributes:
        context: the given beginning.
        truth: the true continuation.
        endings: form of the model -> its continuation.
    """

    context: str
    truth: str
    endings: Mapping[str, str]


def bound_over_training(history: Sequence[Mapping[str, Any]]) -> Iterator[Named]:
    """The held-out bound of the adapted model and of its base; nothing without a base."""
    from matplotlib.figure import Figure

    for split in ("val", "test"):
        rows = [row for row in history if f"{split}/base_loss" in row]
        if not rows:
            continue
        figure = Figure(figsize=(6.8, 3.4), layout="constrained")
        axes = figure.add_subplot()
        steps = [row["step"] for row in rows]
        for form, key in METRICS.items():
            if f"{split}/{key}" in rows[-1]:
                _line(axes, steps, [row[f"{split}/{key}"] for row in rows], form)
        label_axes(axes, "Bound on held-out text", "step", "nats a token")
        axes.legend(loc="upper right")
        caption = (
            "NELBO a real token, always under the same masks. Base: the feedforward model before "
            "adaptation. Another input's deltas: each text read with the weights written for "
            "another; what lies between that line and the model's depends on the input."
        )
        yield "bound", caption, figure


def by_level(nats: Mapping[str, Sequence[float]], hits: Mapping[str, Sequence[float]]) -> Named:
    """Cross-entropy and accuracy at masked positions, by noise level.

    Args:
        nats: form of the model -> nats per masked token at each of K levels.
        hits: form of the model -> share of masked tokens whose likeliest id is correct, likewise.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    for axes, values, quantity in zip(
        figure.subplots(1, 2), (nats, hits), ("nats a masked token", "accuracy"), strict=True
    ):
        for form, line in values.items():
            _line(axes, [(level + 0.5) / len(line) for level in range(len(line))], line, form)
        label_axes(axes, "", "noise time t", quantity)
        axes.set_xlim(0, 1)
    figure.axes[0].legend(loc="best")
    caption = (
        "What is known of a hidden token, by how much else is hidden: at time t about a share t "
        "of the tokens is [MASK]. Left: cross-entropy; right: how often the likeliest id is right."
    )
    return "levels", caption, figure


def delta_sizes(relative: Tensor, varying: Tensor, names: Sequence[str]) -> Named:
    """Sizes of deltas, and the part of them that depends on the input.

    Args:
        relative: Frobenius norm of the mean delta over that of the weight, (L, Z).
        varying: share of the deltas' mean squared norm that is variance between inputs, in [0, 1],
            (L, Z).
        names: of the Z matrices.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 0.34 * len(relative) + 1.9), layout="constrained")
    titles = ("size of the mean delta / weight", "share that differs between inputs")
    for axes, values, title, top in zip(
        figure.subplots(1, 2), (relative, varying), titles, (None, 1.0), strict=True
    ):
        _heat(axes, values, names, top)
        axes.set_title(title, fontsize=9)
    caption = (
        "Deltas over some held-out texts. Left: Frobenius norm of their mean, relative to the "
        "weight they are added to. Right: squared distance from that mean as a share of the "
        "squared norm; 0 means that every input gets the same delta."
    )
    return "deltas", caption, figure


def texts(stories: Sequence[Story]) -> tuple[str, str, str]:
    """Beginnings of texts, their true continuations and the generated ones, as a text file."""
    parts = []
    for story in stories:
        endings = {LABELS[form]: ending for form, ending in story.endings.items()}
        named = {"given": story.context, "true": story.truth, **endings}
        parts.append("\n".join(f"[{name}]\n{text.strip()}\n" for name, text in named.items()))
    caption = (
        "Held-out chunks: the given beginning, how they really go on, and what the model makes of "
        "the same number of tokens, unmasked in a few steps, the surest first."
    )
    return "texts", caption, f"\n{'-' * 40}\n\n".join(parts)


def lines(story: Story) -> Iterator[str]:
    """Lines for the log, one for each part of a text, with line feeds escaped."""
    named = {"given": story.context} | {LABELS[form]: text for form, text in story.endings.items()}
    for name, text in named.items():
        yield f"  {name}: {text.strip()}".replace("\n", "\\n")


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], form: str) -> None:
    color, style = STYLES[form]
    axes.plot(x, y, style, color=color, marker="o", markersize=3, label=LABELS[form])


def _heat(axes: Axes, values: Tensor, names: Sequence[str], top: float | None) -> None:
    picture = axes.imshow(values.numpy(), cmap="Blues", vmin=0, vmax=top, aspect="auto")
    half = (top or float(values.max())) / 2
    for (block, matrix), value in zip(
        torch.cartesian_prod(*map(torch.arange, values.shape)).tolist(),
        values.flatten().tolist(),
        strict=True,
    ):
        color = "w" if value > half else "0.2"
        axes.text(matrix, block, f"{value:.2g}", color=color, ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(values)), [str(block) for block in range(len(values))])
    axes.set_ylabel("block")
    axes.grid(visible=False)
    axes.figure.colorbar(picture, ax=axes)
