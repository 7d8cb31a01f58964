"""Transitions: each shape of A against the dense matrix it stands for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from weft.errors import ConfigError
from weft.families.warp import reference
from weft.families.warp.cell.clock import Clock
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.recurrence_rule import Rule
from weft.families.warp.cell.root import MlpRoot
from weft.families.warp.cell.span import Span
from weft.families.warp.options.transitions import KINDS, TransitionKind
from weft.families.warp.rnn import WeightSpaceRNN
from weft.families.warp.transition.base import Transition
from weft.families.warp.transition.build import build_transition
from weft.families.warp.transition.diag import DiagonalPower

SIZE = 7
SQUARE = ["full", "diag", "block:3", "block:100", "lowrank:2"]
SPELT = [*SQUARE, "cdiag", "modal:7"]
TIGHT = {"rtol": 1e-12, "atol": 1e-12}


def _random(kind: str) -> Transition:
    torch.manual_seed(0)
    transition = build_transition(kind, SIZE).double()
    with torch.no_grad():
        for parameter in transition.parameters():
            parameter.normal_(std=0.3)
    return transition


@pytest.mark.parametrize("kind", SQUARE)
def test_a_new_transition_is_the_identity_exactly(kind: str) -> None:
    assert torch.equal(build_transition(kind, SIZE).dense(), torch.eye(SIZE))


@pytest.mark.parametrize("kind", SPELT)
def test_products_are_those_of_the_dense_matrix(kind: str) -> None:
    transition, rows = _random(kind), torch.randn(4, 3, SIZE, dtype=torch.float64)
    dense = transition.dense()
    torch.testing.assert_close(transition(rows), rows @ dense.mT, **TIGHT)
    torch.testing.assert_close(transition.transpose(rows), rows @ dense, **TIGHT)


@pytest.mark.parametrize("kind", SPELT)
def test_gradients_are_those_of_autograd(kind: str) -> None:
    transition = _random(kind)
    g, theta = torch.randn(2, 5, SIZE, dtype=torch.float64)
    parameters = list(transition.parameters())
    expected = torch.autograd.grad((g * transition(theta)).sum(), parameters)
    for ours, theirs in zip(transition.gradients(g, theta), expected, strict=True):
        torch.testing.assert_close(ours, theirs, **TIGHT)


@pytest.mark.parametrize("kind", SPELT)
def test_the_spectral_radius_is_that_of_the_dense_matrix(kind: str) -> None:
    transition = _random(kind)
    dense = torch.linalg.eigvals(transition.dense()).abs().max()
    assert transition.spectral_radius() == pytest.approx(dense.item(), rel=1e-10)


@pytest.mark.parametrize("kind", ["full", "diag", "block:3", "lowrank:2"])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_transition_that_diverged_has_no_radius_and_ends_no_process(
    kind: str, wrong: float
) -> None:
    transition = _random(kind)
    with torch.no_grad():
        next(transition.parameters()).view(-1)[0] = wrong
    assert not math.isfinite(transition.spectral_radius())


@pytest.mark.parametrize("kind", SPELT)
def test_a_spread_start_remembers_at_many_paces_and_never_grows(kind: str) -> None:
    torch.manual_seed(0)
    transition = build_transition(kind, SIZE)
    transition.spread(50)
    moduli = torch.linalg.eigvals(transition.dense()).abs()
    free = moduli[moduli < 1 - 1e-5]  # a low-rank A leaves the other directions alone
    assert len(free) >= min(SIZE, 2)
    assert free.min() >= torch.exp(torch.tensor(-1 / 2)) * 0.999
    assert moduli.max() <= 1 + 1e-5


@pytest.mark.parametrize("size", [1, 6, 7])
def test_the_lags_of_a_rotation_are_its_powers(size: int) -> None:
    torch.manual_seed(0)
    rotation, rows = build_transition("cdiag", size).double(), torch.randn(3, size).double()
    lags = rotation.lags(rows, 5)
    for k in range(5):
        torch.testing.assert_close(lags[k], rows, **TIGHT)
        rows = rotation(rows)
    square = rotation.power().squared()
    torch.testing.assert_close(square(rows), rotation(rotation(rows)), **TIGHT)


def test_modes_are_the_low_rank_recurrence_around_its_mean() -> None:
    torch.manual_seed(0)
    root = MlpRoot(1, 2, width=3, depth=1)
    layer = Layer(root, Rule(2), transition="modal:4", drive_std=0.5, horizon=9).double()
    span = layer.root
    assert isinstance(span, Span) and span.weights(torch.zeros(4).double()).shape == (root.size,)
    h, dx = torch.randn(5, 4).double(), torch.randn(5, 2).double()
    moved = span.weights(layer.transition(h) + dx @ layer.B.mT)
    # The same step in the space of weights: A = I + C (R - I) C^+, about the mean.
    C, R = span.C, layer.transition.dense()
    A = torch.eye(root.size) + C @ (R - torch.eye(4)) @ torch.linalg.pinv(C)
    wanted = span.mean + (span.weights(h) - span.mean) @ A.mT + dx @ (C @ layer.B).mT
    torch.testing.assert_close(moved, wanted, **TIGHT)


def test_a_low_rank_start_is_driven_along_what_it_remembers() -> None:
    torch.manual_seed(0)
    root = MlpRoot(1, 2, width=3, depth=1)
    layer = Layer(root, Rule(2), transition="lowrank:4", drive_std=0.5, horizon=9)
    V = layer.transition.V
    torch.testing.assert_close(V.mT @ V, torch.eye(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(V @ (V.mT @ layer.B), layer.B, rtol=0, atol=1e-5)


def test_every_kind_of_the_config_is_among_those_tested() -> None:
    assert {kind.partition(":")[0] for kind in SPELT} == set(KINDS)


class Scalar(Transition):
    """A = (1 + e) I: a kind that weft does not have."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.E = nn.Parameter(torch.zeros(()))

    def forward(self, theta: Tensor) -> Tensor:
        """theta + e theta."""
        return theta + self.E * theta

    transpose = forward

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """de."""
        return ((errors * rows).sum(),)

    def power(self) -> DiagonalPower:
        """As a diagonal."""
        return DiagonalPower(self.E.expand(self.size))

    @property
    def reach(self) -> float:
        """One eigenvalue."""
        return 1.0

    @property
    def flops(self) -> int:
        """2 D."""
        return 2 * self.size


