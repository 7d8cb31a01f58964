"""Baselines: whole sequences equal steps, padding leaves no trace, forcing means what it says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.families.warp.baselines.cells import stepwise
from weft.families.warp.baselines.models import Baseline, equal_width
from weft.families.warp.baselines.ssm import DiagonalLayer
from weft.families.warp.cell.clock import Clock
from weft.families.warp.cell.outputs import Head
from weft.families.warp.cell.recurrence_rule import Rule

KINDS = ("gru", "lstm", "linear", "ssm")
STEPS = 9


@pytest.fixture(autouse=True)
def double() -> None:
    torch.manual_seed(0)


def model(kind: str, *, classes: int = 0, layers: int = 2, **rule: object) -> Baseline:
    """A small baseline with weights that are nowhere zero, in float64."""
    head = Head(0 if classes else 2, final=None, uncertain=not classes, std_lower_bound=0.01,
                classes=classes)  # fmt: skip
    built = Baseline(
        kind, Rule(2, **rule), Clock(STEPS, time_as_channel=True), head,
        width=5, layers=layers, decoder_width=4, decoder_depth=1, nonlinearity="tanh",
    ).double()  # fmt: skip
    with torch.no_grad():
        for weight in built.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return built


def data(batch: int = 3) -> Tensor:
    return torch.randn(batch, STEPS, 2, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_sequence_equals_its_steps(kind: str) -> None:
    cell = model(kind).cell
    first, u = torch.randn(3, 2).double(), torch.randn(3, STEPS, 3).double()
    whole, steps = cell(first, u), stepwise(cell, first, u)
    assert whole.shape == (3, STEPS, cell.width)
    assert torch.allclose(whole, steps, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["gru", "lstm", "ssm"])
def test_feeding_back_with_the_truth_forced_is_a_free_run(kind: str) -> None:
    built, x = model(kind), data()
    ahead = built.clock.ticks(torch.arange(STEPS).double(), "diff").tau
    inputs = torch.cat([x, ahead.expand(3, -1, -1)], -1)
    expected = built.head(built.decode(built.cell(x[:, 0], inputs), ahead.expand(3, -1, -1), x))
    got = built(x, force=torch.ones(3, STEPS).double())
    assert torch.allclose(torch.cat([got.mean, got.std], -1), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("drive", ["diff", "innovation", "true_diff"])
def test_the_linear_baseline_follows_the_drive(drive: str) -> None:
    built = model("linear", drive=drive, layers=1)
    x, force = data(1), torch.tensor([[1, 0, 1, 0.5, 0, 0, 1, 1, 0]]).double()
    got = built(x, force=force)
    ticks = built.clock.ticks(torch.arange(STEPS).double(), drive)
    (e,), (b,), (phi,) = built.cell.E, built.cell.B, built.cell.initial
    h = phi(x[:, 0])
    guess = before = given = x[:, 0]
    for t in range(STEPS):
        fed = force[:, t] * x[:, t] + (1 - force[:, t]) * guess
        dx = fed - {"diff": before, "innovation": guess, "true_diff": given}[drive]
        h = h + h @ e.mT + torch.cat([dx, ticks.dclock[t : t + 1]], -1) @ b.mT
        before, given = guess, fed
        guess = built.decode(h, ticks.tau[t : t + 1], before)[:, :2]  # No final activation.
        assert torch.allclose(got.mean[:, t], guess, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fed_back", [False, True])
def test_padding_in_front_leaves_no_trace(kind: str, fed_back: bool) -> None:
    built, x = model(kind), data(1)
    short = 6
    padded = torch.cat([x[:, :1].expand(-1, STEPS - short, -1), x[:, :short]], 1)
    force = torch.tensor([[1, 1, 1, 1, 1, 0.3, 0, 0, 0]]).double() if fed_back else None
    length = torch.tensor([short])
    got = built(padded, force=force, length=length)
    noise = padded.clone()
    noise[:, : STEPS - short] = 7.0
    again = built(noise, force=force, length=length)
    for one, other in zip(got[:2], again[:2], strict=True):
        assert torch.equal(one[:, -short:], other[:, -short:])
    place = torch.arange(STEPS - short, STEPS).double()
    alone = built(x[:, :short], force=None if force is None else force[:, -short:], position=place)
    if (
        not fed_back
    ):  # A run that feeds back looks one place ahead, which a cut clock does not know.
        assert torch.allclose(got.mean[:, -short:], alone.mean, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_is_read_at_the_last_step(kind: str) -> None:
    built, x = model(kind, classes=4), data()
    got = built(x, last=True)
    assert got.logits.shape == (3, 1, 4)
    assert got.mean is None and got.std is None
    assert torch.allclose(got.logits, built(x).logits[:, -1:], rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_what_the_next_step_sees(kind: str) -> None:
    built, x = model(kind), data()
    force, noise = torch.zeros(3, STEPS).double(), torch.zeros_like(x)
    silent, mean = built(x, force=force, sample=noise), built(x, force=force)
    assert torch.equal(silent.mean, mean.mean)
    noise[:, 4] = 1.0
    loud = built(x, force=force, sample=noise)
    assert torch.equal(loud.mean[:, :5], mean.mean[:, :5])
    assert not torch.allclose(loud.mean[:, 5], mean.mean[:, 5])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", [700, 20_000])
def test_the_width_of_equal_size_is_the_nearest_one(kind: str, wanted: int) -> None:
    def build(width: int) -> Baseline:
        return Baseline(kind, Rule(1), Clock(STEPS), Head(1, final=None), width=width)

    def count(width: int) -> int:
        return sum(p.numel() for p in build(width).parameters())

    width = equal_width(build, wanted)
    misses = {near: abs(count(near) - wanted) for near in (width - 1, width, width + 1) if near > 0}
    assert min(misses, key=misses.__getitem__) == width


def test_the_kernel_of_the_state_space_layer_is_its_impulse_response() -> None:
    layer = DiagonalLayer(3, states=4).double()
    exponent, gain, c = layer.system()
    time = 5
    expected = ((time * exponent).exp() * gain * c).sum(-1).real
    assert torch.allclose(layer.kernel(8)[:, time], expected, rtol=1e-12)
    assert exponent.real.max() < 0  # No state can grow.


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind: str) -> None:
    built = model(kind)
    got = built(data(), force=torch.full((3, STEPS), 0.5).double())
    (got.mean.square().sum() + got.std.log().sum()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in built.parameters())
