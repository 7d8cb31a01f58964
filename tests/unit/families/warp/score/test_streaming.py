"""Step-by-step inference equals the network's own reading of the whole sequence."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from weft.errors import ConfigError, DataError
from weft.families.warp import Stream, WeightSpaceRNN
from weft.families.warp.model import WarpModel

N, T = 3, 9
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def _rnn(**options: Any) -> WeightSpaceRNN:
    torch.manual_seed(0)
    options = {"width": 4, "depth": 1, "final": "tanh", "length": T} | options
    rnn = WeightSpaceRNN(2, time_as_channel=True, **options).double()
    with torch.no_grad():
        for layer in rnn.layers:
            layer.B.normal_(std=0.3)
            layer.transition.E.normal_(std=0.03)
        if rnn.smoothing is not None:
            rnn.smoothing.taps.normal_()
    return rnn


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"input_prev_data": True, "second_order": True, "encoding": (2, 10.0)},
        {"limit": 0.4, "initial_layers": 1},
        {"inner_sizes": [3], "input_prev_data": True, "initial_layers": 0},
        {"embedding": (3, 3, True), "smoothing": True, "initial_layers": 0},
    ],
)
def test_a_stream_of_data_equals_a_free_run(options: dict[str, Any]) -> None:
    rnn, x = _rnn(**options), torch.randn(N, T, 2).double()
    stream = Stream(rnn)
    outs = torch.stack([stream.step(x[:, t]) for t in range(T)], 1)
    out, state = rnn(x)
    theta = state.theta
    torch.testing.assert_close(outs, out.detach(), **EXACT)
    torch.testing.assert_close(stream.theta, theta.detach(), **EXACT)


@pytest.mark.parametrize("drive", ["diff", "innovation", "true_diff"])
@pytest.mark.parametrize("inner", [[], [3]])
@pytest.mark.parametrize("sampled", [False, True])
def test_a_stream_that_runs_on_equals_a_run_fed_back(
    drive: str, inner: list[int], sampled: bool
) -> None:
    rnn = _rnn(drive=drive, inner_sizes=inner, uncertain=True, input_prev_data=True)
    x, context = torch.randn(N, T, 2).double(), 4
    sample = torch.randn(N, T, 2).double() if sampled else None
    stream = Stream(WarpModel(rnn), feedback=True)
    steps = [
        stream.step(x[:, t] if t < context else None, None if sample is None else sample[:, t])
        for t in range(T)
    ]
    force = (torch.arange(T) < context).double().expand(N, -1)
    out, state = rnn(x, force=force, sample=sample)
    theta = state.theta
    torch.testing.assert_close(torch.stack(steps, 1), out.detach(), **EXACT)
    torch.testing.assert_close(stream.theta, theta.detach(), **EXACT)


def test_the_state_does_not_grow() -> None:
    stream = Stream(_rnn(length=1000), feedback=True)

    def held() -> int:
        return sum(
            tensor.numel() for state in (*stream._carries, stream._back) for tensor in state or ()
        )

    stream.step(torch.zeros(1, 2).double())
    first = held()
    for _ in range(50):
        stream.step()
    assert held() == first


def test_a_stream_says_what_it_lacks() -> None:
    with pytest.raises(DataError, match="neither a datum"):
        Stream(_rnn(), feedback=True).step()
    with pytest.raises(DataError, match="read nothing yet"):
        Stream(_rnn()).theta  # noqa: B018
    free = Stream(_rnn())
    free.step(torch.zeros(1, 2).double())
    with pytest.raises(DataError, match="neither a datum"):
        free.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": None}, "how many there will be"),
        ({"embedding": (3, 3, False)}, "not causal"),
        ({"smoothing": True}, "not causal"),
    ],
)
def test_what_cannot_be_streamed_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Stream(_rnn(**options))
