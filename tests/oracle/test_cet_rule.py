"""The traced update equals triple loops, autograd and per-item tensors, and harms nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.oracle.cet_loops import EXACT, GATES, cnn, conv, dense, learn, literal, losses
from weft.families.cet.reference import use_per_item
from weft.families.cet.trace.conversion import clock, convert, similarities, traced_layers
from weft.families.cet.trace.kernel import cascade_kernel

pytestmark = pytest.mark.usefixtures("one_thread")


traces = st.fixed_dictionaries(
    {
        "delay": st.integers(1, 7),
        "order": st.integers(1, 4),
        "gate": st.sampled_from(GATES),
        "kernel": st.sampled_from(["cascade", "cascade", "ideal", "sideways"]),
        "readout": st.sampled_from(["last", "optimal"]),
        "error": st.sampled_from(["impulse", "smeared"]),
        "sparse": st.sampled_from([None, 1e-3, 1e-2, 0.1]),
        "streams": st.integers(1, 2),
    }
)
stores = st.sampled_from([{}, {"threshold": 0.4}, {"binary": 0.2}])


@given(trace=traces, store=stores, length=st.integers(1, 8), relu=st.booleans())
@settings(max_examples=60)
def test_dense_update_is_the_triple_loop(
    trace: dict[str, Any], store: dict[str, float], length: int, relu: bool
) -> None:
    torch.manual_seed(length)
    x = torch.randn(trace["streams"] * length, 4, dtype=torch.float64)
    weights = torch.randn(100, dtype=torch.float64)
    model = convert(dense(relu), **trace, **store)
    expected = literal(model, x, weights)
    for ours, theirs in zip(learn(model, x, weights)[:2], expected, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


@given(
    trace=traces,
    store=stores,
    length=st.integers(2, 5),
    geometry=st.sampled_from(
        [
            {"kernel_size": 3, "padding": 1},
            {"kernel_size": 3, "padding": 1, "pool": nn.AvgPool2d(2)},
            {"kernel_size": 3, "padding": 1, "pool": nn.AvgPool2d((2, 4))},
            {"kernel_size": 2, "stride": 2, "groups": 2},
            {"kernel_size": (3, 2), "dilation": (1, 2), "padding": (0, 1), "bias": True},
            {"kernel_size": 2, "pool": nn.AvgPool2d(2)},
            {"kernel_size": 1, "pool": nn.AvgPool2d(3, stride=1, padding=1)},
        ]
    ),
)
@settings(max_examples=40)
def test_conv_update_is_the_triple_loop(
    trace: dict[str, Any], store: dict[str, float], length: int, geometry: dict[str, Any]
) -> None:
    torch.manual_seed(length)
    x = torch.randn(trace["streams"] * length, 2, 4, 4, dtype=torch.float64)
    weights = torch.randn(2000, dtype=torch.float64)
    model = convert(conv(**geometry), **trace, **store)
    expected = literal(model, x, weights)
    for ours, theirs in zip(learn(model, x, weights)[:2], expected, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("streams", [1, 2])
def test_update_of_kept_items_is_the_triple_loop_over_their_times(gate: str, streams: int) -> None:
    times, stream = [1, 2, 4, 7, 3], [0, 0, 0, 0, streams - 1]
    x, weights = torch.randn(5, 4).double(), torch.randn(100).double()
    model = convert(dense(), order=3, delay=2, gate=gate, streams=streams, sparse=1e-3)
    clock(model).keep(torch.tensor(times), torch.tensor(stream), length=8)
    expected = literal(model, x, weights, times=(times, stream, 8))
    for ours, theirs in zip(learn(model, x, weights)[:2], expected, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(
    "options", [{}, {"sparse": 1e-2}, {"binary": 0.3}, {"streams": 2}], ids=str
)
@pytest.mark.parametrize("outputs", [3, 9])
def test_the_covariance_form_is_the_loop_over_what_differs_from_the_mean(
    gate: str, options: dict[str, Any], outputs: int
) -> None:
    torch.manual_seed(0)
    layers = nn.Linear(4, outputs), *([nn.ReLU()] if outputs == 3 else [])
    model = nn.Sequential(*layers).double()
    weights, kind = torch.randn(200).double(), {"order": 3, "delay": 2, "gate": gate}
    convert(model, covariance=0.7, **kind, **options)
    layer, mean = model[0], None
    for seen in range(3):
        x = torch.rand(8, 4).double()
        stored = layer.rule.stored(x)
        before = stored.mean(0) if mean is None else mean
        mean = before + (stored.mean(0) - before) / (seen + 1)
        weight, bias = literal(model, x, weights, stored=stored - before)
        peak = cascade_kernel(2, 3, 8 // options.get("streams", 1))[2]
        expected = 0.7 / peak * weight + torch.outer(bias, before)
        ours = learn(model, x, weights)
        torch.testing.assert_close(ours[0], expected, **EXACT)
        torch.testing.assert_close(ours[1], bias, **EXACT)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("carry", [False, True])
def test_the_covariance_form_of_a_perfect_memory_is_the_plain_one(gate: str, carry: bool) -> None:
    weights, kind = torch.randn(300).double(), {"order": 1, "delay": 2, "kernel": "ideal"}
    plain = convert(cnn(norm=False), gate=gate, carry=carry, **kind)
    covariant = convert(copy.deepcopy(plain), gate=gate, carry=carry, covariance=1.0, **kind)
    for _ in range(2):
        x = torch.rand(6, 2, 8, 8).double()
        for ours, theirs in zip(
            learn(covariant, x, weights), learn(plain, x, weights), strict=True
        ):
            torch.testing.assert_close(ours, theirs, **EXACT)


def test_the_running_mean_is_resumed_from_a_state_dict() -> None:
    weights, kind = torch.randn(300).double(), {"order": 2, "delay": 2, "covariance": 1.0}
    model, other = convert(cnn(), **kind), convert(cnn(), **kind)
    learn(model, torch.rand(6, 2, 8, 8).double(), weights)
    assert {f"0.mean.{name}" for name in ("value", "batches")} <= set(model.state_dict())
    other.load_state_dict(model.state_dict())
    x = torch.rand(6, 2, 8, 8).double()
    for a, b in zip(learn(other, x, weights), learn(model, x, weights), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kernel", ["cascade", "ideal", "sideways"])
def test_the_retrograde_update_is_the_behavioural_formula_at_the_delay_of_each_layer(
    kernel: str,
) -> None:
    torch.manual_seed(0)
    length, taps, step = 9, 40, 3
    model = nn.Sequential(
        nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)
    ).double()
    x, weights = torch.randn(length, 4).double(), torch.randn(100).double()
    first = model[0](x).detach()
    second = model[2](first.relu()).detach()
    plain = learn(model, x, weights)
    kind = {"order": 3, "delay": step, "timescale": "retrograde", "kernel": kernel, "taps": taps}
    ours = learn(convert(model, **kind), x, weights)
    assert [layer.trace.delay for layer in traced_layers(model).values()] == [6, 3, 0]
    for ours_, plain_ in zip(ours[4:], plain[4:], strict=True):
        torch.testing.assert_close(ours_, plain_, **EXACT)  # the last layer, and all errors
    hidden = second.relu().requires_grad_()
    above = torch.autograd.grad(losses(model[4](hidden), weights).mean(), hidden)[0].detach()
    below = (above * (second > 0)) @ model[2].weight.detach()
    for number, seen, z, error, delay in (
        (0, x, first, below, 6),
        (2, first.relu(), second, above, 3),
    ):
        trace = {"cascade": cascade_kernel(delay, 3, taps)}.get(kernel, torch.zeros(taps).double())
        if kernel != "cascade":
            trace[delay if kernel == "ideal" else 0] = 1
        expected = torch.zeros(z.shape[1], seen.shape[1]).double()
        for u in range(length):  # arrives at u + delay, whether or not the stream has ended
            for s in range(min(length, u + delay + 1)):
                met = float(trace[u + delay - s]) * (z[s] > 0).double()[:, None] * seen[s]
                expected += error[u][:, None] * met
        torch.testing.assert_close(ours[number], expected, **EXACT)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("streams", [1, 2])
def test_ideal_trace_is_autograd_of_the_items_whose_error_arrives(gate: str, streams: int) -> None:
    length, delay = 6, 2
    x, labels = torch.randn(streams * length, 2, 8, 8).double(), torch.arange(streams * length) % 3
    model = cnn(norm=False)
    each = functional.cross_entropy(model(x), labels, reduction="none").view(streams, length)
    expected = torch.autograd.grad(
        each[:, : length - delay].sum() / each.numel(), list(model.parameters())
    )
    convert(model, order=1, delay=delay, gate=gate, kernel="ideal", streams=streams)
    ours = torch.autograd.grad(functional.cross_entropy(model(x), labels), list(model.parameters()))
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize("options", [{}, {"sparse": 1e9}, {"error": "smeared"}, {"threshold": 9.0}])
def test_no_delay_is_plain_back_propagation(options: dict[str, Any]) -> None:
    x, weights = torch.randn(6, 2, 8, 8).double(), torch.randn(100).double()
    model = cnn()
    expected = learn(model, x, weights)
    ours = learn(convert(model, order=6, delay=0, **options), x, weights)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize("gate", GATES)
def test_the_error_handed_down_is_exact(gate: str) -> None:
    x, weights = torch.randn(6, 2, 8, 8).double(), torch.randn(100).double()
    model = cnn()
    expected = learn(model, x, weights)[-1]
    convert(model, order=2, delay=3, gate=gate, sparse=1e-3)
    torch.testing.assert_close(learn(model, x, weights)[-1], expected, **EXACT)


@pytest.mark.parametrize("make", [dense, cnn])
def test_input_gradient_passes_gradcheck(make: Any) -> None:
    shape = (4, 4) if make is dense else (4, 2, 8, 8)
    model = convert(make().requires_grad_(False), order=2, delay=1)
    assert torch.autograd.gradcheck(model, torch.randn(shape).double().requires_grad_())


def test_frozen_weights_get_no_gradient_and_leave_the_others_alone() -> None:
    x, weights = torch.randn(6, 4).double(), torch.randn(100).double()
    model = convert(dense(), order=2, delay=1)
    expected = learn(model, x, weights)[2:4]
    model[0].requires_grad_(False)
    losses(model(x), weights).mean().backward()
    assert model[0].weight.grad is None
    for parameter, gradient in zip(model[2].parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, **EXACT)


def test_cosine_to_the_ideal_update_grows_with_order() -> None:
    x, weights = torch.randn(128, 4).double(), torch.randn(300).double()
    model = dense()
    ideal = learn(convert(model, order=1, delay=10, kernel="ideal"), x, weights)[0]

    def cosine(order: int, delay: int = 10) -> float:
        update = learn(convert(model, order=order, delay=delay, gate="trace"), x, weights)[0]
        other = ideal
        if delay != 10:
            other = learn(convert(model, order=1, delay=delay, kernel="ideal"), x, weights)[0]
        return float(functional.cosine_similarity(update.flatten(), other.flatten(), dim=0))

    cosines = [cosine(order) for order in (2, 10, 100, 1000, 10000)]
    assert cosines == sorted(cosines)
    assert cosines[-1] > 0.9999
    assert cosine(10, delay=1) > 0.99


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(
    "options",
    [{"streams": 2, "sparse": 1e-2}, {"error": "smeared", "readout": "optimal"}, {"binary": 0.3}],
)
def test_per_item_tensors_give_the_same_gradients(gate: str, options: dict[str, Any]) -> None:
    x, weights = torch.randn(8, 2, 8, 8).double(), torch.randn(100).double()
    model = convert(cnn(), order=3, delay=2, gate=gate, **options)
    fast = learn(model, x, weights)
    for ours, theirs in zip(fast, learn(use_per_item(model), x, weights), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_sparse_threshold_does_not_depend_on_how_streams_are_split() -> None:
    torch.manual_seed(3)
    x, weights = torch.randn(16, 4).double(), torch.randn(2).double().repeat(16)
    model = convert(dense(), order=2, delay=1, sparse=1e-2, streams=2)
    together = learn(model, x, weights)[:-1]
    apart = []
    for half in x.chunk(2):
        convert(model, order=2, delay=1, sparse=1e-2, streams=1)
        apart.append(learn(model, half, weights)[:-1])
    everything = learn(convert(model, order=2, delay=1, streams=2), x, weights)
    for whole, *parts in zip(together, *apart, strict=True):
        torch.testing.assert_close(whole, sum(parts) / 2, **EXACT)
    assert not torch.allclose(together[0], everything[0])  # the threshold did leave items out


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_changes_no_number(layout: torch.memory_format) -> None:
    x, weights = torch.randn(8, 2, 8, 8).double(), torch.randn(100).double()
    model = convert(cnn(), order=3, delay=2)
    expected = learn(model, x, weights)
    model.to(memory_format=layout)
    ours = learn(model, x.contiguous(memory_format=layout), weights)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


def test_autocast_keeps_single_precision_gradients_near_those_without() -> None:
    torch.manual_seed(4)
    x, weights = torch.randn(32, 2, 8, 8), torch.randn(300)
    model = convert(cnn(norm=False).float(), order=3, delay=2, similarity=True)
    expected = learn(model, x, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
        ours = learn(model, x, weights)
    for a, b in zip(ours, expected, strict=True):
        assert a.dtype == torch.float32
        # eight bits of mantissa through four layers: 2e-2 an operation, compounded
        assert float((a - b).norm() / b.norm()) < 6e-2
    for values in similarities(model).values():
        assert bool(values.isfinite().all())


@pytest.mark.slow
# torch's own compiler instantiates autograd functions, which torch's own warning forbids
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
# and looks at .grad of whatever it goes on with behind a part that is not compiled
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiled_gradients_are_those_of_eager_mode() -> None:
    x, weights = torch.randn(6, 2, 8, 8).double(), torch.randn(100).double()
    model = convert(cnn(norm=False), order=3, delay=2, sparse=1e-6, similarity=True)
    expected = learn(model, x, weights)
    before = {name: values.clone() for name, values in similarities(model).items()}
    compiled = torch.compile(model, backend="aot_eager")
    for _ in range(2):  # the second call finds its pairing made
        ours = learn(compiled, x, weights)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, **EXACT)
    for name, values in similarities(model).items():
        torch.testing.assert_close(values, before[name], rtol=1e-5, atol=1e-6)


def test_cost_is_counted_on_the_meta_device() -> None:
    model = cnn(norm=False)
    counts = []
    for delay in (0, 2):
        convert(model.to("meta"), order=3, delay=delay)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(8, 2, 8, 8, dtype=torch.float64, device="meta")).sum().backward()
        counts.append(counter.get_total_flops())
    # one (B x B) product a layer, on the pooled error of the first
    features = 4 * 16 + 6 * 4 + 8 + 3
    assert counts[1] - counts[0] == 2 * 8 * 6 * features
