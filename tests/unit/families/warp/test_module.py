"""The network outside a run: in parts, alone, packed, continued, abused - safe as `nn.GRU` is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence, unpack_sequence

from weft.errors import ConfigError, DataError, UsageError
from weft.families.warp import WeightSpaceRNN

N, T, D_IN = 3, 7, 2
EXACT = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def _small(**options: Any) -> WeightSpaceRNN:
    """A small network with A and B away from where they start."""
    options = {"width": 3, "depth": 1, "nonlinearity": "tanh", "final": "tanh", "length": T,
               "time_as_channel": True} | options  # fmt: skip
    rnn = WeightSpaceRNN(D_IN, **options)
    with torch.no_grad():
        for layer in rnn.layers:
            layer.B.normal_(std=0.3)
            for parameter in layer.transition.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1 / parameter.shape[-1] ** 0.5)
    return rnn


def _gradients(rnn: WeightSpaceRNN, loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    wanted = [*inputs, *rnn.parameters()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, wanted, strict=True)]


@pytest.mark.parametrize("form", ["auto", "loop"])
@pytest.mark.parametrize(
    ("options", "feedback"),
    [
        ({"input_prev_data": True}, False),
        ({"transition": "lowrank:2", "initial_layers": 0}, False),
        ({"inner_sizes": [2], "limit": 0.4}, False),
        ({"uncertain": True, "std_lower_bound": 0.3, "encoding": (2, 10.0)}, True),
        ({"drive": "innovation", "limit": 0.4}, True),
        ({"drive": "true_diff", "input_prev_data": True}, True),
        ({"inner_sizes": [2]}, True),
        ({"transition": "cdiag", "horizon": 5.0}, False),
        ({"transition": "cdiag"}, True),
        ({"transition": "modal:4"}, True),
        ({"transition": "modal:4", "limit": 0.4}, True),
    ],
)
def test_two_parts_of_a_sequence_give_what_the_whole_gives(
    options: dict[str, Any], feedback: bool, form: str
) -> None:
    rnn = _small(form=form, **options)
    x = torch.randn(N, T, D_IN, requires_grad=True)
    force = (torch.rand(N, T) < 0.5).double() if feedback else None
    sample = torch.randn(N, T, D_IN) if rnn.head.uncertain else None
    whole, end = rnn(x, force=force, sample=sample)
    state, outs = None, []
    for part in (slice(0, 3), slice(3, 4), slice(4, T)):
        given = {
            name: each[:, part]
            for name, each in {"force": force, "sample": sample}.items()
            if each is not None
        }
        out, state = rnn(x[:, part], state, **given)
        outs.append(out)
    parts = torch.cat(outs, 1)
    torch.testing.assert_close(parts, whole, **EXACT)
    torch.testing.assert_close(state.theta, end.theta, **EXACT)
    weight, last = torch.randn_like(whole), torch.randn_like(end.theta)
    one = _gradients(rnn, (whole * weight).sum() + (end.theta * last).sum(), x)
    other = _gradients(rnn, (parts * weight).sum() + (state.theta * last).sum(), x)
    for ours, theirs in zip(other, one, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_a_detached_state_keeps_its_values_and_cuts_the_gradient() -> None:
    rnn, x = _small(), torch.randn(N, T, D_IN, requires_grad=True)
    state = rnn(x[:, :3])[1]
    out, _ = rnn(x[:, 3:], state.detach())
    torch.testing.assert_close(out, rnn(x)[0][:, 3:], **EXACT)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient[:, 3:].any() and not gradient[:, :3].any()


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("length", [None, torch.tensor([T, 4, 1])])
def test_given_weights_take_the_place_of_those_learnt(feedback: bool, length: Tensor) -> None:
    rnn, x = _small(initial_noise=0.5), torch.randn(N, T, D_IN)
    inputs = {"force": (torch.rand(N, T) < 0.5).double()} if feedback else {}
    learnt = rnn.layers[0].initial.theta
    theta0 = torch.randn(N, len(learnt), requires_grad=True)
    out, state = rnn(x, theta0=theta0, length=length, **inputs)
    out.sum().backward()
    assert theta0.grad is not None and theta0.grad.any(1).all() and learnt.grad is None
    rnn.initial_noise = 0
    for n in range(N):
        with torch.no_grad():
            learnt.copy_(theta0[n])
        own, end = rnn(x, length=length, **inputs)
        torch.testing.assert_close(out[n], own[n], **EXACT)
        torch.testing.assert_close(state.theta[n], end.theta[n], **EXACT)
    shared, _ = rnn(x, theta0=theta0[-1], length=length, **inputs)
    torch.testing.assert_close(shared, own, **EXACT)


@pytest.mark.parametrize("feedback", [False, True])
def test_one_sequence_needs_no_batch(feedback: bool) -> None:
    rnn, x = _small(), torch.randn(T, D_IN)
    force = {"force": torch.ones(T).cumprod(0)} if feedback else {}
    batch = {name: each.unsqueeze(0) for name, each in force.items()}
    out, state = rnn(x, **force)
    many, end = rnn(x.unsqueeze(0), **batch)
    assert torch.equal(out, many[0]) and torch.equal(state.theta, end.theta[0])
    first = rnn(x[:3], **{name: each[:3] for name, each in force.items()})[1]
    rest, _ = rnn(x[3:], first, **{name: each[3:] for name, each in force.items()})
    torch.testing.assert_close(rest, out[3:], **EXACT)


def test_time_may_come_first() -> None:
    rnn, x = _small(), torch.randn(N, T, D_IN)
    force = torch.rand(N, T).round()
    out, state = rnn(x, force=force)
    rnn.batch_first = False
    swapped, same = rnn(x.transpose(0, 1), force=force.mT)
    assert torch.equal(swapped, out.transpose(0, 1)) and torch.equal(same.theta, state.theta)


@pytest.mark.parametrize("options", [{}, {"length": None}, {"initial_layers": 1, "limit": 0.4}])
@pytest.mark.parametrize("drive", [None, "diff", "innovation", "true_diff"])
def test_packed_sequences_are_read_as_if_each_were_alone(
    options: dict[str, Any], drive: str | None
) -> None:
    rnn = _small(drive=drive or "diff", encoding=(2, 10.0), **options)
    alone = [torch.randn(n, D_IN) for n in (4, T, 1)]
    packed = pack_sequence(alone, enforce_sorted=False)
    forces = [torch.rand(len(x)).round() for x in alone]
    beside = torch.nn.utils.rnn.pad_sequence(forces, batch_first=True)
    out, state = rnn(packed, force=None if drive is None else beside)
    for x, force, ours, theta in zip(alone, forces, unpack_sequence(out), state.theta, strict=True):
        single, end = rnn(x, force=None if drive is None else force)
        torch.testing.assert_close(ours, single, **EXACT)
        torch.testing.assert_close(theta, end.theta, **EXACT)
    last, _ = rnn(packed, last=True)
    free, lengths = pad_packed_sequence(rnn(packed)[0], batch_first=True)
    torch.testing.assert_close(last[:, 0], free[torch.arange(3), lengths - 1], **EXACT)


@pytest.mark.parametrize("form", ["auto", "loop"])
def test_what_is_missing_beyond_the_context_may_be_nan(form: str) -> None:
    rnn = _small(form=form, input_prev_data=True)
    x, missing = torch.randn(N, T, D_IN), torch.randn(N, T, D_IN)
    force = (torch.arange(T) < 4).double().expand(N, -1)
    missing = torch.where(force.bool().unsqueeze(-1), x, torch.nan).requires_grad_()
    out, _ = rnn(missing, force=force)
    assert torch.equal(out, rnn(x, force=force)[0])
    assert all(gradient.isfinite().all() for gradient in _gradients(rnn, out.sum(), missing))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"length": torch.tensor([T + 1, 2, 2])}, "`length` lies from 2 to 8"),
        ({"length": torch.tensor([0, 2, 2])}, "`length` lies from 0 to 2"),
        ({"length": torch.tensor([1.0, 2, 2])}, "`length` is of torch.float32"),
        ({"force": torch.full((N, T), 1.1)}, "not a share of the truth"),
        ({"force": torch.full((N, T), -0.1)}, "not a share of the truth"),
        ({"force": torch.full((N, T), torch.nan)}, "not a share of the truth"),
        ({"position": torch.arange(T - 1)}, "`position` has shape"),
        ({"position": torch.arange(T).flip(0)}, "does not rise"),
        ({"position": torch.full((T,), torch.nan)}, "does not rise"),
        ({"theta0": torch.zeros(2)}, "`theta0` has shape"),
    ],
)
def test_values_without_a_meaning_are_refused(inputs: dict[str, Tensor], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _small()(torch.randn(N, T, D_IN), **inputs)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(0, T, D_IN), "the input has shape"),
        (torch.zeros(N, T, D_IN, dtype=torch.int64), "of torch.int64"),
        (torch.zeros(N), "the input has shape"),
    ],
)
def test_inputs_that_are_no_sequences_are_refused(x: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _small()(x)


@pytest.mark.parametrize(
    "options",
    [
        {"input_size": 0}, {"input_size": True}, {"output_size": 0}, {"output_size": -1},
        {"classes": -1}, {"width": 0}, {"width": 2.5}, {"depth": -1}, {"nonlinearity": "rlu"},
        {"inner_sizes": [0]}, {"transition": "diagonal"}, {"drive": "dif"}, {"form": "lop"},
        {"limit": 0.0}, {"limit": math.nan}, {"std_lower_bound": -1.0}, {"length": 0},
        {"length": 1.5}, {"waves": -1}, {"picture": (0, 3)}, {"encoding": (3, 10.0)},
        {"encoding": (2, 0.0)}, {"embedding": (2, 0, True)}, {"drive_std": -1.0}, {"horizon": 0.0},
        {"initial_noise": math.inf}, {"initial_layers": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_network_is_not_built_from_options_without_a_meaning(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        WeightSpaceRNN(**{"input_size": D_IN, **options})


@pytest.mark.parametrize("x", [torch.randn(N, T, D_IN), torch.randn(T, D_IN)], ids=["batch", "one"])
def test_weights_given_as_a_state_are_told_their_place(x: Tensor) -> None:
    rnn = _small()
    with pytest.raises(DataError, match="theta0"):
        rnn(x.double(), rnn(x.double())[1].theta)


def test_a_number_in_place_of_a_force_is_refused() -> None:
    with pytest.raises(DataError, match="`force` has shape none"):
        _small()(torch.randn(N, T, D_IN), force=0.5)


def test_a_packed_batch_has_its_own_lengths_and_clocks() -> None:
    packed = pack_sequence([torch.randn(3, D_IN), torch.randn(2, D_IN)])
    for name, each in {"length": torch.tensor([3, 2]), "position": torch.arange(3)}.items():
        with pytest.raises(DataError, match="a packed batch has its"):
            _small()(packed, **{name: each})


@pytest.mark.parametrize(
    ("options", "inputs", "message"),
    [
        ({"length": None}, {}, "set `length`"),
        ({"second_order": True}, {}, "velocity"),
        ({"embedding": (2, 2, True)}, {}, "convolution"),
        ({}, {"length": torch.tensor([T, 2, 1])}, "different lengths"),
        ({}, {"force": torch.ones(N, T)}, "the other kind of run"),
        ({}, {"theta0": torch.zeros(1)}, "no `state`"),
    ],
)
def test_a_run_that_cannot_go_on_says_why(
    options: dict[str, Any], inputs: dict[str, Tensor], message: str
) -> None:
    rnn, x = _small(**options), torch.randn(N, T, D_IN)
    state = rnn(x)[1]
    with pytest.raises(ConfigError) as caught:
        rnn(x, state, **inputs)
    assert message in str(caught.value)


def test_a_state_of_other_sequences_is_refused() -> None:
    rnn, x = _small(), torch.randn(N, T, D_IN)
    with pytest.raises(DataError, match="the state has weights of shape"):
        rnn(x, rnn(x[:2])[1])


def test_groups_of_parameters_keep_adam_from_diverging() -> None:
    losses = {}
    for grouped in (True, False):
        torch.manual_seed(0)
        rnn = WeightSpaceRNN(1, width=12, depth=2, drive_std=1e-3)
        groups = rnn.parameter_groups(1e-2) if grouped else rnn.parameters()
        optimiser = torch.optim.AdamW(groups, lr=1e-2)
        x = torch.linspace(0, 6, 40).add(torch.arange(8.0)[:, None]).sin().unsqueeze(-1)
        force = torch.rand(8, 40) < 0.5
        kept = losses.setdefault(grouped, [])
        for _ in range(12):
            optimiser.zero_grad()
            loss = (rnn(x, force=force)[0] - x).square().mean()
            loss.backward()
            optimiser.step()
            kept.append(loss.item())
    assert max(losses[True][6:]) < losses[True][0]
    assert not math.isfinite(losses[False][-1])


def test_groups_hold_each_parameter_once() -> None:
    rnn = _small(inner_sizes=[2], uncertain=True)
    groups = rnn.parameter_groups(1.0, transition_share=0.5)
    held = [parameter for group in groups for parameter in group["params"]]
    assert len(held) == len(set(held)) == len(list(rnn.parameters()))
    assert [group["lr"] for group in groups] == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("options", "feedback"),
    [
        ({"final": None}, False),
        ({"transition": "lowrank:2", "initial_layers": 1}, False),
        ({"final": None}, True),
        ({"transition": "diag"}, True),
        ({"limit": 0.4}, True),
        ({"transition": "modal:4"}, True),
    ],
)
def test_a_second_derivative_is_taken_by_the_loop_and_refused_by_the_fast_forms(
    options: dict[str, Any], feedback: bool, by_name: bool
) -> None:
    rnn, x = _small(**options), torch.randn(N, T, D_IN, requires_grad=True)
    inputs = {"force": torch.rand(N, T).round()} if feedback else {}

    def penalised() -> None:
        out = rnn(x, **inputs)[0]
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        loss = out.square().mean() + slope.square().sum()
        if by_name:
            torch.autograd.grad(loss, list(rnn.parameters()))
        else:
            loss.backward()

    with pytest.raises(UsageError, match="has no derivative"):
        penalised()
    rnn.form = "loop"
    penalised()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_tracing_and_scripting_are_refused_with_another_way() -> None:
    with pytest.raises(UsageError, match="neither the choice") as traced:
        torch.jit.trace(_small(), torch.randn(N, T, D_IN))
    with pytest.raises(UsageError, match="neither the choice") as scripted:
        torch.jit.script(_small())
    assert "torch.compile" in str(traced.value) == str(scripted.value)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("feedback", [False, True])
def test_compiled_it_gives_the_same_and_runs_its_steps_as_they_are(feedback: bool) -> None:
    rnn, x = _small(length=None), torch.randn(N, 40, D_IN)
    inputs = {"force": torch.rand(N, 40).round()} if feedback else {}
    out, _ = torch.compile(rnn)(x, **inputs)
    ours = _gradients(rnn, out.sum())
    plain, _ = rnn(x, **inputs)
    assert torch.equal(out, plain)
    for compiled, usual in zip(ours, _gradients(rnn, plain.sum()), strict=True):
        assert torch.equal(compiled, usual)
