"""`convert` and `revert` change how layers learn, and nothing that anybody else can see."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weft.errors import UsageError
from weft.families.cet.trace.behind import ReadAvgPool2d, ReadReLU
from weft.families.cet.trace.conversion import clock, convert, revert, similarities, traced_layers
from weft.families.cet.trace.traced import TracedConv2d, TracedLinear


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.BatchNorm2d(4, affine=False), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip


class Functional(nn.Module):
    """A model whose non-linearity `convert` cannot see."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(functional.relu(self.first(x))))


def gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    torch.manual_seed(0)
    return list(torch.autograd.grad(model(x).square().mean(), list(model.parameters())))


def test_parameters_and_state_keys_stay_the_same_objects() -> None:
    model = cnn()
    parameters, keys = list(model.parameters()), list(model.state_dict())
    for change in (
        lambda: convert(model, order=3, delay=2, similarity=True),
        lambda: revert(model),
    ):
        assert change() is model
        assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
        assert list(model.state_dict()) == keys


@pytest.mark.parametrize("make", [cnn, Functional])
def test_eval_and_no_grad_outputs_are_bit_identical(make: Any) -> None:
    model = make()
    x = torch.randn(5, 4) if make is Functional else torch.randn(5, 2, 8, 8)  # 5: any rows will do
    expected = model.eval()(x)
    convert(model, order=3, delay=2, streams=2)
    assert torch.equal(model(x), expected)
    model.train()
    reverted = revert(copy.deepcopy(model))
    torch.manual_seed(0)
    with torch.no_grad():
        ours = model(x)
    torch.manual_seed(0)
    assert torch.equal(ours, reverted(x))


def test_revert_restores_classes_modules_and_gradients() -> None:
    model, x = cnn(), torch.randn(6, 2, 8, 8)
    before, printed = gradients(model, x), repr(model)
    modules = list(model.modules())
    convert(model, order=3, delay=2)
    assert not torch.equal(gradients(model, x)[0], before[0])
    revert(model)
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))
    assert repr(model) == printed
    assert vars(model[0]).keys() == vars(nn.Conv2d(2, 4, 3)).keys()
    assert all(torch.equal(a, b) for a, b in zip(gradients(model, x), before, strict=True))


def test_every_module_keeps_its_place_and_its_output() -> None:
    model, x = cnn(), torch.randn(6, 2, 8, 8)
    convert(model, order=3, delay=2)
    assert [type(m) for m in model] == [
        TracedConv2d, ReadReLU, ReadAvgPool2d, nn.BatchNorm2d, nn.Dropout, nn.Flatten,
        TracedLinear, ReadReLU, TracedLinear,
    ]  # fmt: skip
    for part in (model.train(), model.eval()):
        assert bool((part[0](x) < 0).any())
        assert torch.equal(part[:2](x), part[0](x).relu())
    assert [layer.watch.effective for layer in traced_layers(model).values()] == [
        "trace", "both", "error"
    ]  # fmt: skip


@pytest.mark.parametrize("gate", ["auto", "trace", "error"])
def test_a_relu_that_is_a_function_call_is_read_like_a_module(gate: Any) -> None:
    torch.manual_seed(0)
    model, x = Functional().double(), torch.randn(9, 4).double()
    inside = nn.Sequential(model.first, nn.ReLU(), model.norm, model.last)
    convert(model, order=3, delay=2, gate=gate, sparse=1e-2)
    expected = gradients(model, x)
    assert model.first.watch.read
    revert(model)
    assert not model._forward_hooks and not model._forward_pre_hooks
    ours = gradients(convert(inside, order=3, delay=2, gate=gate, sparse=1e-2), x)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_relu_outside_the_model_belongs_to_the_error() -> None:
    x, layer = torch.randn(9, 4).double(), nn.Linear(4, 6).double()
    inside = convert(nn.Sequential(copy.deepcopy(layer), nn.ReLU()), order=3, delay=2, gate="error")
    expected = gradients(inside, x)
    convert(layer, order=3, delay=2)
    ours = torch.autograd.grad(layer(x).relu().square().mean(), list(layer.parameters()))
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_layer_used_twice_is_converted_once() -> None:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    convert(model, order=2, delay=1)
    assert type(model[0]) is TracedLinear
    assert model[0] is model[2]
    model(torch.randn(5, 4)).sum().backward()
    assert type(revert(model)[0]) is nn.Linear