@pytest.mark.parametrize("feedback", [False, True])
def test_a_kind_of_one_s_own_is_a_class_and_a_line(
    feedback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "scalar", TransitionKind("scalar", f"{__name__}:Scalar"))
    torch.manual_seed(0)
    rnn = WeightSpaceRNN(2, width=3, depth=1, transition="scalar", drive_std=0.3).double()
    torch.nn.init.constant_(rnn.layers[0].transition.E, -0.1)
    x = torch.randn(3, 6, 2, dtype=torch.float64)
    force = (torch.arange(6) < 2).expand(3, -1) if feedback else None
    slopes = []
    for form in ("loop", "sequential", "history", *([] if feedback else ["scan"])):
        rnn.form = form
        rnn.zero_grad()
        rnn(x, force=force)[0].square().sum().backward()
        slopes.append(rnn.layers[0].transition.E.grad)
    for slope in slopes:
        torch.testing.assert_close(slope, slopes[0], rtol=1e-10, atol=1e-12)


def test_blocks_are_zero_outside_and_their_padding_never_learns() -> None:
    transition = _random("block:3")
    inside = torch.block_diag(*[torch.ones(3, 3)] * 3)[:SIZE, :SIZE].bool()
    assert not transition.dense()[~inside].any()
    transition(torch.randn(2, SIZE).double()).square().sum().backward()
    (E,) = transition.parameters()
    assert E.grad is not None and E.grad[:, 0].any()
    assert not E.grad[2, 1:].any() and not E.grad[2, :, 1:].any()


@pytest.mark.parametrize(("kind", "count"), [("full", 49), ("diag", 7), ("lowrank:2", 28)])
def test_parameters_are_counted(kind: str, count: int) -> None:
    assert sum(p.numel() for p in build_transition(kind, SIZE).parameters()) == count


def test_a_diagonal_transition_is_a_full_one_with_a_diagonal_matrix() -> None:
    torch.manual_seed(0)
    clock, root = Clock(length=5), MlpRoot(1, 2, width=3, depth=1)
    diagonal = Layer(root, Rule(2), transition="diag", drive_std=1.0).double()
    full = Layer(root, Rule(2)).double()
    with torch.no_grad():
        diagonal.transition.E.normal_(std=0.2)
        full.transition.E.copy_(diagonal.transition.E.diag())
        full.B.copy_(diagonal.B)
        full.initial.theta.copy_(diagonal.initial.theta)
    x = torch.randn(3, 5, 2, dtype=torch.float64)
    ticks = clock.ticks(torch.arange(5, dtype=torch.float64))
    runs = [reference.free([layer], x, ticks) for layer in (diagonal, full)]
    torch.testing.assert_close(runs[0].out, runs[1].out, **TIGHT)
    for run in runs:
        run.out.square().sum().backward()
    assert diagonal.transition.E.grad is not None and full.transition.E.grad is not None
    torch.testing.assert_close(diagonal.transition.E.grad, full.transition.E.grad.diag(), **TIGHT)


def test_small_steps_of_a_survive_in_single_precision() -> None:
    transition = build_transition("full", SIZE)
    with torch.no_grad():
        transition.E.fill_diagonal_(-1e-9)
        for _ in range(1000):
            transition.E.diagonal().sub_(1e-9)
    assert transition.E[0, 0].item() == pytest.approx(-1.001e-6, rel=1e-4)
    assert transition.dense()[0, 0] < 1


@pytest.mark.parametrize("kind", ["", "dense", "full:3", "block", "block:0", "lowrank:x"])
def test_an_unknown_transition_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="there is no transition"):
        build_transition(kind, SIZE)
