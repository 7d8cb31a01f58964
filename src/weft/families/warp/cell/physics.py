"""Roots that are formulas: a sine, a mass on a damped spring, any oscillator, a user's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import entry_points

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.config.explain import suggest
from weft.errors import ConfigError
from weft.families.warp.cell.formula import FormulaRoot, Law
from weft.families.warp.cell.oscillator import oscillator
from weft.families.warp.cell.root import MlpRoot

PREFIX = "physics:"
ENTRY_POINTS = "weft.warp.roots"


def sine(width: int, depth: int, nonlinearity: str) -> Law:
    """out = sin(2 pi tau + phase) with phase = MLP_theta(tau), one channel."""
    network = MlpRoot(1, 1, width, depth, nonlinearity)

    def formula(theta: Tensor, tau: Tensor, x: Tensor) -> Tensor:
        return torch.sin(2 * math.pi * tau + network(theta, tau))

    return Law(formula, network.size, 1, network.fresh, network.flops)


# Mass, stiffness and damping at raw weights of 0: inside the training ranges of the `msd` set.
SCALES = (0.03, 10.0, 0.1)
_ONE = math.log(math.e - 1)  # softplus(_ONE) = 1
_REACH = 4.0


def msd(width: int, depth: int, nonlinearity: str, *, free: bool = False) -> Law:
    """Position and velocity at time tau of a mass on a damped spring that starts at (1, 0).

    (m, k, c) = (.03, 10, .1) * softplus(4 tanh(MLP_theta(tau) / 4) + log(e - 1)): a raw value of 0
    is the middle of the data's ranges, a unit means the same for each, and none leaves .03 to 4.6
    times its middle, so that no motion fed back can run away. The network's last layer starts at
    zero. Beside the three numbers it reads out, the weights hold what the recurrence
    must remember to find them: a linear map of three numbers alone could not.

    Args:
        width, depth, nonlinearity: of the network.
        free: whether it also gives the start: (1, 0) plus two more numbers.
    """
    network = MlpRoot(1, 5 if free else 3, width, depth, nonlinearity)

    def formula(theta: Tensor, tau: Tensor, x: Tensor) -> Tensor:
        raw = network(theta, tau)
        m, k, c = mass_spring_damper(raw[..., :3])
        start = (1 + raw[..., 3], raw[..., 4]) if free else (1.0, 0.0)
        return motion(k / m, c / (2 * m), tau[..., 0], start)

    def fresh(generator: torch.Generator | None) -> Tensor:
        theta = network.fresh(generator)
        theta[network.layers[-1].start :] = 0
        return theta

    return Law(formula, network.size, 2, fresh, network.flops + 60)


def mass_spring_damper(theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mass, stiffness and damping that raw values (..., 3) stand for, each (...) and > 0."""
    sizes = F.softplus(_REACH * torch.tanh(theta / _REACH) + _ONE).unbind(-1)
    # By numbers, not by a tensor of them: a recorded step may copy nothing to a device.
    m, k, c = (size * scale for size, scale in zip(sizes, SCALES, strict=True))
    return m, k, c


def motion(
    stiffness: Tensor,
    damping: Tensor,
    tau: Tensor,
    start: tuple[float | Tensor, float | Tensor] = (1.0, 0.0),
) -> Tensor:
    """Solution of x' = v, v' = -w x - 2 g v at time tau, exactly: exp(tau [[0, 1], [-w, -2g]]) y0.

        x = x0 (C + g S) + v0 S          C = exp(-g tau) cosh(r tau)     r = sqrt(g^2 - w)
        v = v0 (C - g S) - w x0 S        S = exp(-g tau) sinh(r tau) / r

    with cos and sin below critical damping. No exponent is positive, and values and gradients are
    finite at critical damping, where both branches are replaced by their common series.

    Args:
        stiffness: w = k / m > 0, shape (...).
        damping: g = c / (2 m) > 0, shape (...).
        tau: time >= 0, shape (...).
        start: x0 and v0, numbers or of shape (...).
    Returns: (x, v), shape (..., 2).
    """
    w, g = stiffness, damping
    q = (g * g - w) * tau * tau
    c, s = _damped(q, g * tau, w * tau * tau)
    s = tau * s
    x0, v0 = start
    x = x0 * (c + g * s) + v0 * s
    v = v0 * (c - g * s) - w * x0 * s
    return torch.stack([x, v], dim=-1)


