"""A trace that goes on step by step gives the taps, and the updates, of the parallel form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weft.errors import UsageError
from weft.families.cet.trace.conversion import convert
from weft.families.cet.trace.kernel import support, trace_kernel
from weft.families.cet.trace.stepwise import StreamingTrace, advance, states

KINDS = [
    {"delay": 1, "order": 1}, {"delay": 20, "order": 1}, {"delay": 1, "order": 2},
    {"delay": 20, "order": 6}, {"delay": 50, "order": 10}, {"delay": 3, "order": 12},
    {"delay": 20, "order": 10, "readout": "optimal"},
    {"delay": 50, "order": 6, "readout": "optimal"},
    {"delay": 20, "order": 10, "readout": "legendre"},
    {"delay": 50, "order": 6, "readout": "legendre"},
]  # fmt: skip
STEPS = 500


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_impulse_response_is_the_kernel(kind: dict[str, Any]) -> None:
    of = states(length=STEPS, **kind)
    state, taps = torch.zeros(kind["order"], 1).double(), []
    for t in range(STEPS):
        tap, state = advance(state, torch.full((1,), float(t == 0)).double(), of)
        taps.append(tap)
    expected = trace_kernel(length=STEPS, **kind)
    torch.testing.assert_close(torch.cat(taps), expected, rtol=0, atol=1e-11)


def by_steps(x: Tensor, theta: Tensor, error: Tensor, gate: str, delay: int, **kind: Any) -> Tensor:
    """The update of a layer with a ReLU behind it, error by error as they arrive."""
    trace = StreamingTrace(delay=delay, length=len(x), **kind)
    update = torch.zeros(error.shape[1], x.shape[1]).double()
    for t in range(len(x)):
        seen = trace(x[t] if gate == "error" else torch.outer(theta[t], x[t]))
        if t >= delay:
            late = error[t - delay] * (1 if gate == "trace" else theta[t - delay])
            update += late[:, None] * seen
    assert trace.state.shape[0] == kind["order"]  # whatever the delay
    return update


@pytest.mark.parametrize("gate", ["trace", "both", "error"])
@pytest.mark.parametrize("kind", [k for k in KINDS if k["delay"] > 3], ids=str)
def test_updates_over_500_steps_are_those_of_the_parallel_form(
    gate: str, kind: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = convert(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).double(), gate=gate, **kind)
    x, slopes = torch.randn(STEPS, 4).double(), torch.randn(STEPS, 3).double()
    out = model(x)
    (out * slopes).sum().backward()
    ours = by_steps(x, (out > 0).double().detach(), slopes, gate, **kind)
    parallel = model[0].weight.grad
    assert float((ours - parallel).abs().max() / parallel.abs().max()) < 1e-10


@pytest.mark.parametrize("kind", [{"delay": 20, "order": 6}, {"delay": 7, "order": 1}], ids=str)
def test_carried_batches_learn_what_a_trace_without_an_end_learns(kind: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = convert(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).double(), carry=True, **kind)
    x, slopes = torch.randn(STEPS, 4).double(), torch.randn(STEPS, 3).double()
    for part, slope in zip(x.split(60), slopes.split(60), strict=True):
        (model(part) * slope).sum().backward()
    theta = (nn.functional.linear(x, model[0].weight, model[0].bias) > 0).double().detach()
    ours = by_steps(x, theta, slopes, "both", **kind)
    carried = model[0].weight.grad
    # carry mode drops the last millionth of a kernel's mass, a trace without an end does not
    assert support(**kind) < STEPS
    assert float((ours - carried).abs().max() / carried.abs().max()) < 1e-5


def test_a_trace_in_single_precision_stays_near_and_begins_anew_on_demand() -> None:
    kind = {"delay": 50, "order": 10, "length": STEPS}
    x = torch.randn(STEPS, 4)
    single, double = StreamingTrace(**kind), StreamingTrace(**kind)
    pairs = [(single(row), double(row.double())) for row in x]
    ours, theirs = (torch.stack(rows) for rows in zip(*pairs, strict=True))
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5
    single.reset()
    assert torch.equal(single(x[0]), pairs[0][0])


@pytest.mark.parametrize("delay", [0, 5])
def test_a_delay_that_no_state_stands_for_is_refused(delay: int) -> None:
    with pytest.raises(UsageError, match=f"delay is {delay}, of 5 taps"):
        states(delay, 3, 5)
