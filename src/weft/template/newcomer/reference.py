"""The mathematics in slow, literal form, which the tests compare the model with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .model import Curve

BENDS: dict[str, Callable[[float], float]] = {"tanh": math.tanh, "relu": lambda z: max(z, 0.0)}


def heights(model: Curve, x: Sequence[float], activation: str) -> list[float]:
    """y = c + sum over h of v_h f(w_h x + b_h), one point and one unit at a time."""
    bend = BENDS[activation]
    weights, biases = model.lines.weight.flatten().tolist(), model.lines.bias.tolist()
    mix, shift = model.mix.weight.flatten().tolist(), model.mix.bias.item()
    lines = list(zip(weights, biases, mix, strict=True))
    return [shift + sum(v * bend(w * at + b) for w, b, v in lines) for at in x]


def squared_error(predicted: Sequence[float], y: Sequence[float]) -> float:
    """Mean of (prediction - y)², point by point."""
    errors = [(p - t) ** 2 for p, t in zip(predicted, y, strict=True)]
    return sum(errors) / len(errors)