def _damped(q: Tensor, decay: Tensor, spring: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-decay) cosh(sqrt q) and exp(-decay) sinh(sqrt q) / sqrt q, for q of either sign.

    Args:
        q: decay^2 - spring.
        decay: g tau >= 0.
        spring: w tau^2 >= 0.
    """
    near, over = q.abs() < 1e-2, q > 0
    # Each branch sees only arguments at which its value and slope are finite; `where` drops it
    # elsewhere.
    safe = torch.where(near, 1.0, q)
    rise = torch.where(over, safe, 1.0).sqrt()
    turn = torch.where(over, 1.0, -safe).clamp_min(1e-2).sqrt()
    # sqrt(q) - decay without cancellation, and without a positive exponent.
    grown = torch.exp(-torch.where(over, spring / (rise + decay), 0.0))
    shrunk = torch.exp(-2 * rise)
    envelope = torch.exp(-decay)
    c = torch.where(over, grown * (1 + shrunk) / 2, envelope * turn.cos())
    s = torch.where(
        over, -grown * torch.expm1(-2 * rise) / (2 * rise), envelope * turn.sin() / turn
    )
    flat = torch.where(near, q, 0.0)
    c = torch.where(near, envelope * _series(flat, (1, 2, 24, 720, 40320, 3628800)), c)
    s = torch.where(near, envelope * _series(flat, (1, 6, 120, 5040, 362880, 39916800)), s)
    return c, s


def _series(q: Tensor, denominators: Sequence[int]) -> Tensor:
    """sum_n q^n / denominators[n], by Horner's rule."""
    total = torch.zeros_like(q)
    for denominator in reversed(denominators):
        total = total * q + 1 / denominator
    return total


BUILT_IN: dict[str, Callable[[int, int, str], Law]] = {
    "sine": sine,
    "msd": msd,
    "msd-start": partial(msd, free=True),
    "oscillator": lambda width, depth, nonlinearity: oscillator(),
}
_OWN: dict[str, Law] = {}


def register_root(name: str, law: Law) -> None:
    """Makes `root: physics:<name>` mean `law` in this process.

    A package that names its laws under the entry point group `weft.warp.roots` needs no call: they
    are found in every process, by `weft resume` and `weft sample` too.

    Raises:
        ConfigError: if the name is taken.
    """
    if name in BUILT_IN or _OWN.get(name, law) is not law:
        raise ConfigError(f"there is already a root `{PREFIX}{name}`", where="root")
    _OWN[name] = law


def physics_root(
    name: str,
    inputs: int,
    channels: int,
    deviations: int,
    width: int,
    depth: int,
    nonlinearity: str,
) -> FormulaRoot:
    """The root that the config calls `physics:<name>`.

    Args:
        name: with or without the prefix `physics:`.
        inputs, channels, deviations: as for `FormulaRoot`.
        width, depth, nonlinearity: of the network inside the law, if it has one.

    Raises:
        ConfigError: if there is no such law.
    """
    name = name.removeprefix(PREFIX)
    if name in BUILT_IN:
        law = BUILT_IN[name](width, depth, nonlinearity)
    elif name in _OWN:
        law = _OWN[name]
    else:
        law = _plugged(name)
    return FormulaRoot(law, inputs, channels, deviations)


def _plugged(name: str) -> Law:
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in points:
        law: Law = points[name].load()
        return law
    known = [*BUILT_IN, *_OWN, *points]
    raise ConfigError(
        f"there is no root `{PREFIX}{name}`",
        where="root",
        expected=f"one of mlp, {', '.join(PREFIX + each for each in known)}",
        hint=suggest(name, known, "")
        or "register your own with weft.families.warp.cell.physics.register_root",
    )
