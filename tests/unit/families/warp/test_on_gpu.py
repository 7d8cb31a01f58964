"""On a GPU the network computes what it computes on a CPU, step by step or recorded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from weft.families.warp import WeightSpaceRNN

N, T, D_IN = 3, 9, 2
CLOSE = {"rtol": 1e-8, "atol": 1e-8}

pytestmark = pytest.mark.gpu


def _network(**options: Any) -> WeightSpaceRNN:
    torch.manual_seed(0)
    given = {"width": 5, "depth": 2, "nonlinearity": "tanh", "final": "tanh", "length": T} | options
    rnn = WeightSpaceRNN(D_IN, drive_std=0.3, time_as_channel=True, **given).double()
    with torch.no_grad():
        for layer in rnn.layers:
            for parameter in layer.transition.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1 / parameter.shape[-1] ** 0.5)
    return rnn


def _results(rnn: WeightSpaceRNN, x: Tensor, **inputs: Any) -> list[Tensor]:
    x = x.clone().requires_grad_()
    out, state = rnn(x, **inputs)
    loss = out.square().sum() + state.theta.sin().sum()
    parameters = list(rnn.parameters())
    grads = torch.autograd.grad(loss, [x, *parameters], allow_unused=True)
    pairs = zip(grads, [x, *parameters], strict=True)
    return [out, state.theta, *(torch.zeros_like(p) if g is None else g for g, p in pairs)]


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit": 0.4},
        {"limit": 0.4, "second_order": True, "halves": True},
        {"transition": "lowrank:2", "initial_layers": 0},
        {"transition": "diag", "uncertain": True, "std_lower_bound": 0.1},
        {"transition": "cdiag"},
        {"transition": "modal:6"},
        {"inner_sizes": [3]},
    ],
)
def test_outputs_and_gradients_are_those_of_the_cpu(
    options: dict[str, Any], ragged: bool, feedback: bool
) -> None:
    rnn, x = _network(**options), torch.randn(N, T, D_IN).double()
    inputs = {"force": torch.rand(N, T).round()} if feedback else {}
    inputs |= {"length": torch.tensor([T, 4, 1])} if ragged else {}
    twin = copy.deepcopy(rnn).cuda()
    there = {name: each.cuda() for name, each in inputs.items()}
    for ours, theirs in zip(
        _results(twin, x.cuda(), **there), _results(rnn, x, **inputs), strict=True
    ):
        torch.testing.assert_close(ours.cpu(), theirs, **CLOSE)


def test_a_packed_batch_and_its_state_stay_where_they_are() -> None:
    rnn = _network().cuda()
    parts = [torch.randn(n, D_IN).double().cuda() for n in (4, T, 2)]
    out, state = rnn(pack_sequence(parts, enforce_sorted=False))
    for x, ours, theta in zip(parts, unpack_sequence(out), state.theta, strict=True):
        alone, end = rnn(x)
        torch.testing.assert_close(ours, alone, **CLOSE)
        torch.testing.assert_close(theta, end.theta, **CLOSE)


@pytest.mark.parametrize("options", [{}, {"limit": 0.4}, {"limit": 50.0}])
def test_a_recorded_step_leaves_the_gradients_of_a_step(options: dict[str, Any]) -> None:
    rnn, x = _network(**options).cuda(), torch.randn(N, T, D_IN).double().cuda()
    force = torch.rand(N, T).round().cuda()

    def step() -> None:
        rnn.zero_grad(set_to_none=True)
        rnn(x, force=force)[0].square().sum().backward()

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    expected = [parameter.grad.clone() for parameter in rnn.parameters()]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        step()
    graph.replay()
    torch.cuda.synchronize()
    for parameter, theirs in zip(rnn.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, theirs, **CLOSE)


def test_products_in_bfloat16_move_weights_that_stay_in_float32() -> None:
    whole, half = _network(limit=2.0).float().cuda(), _network(limit=2.0, half=True).float().cuda()
    x, force = torch.randn(N, 3, D_IN).cuda(), torch.ones(N, 3).cuda()
    (_, ours), (_, theirs) = half(x, force=force), whole(x, force=force)
    assert not torch.equal(ours.theta, theirs.theta)
    torch.testing.assert_close(ours.theta, theirs.theta, rtol=0.02, atol=0.02)
