"""Carried from batch to batch, a stream may be cut anywhere: the update is that of the whole."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from tests.oracle.cet_loops import EXACT, GATES, cnn, errors, updated
from tests.stops import stop_at
from weft import api
from weft.data.source import DataSpec, Field
from weft.errors import DeviceError, Interrupted, UsageError
from weft.families.cet.config import Config
from weft.families.cet.reference import use_per_item
from weft.families.cet.task import CetTask
from weft.families.cet.trace.conversion import clock, convert, revert, similarities, traced_layers
from weft.families.cet.trace.kernel import support

pytestmark = pytest.mark.usefixtures("one_thread")


def dense(relu: bool = True, outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, outputs), *([nn.ReLU()] if relu else [])).double()


def conv(pool: nn.AvgPool2d | None = None, **geometry: Any) -> nn.Sequential:
    behind = [] if pool is None else [pool]
    return nn.Sequential(nn.Conv2d(2, 2, **geometry), nn.ReLU(), *behind).double()


def loss(out: Tensor, slopes: Tensor) -> Tensor:
    """A smooth loss, summed over rows, so that a row's error does not depend on its batch."""
    return (out * slopes).sum() + out.square().sum() / 2


def slopes_of(model: nn.Module, x: Tensor) -> Tensor:
    """The slopes of the loss of every step, (S, L, ...)."""
    with torch.no_grad():
        out = model(x.flatten(0, 1))
    return torch.randn_like(out).unflatten(0, x.shape[:2])


def learn(model: nn.Module, x: Tensor, slopes: Tensor) -> list[Tensor]:
    """Gradients of all parameters for one batch of streams (S, B, ...)."""
    total = loss(model(x.flatten(0, 1)), slopes.flatten(0, 1))
    return list(torch.autograd.grad(total, list(model.parameters())))


def in_pieces(model: nn.Module, x: Tensor, slopes: Tensor, cuts: Sequence[int]) -> list[Tensor]:
    """Summed gradients of the batches into which the streams are cut."""
    parts = zip(x.tensor_split(cuts, 1), slopes.tensor_split(cuts, 1), strict=True)
    gradients = [learn(model, *part) for part in parts if part[0].shape[1]]
    return [torch.stack(each).sum(0) for each in zip(*gradients, strict=True)]