def test_a_single_layer_is_a_model() -> None:
    layer = nn.Linear(4, 2)
    assert convert(layer, order=2, delay=1) is layer
    assert list(similarities(layer)) == [""]
    assert type(revert(layer)) is nn.Linear


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, padding="same", bias=False), nn.Conv2d(2, 3, 2, padding="same"),
        nn.Conv2d(2, 3, 3, padding="valid"), nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(2, 4, (3, 1), padding=(1, 0), stride=2, groups=2),
    ],
)  # fmt: skip
def test_every_kind_of_padding_computes_what_the_plain_layer_does(layer: nn.Conv2d) -> None:
    model, x = nn.Sequential(layer, nn.ReLU()).double(), torch.randn(4, 2, 6, 6).double()
    expected, before = model(x), gradients(model, x)
    convert(model, order=2, delay=0)
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(model, x), before, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_options_can_differ_by_layer() -> None:
    model = convert(
        cnn(),
        order={"0": 2, "6": 3, "8": 4},
        delay=5,
        per_layer={"8": {"delay": 0}, "6": {"gate": "trace", "kernel": "ideal"}},
    )
    layers = traced_layers(model)
    assert [layer.trace.order for layer in layers.values()] == [2, 3, 4]
    assert [layer.trace.delay for layer in layers.values()] == [5, 5, 0]
    assert [layer.rule.gate for layer in layers.values()] == ["trace", "trace", "both"]
    assert layers["6"].trace.kernel == "ideal"


def test_converting_anew_replaces_the_earlier_conversion() -> None:
    model = convert(convert(cnn(), order=3, delay=2), order=5, delay=7, streams=2)
    assert {layer.trace.order for layer in traced_layers(model).values()} == {5}
    assert clock(model).streams == 2
    assert type(revert(model)[1]) is nn.ReLU


def test_other_layers_with_parameters_learn_plainly_with_one_notice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, x = Functional().double(), torch.randn(6, 4).double()
    plain = gradients(model, x)
    with caplog.at_level(logging.WARNING):
        convert(model, order=3, delay=2)
    assert [record.getMessage() for record in caplog.records] == [
        "trained by ordinary back-propagation: norm (LayerNorm)",
    ]
    names = [name for name, _ in model.named_parameters()]
    for name, ours, theirs in zip(names, gradients(model, x), plain, strict=True):
        assert name.startswith("norm") == torch.allclose(ours, theirs), name


def test_nothing_is_said_of_a_model_that_is_traced_throughout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    convert(cnn(), order=3, delay=2)
    assert not caplog.records


def test_a_copy_has_a_clock_of_its_own_and_learns_the_same() -> None:
    model, x = convert(cnn(), order=3, delay=2), torch.randn(6, 2, 8, 8)
    twin = copy.deepcopy(model)
    assert clock(twin) is not clock(model)
    assert {id(layer.clock) for layer in traced_layers(twin).values()} == {id(clock(twin))}
    assert all(
        torch.equal(a, b) for a, b in zip(gradients(twin, x), gradients(model, x), strict=True)
    )


def test_pairings_follow_the_length_of_the_batch_and_kept_times() -> None:
    model = convert(nn.Linear(3, 2), order=3, delay=2, streams=2).double()
    time, trace = clock(model), model.trace
    assert time.pairing(trace, 12, model.weight).matrix.shape == (6, 6)
    assert time.pairing(trace, 8, model.weight).matrix.shape == (4, 4)
    assert time.pairing(trace, 8, model.weight) is time.pairing(trace, 8, model.weight)
    time.keep(torch.tensor([0, 4, 1]), torch.tensor([0, 0, 1]), length=6)
    kept = time.pairing(trace, 3, model.weight)
    assert kept.matrix.shape == (3, 3)
    assert kept.matrix[0, 1] == kept.matrix[0, 2] == 0  # later, and of another stream
    time.keep_all()
    assert time.pairing(trace, 12, model.weight).matrix.shape == (6, 6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"order": 0}, "order is 0"),
        ({"delay": -1}, "delay is -1"),
        ({"delay": 1.5}, "delay is 1.5"),
        ({"delay": {"0": 1}}, "not for `6`"),
        ({"order": {"0": 1, "6": 1, "8": 1, "9": 1}}, "unknown layer `9`"),
        ({"per_layer": {"conv": {}}}, "unknown layer `conv`"),
        ({"per_layer": {"0": {"dealy": 1}}}, "unknown per_layer['0']: option `dealy`"),
        ({"gate": "none"}, "unknown gate `none`"),
        ({"kernel": "gamma"}, "unknown kernel `gamma`"),
        ({"threshold": 0.1, "binary": 0.1}, "both `threshold` and `binary`"),
        ({"streams": 0}, "streams is 0"),
    ],
)
def test_mistakes_are_named_and_leave_the_model_alone(options: dict[str, Any], says: str) -> None:
    model = cnn()
    with pytest.raises(UsageError) as caught:
        convert(model, **{"order": 2, "delay": 1, **options})
    assert says in str(caught.value)
    assert type(model[0]) is nn.Conv2d
    assert type(model[1]) is nn.ReLU


def test_rows_that_do_not_fit_are_refused() -> None:
    model = convert(cnn(), order=2, delay=1, streams=4)
    with pytest.raises(UsageError, match="6 rows cannot be cut into 4 streams"):
        model(torch.randn(6, 2, 8, 8))
    clock(model).keep(torch.tensor([0, 3]), length=8)
    with pytest.raises(UsageError, match="6 rows, but 2 time stamps"):
        model(torch.randn(6, 2, 8, 8))


def test_a_plain_model_has_no_clock() -> None:
    with pytest.raises(UsageError, match="no traced layer"):
        clock(cnn())
