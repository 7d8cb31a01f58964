"""The literal loop of the weight-space recurrence against a numpy reading of its equations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from weft.families.warp import reference
from weft.families.warp.cell.clock import Clock
from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.outputs import Head
from weft.families.warp.cell.recurrence_rule import Drive, Rule
from weft.families.warp.cell.root import MlpRoot

CHANNELS, STEPS, BATCH = 2, 7, 3
CLOCK = Clock(length=STEPS, encoding=(2, 10.0), time_as_channel=True)
TIGHT = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(autouse=True)
def _double() -> object:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def _layer(rule: Rule, outputs: int, *, initial_layers: int | None = None) -> Layer:
    inputs = CLOCK.features + rule.channels * rule.input_prev_data
    root = MlpRoot(inputs, outputs, width=4, depth=1, nonlinearity="tanh")
    layer = Layer(root, rule, CLOCK.channels, initial_layers=initial_layers)
    with torch.no_grad():
        layer.transition.E.normal_(std=0.1)
        layer.B.normal_(std=0.5)
    return layer


def _numpy_root(theta: np.ndarray, z: np.ndarray, outputs: int) -> np.ndarray:
    """tanh MLP of width 4, one hidden layer; weights row by row, then biases."""
    cut = 4 * len(z)
    hidden = np.tanh(theta[:cut].reshape(4, len(z)) @ z + theta[cut : cut + 4])
    rest = theta[cut + 4 :]
    return rest[: 4 * outputs].reshape(outputs, 4) @ hidden + rest[4 * outputs :]


def _numpy_place(k: float) -> np.ndarray:
    return np.array([k / (STEPS - 1), np.sin(k), np.cos(k)])


def _numpy_head(raw: np.ndarray) -> np.ndarray:
    # torch rounds softplus(x) to x above 20.
    soft = np.where(raw > 20, raw, np.log1p(np.exp(np.minimum(raw, 20))))
    std = np.maximum(soft[CHANNELS:], 0.3)
    return np.concatenate([np.tanh(raw[:CHANNELS]), std])


def _numpy_feedback(
    layer: Layer, x: np.ndarray, force: np.ndarray, noise: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """One sequence of M2 (or M3, with noise), read off the equations of the rule."""
    rule = layer.rule
    A = layer.transition.dense().detach().numpy()
    B = layer.B.detach().numpy()
    theta = layer.start(torch.from_numpy(x[:1])).detach().numpy().reshape(-1)
    velocity = np.zeros_like(theta)
    guess = before = fed_before = x[0]
    k_before = -1.0 if rule.drive == "innovation" else 0.0
    outs = []
    for k in range(len(x)):
        fed = force[k] * x[k] + (1 - force[k]) * guess
        dx = {"diff": fed - before, "innovation": fed - guess, "true_diff": fed - fed_before}
        push = B @ np.append(dx[rule.drive], (k - k_before) / (STEPS - 1))
        if rule.second_order:
            velocity = A @ velocity + push
            theta = theta + velocity
        else:
            theta = A @ theta + push
        if rule.limit is not None:
            theta = np.clip(theta, -rule.limit, rule.limit)
        z = _numpy_place(2 * k - k_before)
        z = np.append(z, before) if rule.input_prev_data else z
        out = _numpy_head(_numpy_root(theta, z, 2 * CHANNELS))
        outs.append(out)
        fed_before, k_before = fed, k
        drawn = out[:CHANNELS] + (0 if noise is None else out[CHANNELS:] * noise[k])
        guess, before = drawn, guess
    return np.stack(outs), theta


RULES = [
    Rule(CHANNELS),
    Rule(CHANNELS, input_prev_data=True, limit=0.4),
    Rule(CHANNELS, second_order=True),
    Rule(CHANNELS, input_prev_data=True, second_order=True, limit=0.3),
]


@pytest.mark.parametrize("drive", ["diff", "innovation", "true_diff"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("stochastic", [False, True])
def test_feeding_back_equals_the_equations(rule: Rule, drive: Drive, stochastic: bool) -> None:
    rule = replace(rule, drive=drive)
    layer = _layer(rule, 2 * CHANNELS, initial_layers=1)
    head = Head(CHANNELS, final="tanh", uncertain=True, std_lower_bound=0.3)
    x, force = torch.randn(BATCH, STEPS, CHANNELS), torch.rand(BATCH, STEPS)
    sample = torch.randn_like(x) if stochastic else None
    ticks = CLOCK.ticks(torch.arange(float(STEPS)), drive)
    run = reference.autoregress([layer], head, x, force, ticks, sample=sample)
    for n in range(BATCH):
        noise = None if sample is None else sample[n].numpy()
        out, theta = _numpy_feedback(layer, x[n].numpy(), force[n].numpy(), noise)
        torch.testing.assert_close(run.out[n].detach(), torch.from_numpy(out), **TIGHT)
        torch.testing.assert_close(run.theta[0][n].detach(), torch.from_numpy(theta), **TIGHT)


@pytest.mark.parametrize("rule", RULES)
def test_a_free_run_equals_the_equations(rule: Rule) -> None:
    layer = _layer(rule, 3)
    x = torch.randn(1, STEPS, CHANNELS)
    run = reference.free([layer], x, CLOCK.ticks(torch.arange(float(STEPS))), keep_states=True)
    A, B = layer.transition.dense().detach().numpy(), layer.B.detach().numpy()
    theta = layer.initial(x[:, 0]).detach().numpy()
    velocity, data = np.zeros_like(theta), x[0].numpy()
    for k in range(STEPS):
        dx = data[k] - data[max(k - 1, 0)]
        push = B @ np.append(dx, (k - max(k - 1, 0)) / (STEPS - 1))
        velocity = A @ velocity + push
        theta = theta + velocity if rule.second_order else A @ theta + push
        if rule.limit is not None:
            theta = np.clip(theta, -rule.limit, rule.limit)
        z = _numpy_place(k)
        z = np.append(z, data[k]) if rule.input_prev_data else z
        torch.testing.assert_close(run.states[0][0, k].detach(), torch.from_numpy(theta), **TIGHT)
        out = torch.from_numpy(_numpy_root(theta, z, 3))
        torch.testing.assert_close(run.out[0, k].detach(), out, **TIGHT)


def test_the_last_weights_are_a_convolution_of_the_drive() -> None:
    layer = _layer(Rule(CHANNELS), 1)
    x = torch.randn(BATCH, STEPS, CHANNELS)
    ticks = CLOCK.ticks(torch.arange(float(STEPS)))
    theta = reference.free([layer], x, ticks).theta[0]
    A = layer.transition.dense()
    dx = torch.diff(x, dim=1, prepend=x[:, :1])
    drive = torch.cat([dx, ticks.dclock.expand(BATCH, -1, -1)], -1)
    expected = layer.initial(x[:, 0]) @ torch.linalg.matrix_power(A, STEPS).mT
    for k in range(STEPS):
        power = torch.linalg.matrix_power(A, STEPS - 1 - k)
        expected = expected + drive[:, k] @ (power @ layer.B).mT
    torch.testing.assert_close(theta, expected, **TIGHT)


def test_identity_and_no_drive_leave_the_weights_and_an_output_of_time_alone() -> None:
    root = MlpRoot(CLOCK.features, 3)
    layer = Layer(root, Rule(CHANNELS), CLOCK.channels)
    x = torch.randn(BATCH, STEPS, CHANNELS)
    ticks = CLOCK.ticks(torch.arange(float(STEPS)))
    run = reference.free([layer], x, ticks, keep_states=True)
    theta_0 = layer.initial(x[:, 0])
    assert torch.equal(run.states[0], theta_0.expand_as(run.states[0]))
    torch.testing.assert_close(run.out, root(theta_0, ticks.tau).expand(BATCH, -1, -1), **TIGHT)


def test_a_constant_sequence_only_applies_powers_of_A() -> None:
    layer = _layer(Rule(CHANNELS), 1)
    x = torch.randn(BATCH, 1, CHANNELS).expand(-1, STEPS, -1)
    ticks = replace(CLOCK, time_as_channel=False).ticks(torch.arange(float(STEPS)))
    layer.B = torch.nn.Parameter(layer.B[:, :CHANNELS].detach())
    states = reference.free([layer], x, ticks, keep_states=True).states[0]
    theta = layer.initial(x[:, 0])
    for t in range(STEPS):
        theta = layer.transition.dense() @ theta
        torch.testing.assert_close(states[:, t], theta.expand(BATCH, -1), **TIGHT)


def test_later_data_do_not_change_earlier_outputs() -> None:
    layer = _layer(Rule(CHANNELS, input_prev_data=True), 2, initial_layers=0)
    x = torch.randn(BATCH, STEPS, CHANNELS)
    ticks = CLOCK.ticks(torch.arange(float(STEPS)))
    out = reference.free([layer], x, ticks).out
    for s in range(STEPS):
        changed = x.clone()
        changed[:, s] += 1
        other = reference.free([layer], changed, ticks).out
        assert torch.equal(other[:, :s], out[:, :s])
        assert not torch.isclose(other[:, s], out[:, s]).any()


def test_all_truth_given_is_the_same_as_a_coin_that_always_falls_on_truth() -> None:
    layer = _layer(Rule(CHANNELS), CHANNELS)
    head, x = Head(CHANNELS), torch.randn(BATCH, STEPS, CHANNELS)
    ticks = CLOCK.ticks(torch.arange(float(STEPS)), "diff")
    coin = (torch.rand(BATCH, STEPS) < 1.0).double()
    context = (torch.arange(STEPS) < STEPS).double().expand(BATCH, -1)
    one, other = (reference.autoregress([layer], head, x, f, ticks).out for f in (coin, context))
    assert torch.equal(one, other)


def test_true_differences_under_full_truth_make_a_free_run() -> None:
    layer = _layer(Rule(CHANNELS, drive="true_diff"), CHANNELS)
    x = torch.randn(BATCH, STEPS, CHANNELS)
    position = torch.arange(float(STEPS))
    fed = reference.autoregress(
        [layer], Head(CHANNELS), x, torch.ones(BATCH, STEPS), CLOCK.ticks(position, "true_diff")
    )
    free = reference.free([layer], x, CLOCK.ticks(position))
    torch.testing.assert_close(fed.theta[0], free.theta[0], **TIGHT)


def test_a_wide_bound_is_no_bound_and_a_tight_one_stops_the_gradient() -> None:
    x = torch.randn(BATCH, STEPS, CHANNELS)
    ticks = CLOCK.ticks(torch.arange(float(STEPS)))
    layer = _layer(Rule(CHANNELS), 1)
    thetas = []
    for limit in (None, 1e9, 1e-3):
        layer.rule = Rule(CHANNELS, limit=limit)
        layer.zero_grad()
        thetas.append(reference.free([layer], x, ticks).theta[0])
        thetas[-1].sum().backward()
    assert torch.equal(thetas[0], thetas[1])
    assert thetas[2].abs().max() == 1e-3
    inside = (thetas[2].abs() < 1e-3).any(0)
    assert not inside.all()
    assert layer.B.grad is not None and not layer.B.grad[~inside].any()


def test_weights_on_their_bound_still_learn_from_the_first_step_on() -> None:
    layer = Layer(MlpRoot(CLOCK.features, 1), Rule(CHANNELS, limit=0.2), CLOCK.channels)
    assert (layer.initial.theta.abs() > 0.2).any()
    x = torch.randn(BATCH, STEPS, CHANNELS)
    run = reference.free([layer], x, CLOCK.ticks(torch.arange(float(STEPS))))
    run.theta[0].sum().backward()
    assert layer.transition.E.grad is not None
    assert layer.transition.E.grad.any(1).all()


def _stack() -> list[Layer]:
    return [
        _layer(Rule(CHANNELS, input_prev_data=True), 3, initial_layers=0),
        _layer(Rule(3, input_prev_data=True), CHANNELS, initial_layers=0),
    ]


def test_a_layer_reads_the_outputs_of_the_one_below_as_its_sequence() -> None:
    layers, x = _stack(), torch.randn(BATCH, STEPS, CHANNELS)
    ticks = CLOCK.ticks(torch.arange(float(STEPS)))
    both = reference.free(layers, x, ticks)
    below = reference.free(layers[:1], x, ticks)
    above = reference.free(layers[1:], below.out, ticks)
    torch.testing.assert_close(both.out, above.out, **TIGHT)
    torch.testing.assert_close(both.theta[0], below.theta[0], **TIGHT)
    torch.testing.assert_close(both.theta[1], above.theta[0], **TIGHT)


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("second_order", [False, True])
def test_front_padding_changes_neither_weights_nor_outputs(
    feedback: bool, second_order: bool
) -> None:
    layers = _stack()
    for layer in layers:
        layer.rule = replace(layer.rule, second_order=second_order, drive="innovation")
    length, x = torch.tensor([STEPS, 4, 1]), torch.randn(3, STEPS, CHANNELS)
    x = torch.stack([_held(x[i], n) for i, n in enumerate(length.tolist())])
    noise = [torch.randn(3, layer.root.size) for layer in layers]
    position = torch.arange(float(STEPS))

    def run(rows: slice, first: int, length: Tensor | None) -> reference.Run:
        ticks = CLOCK.ticks(position, "innovation" if feedback else None)
        start = ticks.dclock[:1]
        ticks = ticks._replace(
            tau=ticks.tau[first:], dclock=torch.cat([start, ticks.dclock[first + 1 :]])
        )
        some = [each[rows] for each in noise]
        data = x[rows, first:]
        if not feedback:
            return reference.free(layers, data, ticks, noise=some, length=length)
        force = torch.linspace(0, 1, STEPS).expand(3, -1)[rows, first:]
        head = Head(CHANNELS, final="tanh")
        return reference.autoregress(layers, head, data, force, ticks, noise=some, length=length)

    padded = run(slice(None), 0, length)
    for i, n in enumerate(length.tolist()):
        alone = run(slice(i, i + 1), STEPS - n, None)
        torch.testing.assert_close(padded.out[i : i + 1, STEPS - n :], alone.out, **TIGHT)
        for together, single in zip(padded.theta, alone.theta, strict=True):
            torch.testing.assert_close(together[i : i + 1], single, **TIGHT)


def _held(x: Tensor, length: int) -> Tensor:
    """x (T, d) with its last `length` steps as data and the first of them repeated in front."""
    first = len(x) - length
    return torch.cat([x[first].expand(first, -1), x[first:]])


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ((1, 2, 24, 3), 1298),
        ((1, 2, 48, 3), 4898),
        ((1, 1, 48, 3), 4849),
        ((1, 6, 20, 4), 1426),
        ((1, 10, 32, 2), 1450),
        ((1, 3, 24, 0), 6),
    ],
)
def test_roots_have_the_sizes_that_the_paper_s_models_have(
    sizes: tuple[int, int, int, int], count: int
) -> None:
    assert MlpRoot(*sizes).size == count