def literal(model: nn.Sequential, x: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """The update of a single converted layer over whole streams, by loops."""
    layer = model[0]
    streams, length = x.shape[:2]
    x, slopes = x.flatten(0, 1), slopes.flatten(0, 1)
    error, theta = errors(model, x, lambda out: loss(out, slopes))
    times, stream = [*range(length)] * streams, [i // length for i in range(len(x))]
    return updated(layer, layer.rule.stored(x), error, theta, times, stream, length)


traces = st.fixed_dictionaries(
    {
        "delay": st.integers(1, 5),
        "order": st.integers(1, 5),
        "gate": st.sampled_from(GATES),
        "kernel": st.sampled_from(["cascade", "cascade", "ideal", "sideways"]),
        "readout": st.sampled_from(["last", "optimal"]),
        "error": st.sampled_from(["impulse", "smeared"]),
        "sparse": st.sampled_from([None, 0.5, 2.0]),
        "streams": st.integers(1, 2),
    }
)
stores = st.sampled_from([{}, {"threshold": 0.4}, {"binary": 0.2}])
pieces = st.lists(st.integers(1, 7), min_size=1, max_size=4)


@given(
    trace=traces, store=stores, sizes=pieces, relu=st.booleans(), outputs=st.sampled_from([2, 6])
)
@settings(max_examples=25)
def test_dense_updates_of_any_pieces_sum_to_the_triple_loop_over_the_whole(
    trace: dict[str, Any], store: dict[str, float], sizes: list[int], relu: bool, outputs: int
) -> None:
    torch.manual_seed(sum(sizes))
    model = convert(dense(relu, outputs), **trace, **store, carry=True)
    x = torch.randn(trace["streams"], sum(sizes), 4, dtype=torch.float64)
    slopes = slopes_of(model, x)
    ours = in_pieces(model, x, slopes, [*accumulate(sizes)])
    for a, b in zip(ours, literal(model, x, slopes), strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@given(
    trace=traces,
    store=stores,
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    geometry=st.sampled_from(
        [
            {"kernel_size": 3, "padding": 1, "pool": nn.AvgPool2d(2)},
            {"kernel_size": 2, "stride": 2, "groups": 2},
            {"kernel_size": 2, "pool": nn.AvgPool2d(2, stride=1, padding=1)},
        ]
    ),
)
@settings(max_examples=20)
def test_conv_updates_of_any_pieces_sum_to_the_triple_loop_over_the_whole(
    trace: dict[str, Any], store: dict[str, float], sizes: list[int], geometry: dict[str, Any]
) -> None:
    torch.manual_seed(sum(sizes))
    model = convert(conv(**geometry), **trace, **store, carry=True)
    x = torch.randn(trace["streams"], sum(sizes), 2, 3, 3, dtype=torch.float64)
    slopes = slopes_of(model, x)
    ours = in_pieces(model, x, slopes, [*accumulate(sizes)])
    for a, b in zip(ours, literal(model, x, slopes), strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("streams", [1, 3])
def test_a_deep_network_learns_the_same_from_any_pieces(
    streams: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    model = cnn(norm=False).to(memory_format=layout)
    x = torch.randn(streams, 24, 2, 8, 8).double()
    slopes, sums = slopes_of(model, x), []
    for cuts in ([24], [1, 2, 10, 17], range(1, 24), [8, 16]):
        convert(model, order=3, delay=9, streams=streams, sparse=1e-2, carry=True)
        sums.append(in_pieces(model, x, slopes, list(cuts)))
    for other in sums[1:]:
        for a, b in zip(other, sums[0], strict=True):
            torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("order", [1, 4])
@pytest.mark.parametrize("readout", ["last", "optimal"])
def test_a_first_batch_as_long_as_the_kernel_is_learnt_as_without_carrying(
    gate: str, order: int, readout: str
) -> None:
    length = support(3, order)
    options = {
        "order": order, "delay": 3, "gate": gate, "readout": readout, "sparse": 0.5,
        "similarity": True,
    }  # fmt: skip
    model, x = dense(), torch.rand(1, length, 4).double()
    slopes, results = slopes_of(model, x), []
    for carry in (False, True):
        convert(model, **options, carry=carry)
        results.append([*learn(model, x, slopes), similarities(model)["0"].clone()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6 if a.dtype == torch.float32 else 1e-10, atol=0)


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("cuts", [[2, 4, 6, 8], [5, 10, 19]])
def test_an_ideal_trace_gives_the_gradient_of_every_error_that_arrives(
    streams: int, cuts: list[int]
) -> None:
    model, x, delay = cnn(norm=False), torch.randn(streams, 20, 2, 8, 8).double(), 7
    slopes = slopes_of(model, x)
    expected = learn(model, x[:, :-delay], slopes[:, :-delay])
    convert(model, order=1, delay=delay, kernel="ideal", streams=streams, carry=True)
    for a, b in zip(in_pieces(model, x, slopes, cuts), expected, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("options", [{}, {"sparse": 0.5}, {"threshold": 0.3}, {"streams": 2}])
@pytest.mark.parametrize("outputs", [2, 9])
def test_similarity_is_that_with_the_gradient_of_the_errors_that_arrive(
    gate: str, options: dict[str, Any], outputs: int
) -> None:
    torch.manual_seed(1)
    streams = options.get("streams", 1)
    x = torch.rand(streams, 20, 4).double()
    x[..., -1] = 1.0  # weights behind it sum the errors that inputs are paired with
    model = dense(outputs=outputs)
    true_model = copy.deepcopy(model)
    common = {"delay": 6, "gate": gate, "streams": streams, "carry": True}
    convert(model, order=3, similarity=True, **{**common, **options})
    convert(true_model, order=1, kernel="ideal", **common)
    slopes = slopes_of(model, x)
    for part in zip(x.split(4, 1), slopes.split(4, 1), strict=True):
        update, true = learn(model, *part)[0], learn(true_model, *part)[0]
        if not bool(true.any()):  # nothing has arrived yet
            assert bool(similarities(model)["0"].isnan().all())
            continue
        stored = model[0].rule.stored(part[0]).flatten(0, 1).mean(0)
        centred = update - update[:, -1:] * stored
        true_centred = true - true[:, -1:] * part[0].flatten(0, 1).mean(0)
        expected = [
            functional.cosine_similarity(update.flatten(), true.flatten(), dim=0),
            functional.cosine_similarity(centred.flatten(), true_centred.flatten(), dim=0),
            (update * true).sum() / true.square().sum(),
        ]
        torch.testing.assert_close(
            similarities(model)["0"].double(), torch.stack(expected), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("streams", [1, 2])
def test_similarity_of_every_layer_of_a_deep_network(gate: str, streams: int) -> None:
    torch.manual_seed(2)
    model, x = cnn(norm=False), torch.rand(streams, 20, 2, 8, 8).double()
    true_model = copy.deepcopy(model)
    common = {"delay": 5, "gate": gate, "streams": streams, "carry": True}
    convert(model, order=4, similarity=True, sparse=1e-2, **common)
    convert(true_model, order=1, kernel="ideal", **common)
    slopes = slopes_of(model, x)
    for part in zip(x.split(10, 1), slopes.split(10, 1), strict=True):
        updates, trues = learn(model, *part)[::2], learn(true_model, *part)[::2]
        for u, v, found in zip(updates, trues, similarities(model).values(), strict=True):
            cosine = functional.cosine_similarity(u.flatten(), v.flatten(), dim=0)
            gain = (u * v).sum() / v.square().sum()
            expected = torch.stack([cosine, gain])
            torch.testing.assert_close(found[::2].double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("delay", [1, 2, 7, 50])
@pytest.mark.parametrize("order", [1, 2, 6, 10, 200])
def test_support_is_the_least_with_a_millionth_of_the_mass_beyond(delay: int, order: int) -> None:
    def beyond(taps: int) -> float:
        if order == 1:
            return math.exp(-taps / delay)
        x = torch.tensor((order - 1) / (delay - 0.5) * (taps - 1), dtype=torch.float64)
        return float(torch.special.gammaincc(torch.tensor(float(order)).double(), x))

    taps = support(delay, order)
    assert beyond(taps) < 1e-6 <= beyond(taps - 1)
    assert taps > delay
    assert support(delay, order, "ideal") == delay + 1
    assert support(delay, order, "sideways") == 1


def test_what_is_carried_lies_in_the_state_dict_only_while_carrying() -> None:
    model = cnn(norm=False)
    keys, attributes = list(model.state_dict()), [vars(m).keys() for m in model]
    assert list(convert(model, order=3, delay=2).state_dict()) == keys
    carried = set(convert(model, order=3, delay=2, carry=True).state_dict()) - set(keys)
    kinds = ("x", "opened", "entered", "errors")
    assert carried == {f"{i}.history.{kind}" for i in (0, 3, 6, 8) for kind in kinds}
    assert list(revert(model).state_dict()) == keys
    assert [vars(m).keys() for m in model] == attributes
    assert not any(len(list(m.children())) for m in model)
    assert list(convert(model, order=3, delay=0, carry=True).state_dict()) == keys


@pytest.mark.parametrize("precise", [True, False])
def test_a_state_dict_goes_on_in_another_model_to_the_last_bit(precise: bool) -> None:
    model = cnn(norm=False) if precise else cnn(norm=False).float()
    x = torch.randn(2, 12, 2, 8, 8).to(model[0].weight)
    slopes = slopes_of(model, x)
    other = copy.deepcopy(model)
    for each in (model, other):
        convert(each, order=3, delay=5, streams=2, sparse=1e-3, similarity=True, carry=True)
    learn(model, x[:, :8], slopes[:, :8])
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    parts = [learn(each, x[:, 8:], slopes[:, 8:]) for each in (model, other)]
    assert all(torch.equal(a, b) for a, b in zip(*parts, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*(m.state_dict().values() for m in (model, other)),
                                                 strict=True))  # fmt: skip
    # no more than the steps that are needed, and no larger storage behind them
    kept = traced_layers(model)["0"].history
    assert kept.x.shape == (2, support(5, 3) - 1, 2, 8, 8)
    assert kept.errors.shape[:2] == (2, 5)
    assert kept.x.untyped_storage().nbytes() == kept.x.nbytes


def test_evaluation_and_passes_without_gradients_leave_the_past_alone() -> None:
    model, x = cnn(norm=False), torch.randn(1, 6, 2, 8, 8).double()
    slopes = slopes_of(model, x)
    convert(model, order=3, delay=2, carry=True)
    learn(model, x, slopes)
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model(x[0])
    model.eval()
    learn(model, x, slopes)
    model(x[0, :5])
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_frozen_weights_carry_on_too() -> None:
    model, x = dense(), torch.randn(1, 12, 4).double()
    slopes = slopes_of(model, x)
    expected = in_pieces(convert(model, order=3, delay=4, carry=True), x, slopes, [6])[1]
    convert(model, order=3, delay=4, sparse=0.5, carry=True)
    model[0].weight.requires_grad_(False)
    found = 0
    for part in zip(x.split(6, 1), slopes.split(6, 1), strict=True):
        out = model(part[0].flatten(0, 1))
        found += torch.autograd.grad(loss(out, part[1].flatten(0, 1)), model[0].bias)[0]
    torch.testing.assert_close(found, expected, **EXACT)
    assert bool(model[0].history.x.any())


def test_what_cannot_be_carried_is_refused() -> None:
    layer = nn.Linear(4, 4)
    with pytest.raises(UsageError, match="2 places"):
        convert(nn.Sequential(layer, nn.ReLU(), layer), order=2, delay=1, carry=True)
    model = convert(dense(), order=2, delay=1, carry=True)
    with pytest.raises(UsageError, match="per-item"):
        use_per_item(model)
    x = torch.randn(1, 6, 4).double()
    slopes = torch.zeros(1, 6, 3).double()
    learn(model, x, slopes)
    clock(model).streams = 2
    with pytest.raises(UsageError, match="those before it"):
        learn(model, x, slopes)
    clock(model).streams = 1
    clock(model).keep(torch.arange(6), length=8)
    with pytest.raises(UsageError, match="every time step"):
        model(x[0])


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task = CetTask(Config(steps=1, carry=True, hidden_dim=3))
    spec = DataSpec(
        {"image": Field((1, 8, 8)), "label": Field((), torch.int64)}, (1, 128), 5, {}, 4
    )
    task.model(spec)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(DeviceError, match="2 processes"):
        task.model(spec)


@pytest.mark.parametrize(
    "words", [(), ("batch_size=16",), ("arch=cnn", "streams=2", "batch_size=32")]
)
def test_stop_and_resume_equals_a_straight_run(
    words: tuple[str, ...], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("carry=true", "steps=6", "checkpoint.every=4 steps", "eval.every=3 steps",
               "log.every=1", "log.tensorboard=false", "hidden_dim=16", *words)  # fmt: skip
    straight = api.train("cet/digits", *options, report=False)
    stop_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        api.train("cet/digits", *options, report=False, **{"run.dir": "stopped"})
    resumed = api.resume("stopped", report=False)
    assert straight is not None
    assert resumed is not None
    ours, theirs = (run.load_model("last").state_dict() for run in (resumed, straight))
    assert any("history" in name and bool(value.any()) for name, value in ours.items())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert resumed.metrics == straight.metrics
    exported = api.load(straight.path / "model.safetensors").state_dict()
    assert all(torch.equal(exported[name], theirs[name]) for name in theirs)
    if not words:  # Drawing takes ten times as long as the rest.
        assert all(path.stat().st_size > 2_000 for path in api.sample(straight.path))
