"""Models that other people write: converted, they compute what they did and learn by the rule.

The rule is summed by loops from what hooks see of a model that was never converted: inputs and
outputs of its layers, their errors, and the errors of the ReLUs that are known to stand behind.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from weft.errors import UsageError
from weft.families.cet.reference import literal_conv_update, literal_update
from weft.families.cet.trace.conversion import clock, convert, revert, summary, traced_layers
from weft.families.cet.trace.streams import Trace

ROWS = 5
TRACE = {"delay": 2, "order": 3}
Walk = Callable[[nn.Sequential, Tensor], Tensor]


class Residual(nn.Module):
    """Two convolutions, one ReLU module in place for both, batch norm, a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.norm, self.relu, self.head = nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        y = self.norm(self.inner(x))
        y += x
        return self.head(self.relu(y).flatten(1))


class Chain(nn.Module):
    """A Sequential that the model walks through in its own way."""

    def __init__(
        self, walk: Callable[[nn.Sequential, Tensor], Tensor], *between: nn.Module
    ) -> None:
        super().__init__()
        self.chain = nn.Sequential(nn.Linear(4, 3), *between, nn.ReLU(), nn.Linear(3, 2))
        self.walk = walk

    def forward(self, x: Tensor) -> Tensor:
        return self.walk(self.chain, x)


def whole(chain: nn.Sequential, x: Tensor) -> Tensor:
    return chain(x)


def indexed(chain: nn.Sequential, x: Tensor) -> Tensor:
    return chain[2](chain[1](chain[0](x)))


def iterated(chain: nn.Sequential, x: Tensor) -> Tensor:
    for module in chain:
        x = module(x)
    return x


def sliced(chain: nn.Sequential, x: Tensor) -> Tensor:
    return chain[1:](chain[:1](x))


def without_its_relu(chain: nn.Sequential, x: Tensor) -> Tensor:
    return chain[2](chain[0](x).tanh())


def beside(chain: nn.Sequential, x: Tensor) -> Tensor:
    before = chain[0](x)
    return chain[2](chain[1](before) + before)


def called(chain: nn.Sequential, x: Tensor) -> Tensor:
    return chain[2](functional.relu(chain[0](x)))


def called_in_place(chain: nn.Sequential, x: Tensor) -> Tensor:
    return chain[2](chain[0](x).relu_())


def called_again(chain: nn.Sequential, x: Tensor) -> Tensor:
    return checkpoint(called, chain, x, use_reentrant=False)


def called_beside(chain: nn.Sequential, x: Tensor) -> Tensor:
    before = chain[0](x)
    return chain[2](functional.relu(before) + before)


def again(chain: nn.Sequential, x: Tensor) -> Tensor:
    return checkpoint(chain, x, use_reentrant=False)


def again_from_scratch(chain: nn.Sequential, x: Tensor) -> Tensor:
    return checkpoint(chain, x, use_reentrant=True)


def geometry() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=2, dilation=2, groups=2), nn.ReLU(inplace=True),
        nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip


def images() -> Tensor:
    return torch.randn(ROWS, 2, 4, 4).double()


def rows() -> Tensor:
    return torch.randn(ROWS, 4).double()


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], dict[str, str]]] = {
    "residual": (Residual, images, {"stem": "relu"}),
    "whole": (lambda: Chain(whole), rows, {"chain.0": "chain.1"}),
    "indexed": (lambda: Chain(indexed), rows, {"chain.0": "chain.1"}),
    "iterated": (lambda: Chain(iterated), rows, {"chain.0": "chain.1"}),
    "sliced": (lambda: Chain(sliced), rows, {"chain.0": "chain.1"}),
    "without its ReLU": (lambda: Chain(without_its_relu), rows, {}),
    "beside": (lambda: Chain(beside), rows, {}),
    "function beside": (lambda: Chain(called_beside), rows, {}),
    "identity between": (lambda: Chain(whole, nn.Identity()), rows, {"chain.0": "chain.2"}),
    "dropout between": (lambda: Chain(whole, nn.Dropout(0.5)), rows, {}),
    "checkpoint": (lambda: Chain(again), rows, {"chain.0": "chain.1"}),
    "checkpoint, reentrant": (
        lambda: Chain(again_from_scratch),
        lambda: rows().requires_grad_(),
        {"chain.0": "chain.1"},
    ),
    "geometry": (geometry, images, {"0": "1"}),
    "3-D": (lambda: Chain(whole), lambda: torch.randn(ROWS, 3, 4).double(), {"chain.0": "chain.1"}),
}
"""Model, input, and the ReLU that stands behind each layer that has one."""


def make(name: str) -> tuple[nn.Module, Tensor, dict[str, str]]:
    build, inputs, behind = MODELS[name]
    torch.manual_seed(0)
    return build().double(), inputs(), behind


def learn(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(1)
    (model(x) - 0.3).square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Of copies of the model, in training and in eval mode."""
    found = []
    for mode in (True, False):
        torch.manual_seed(1)
        found.append(copy.deepcopy(model).train(mode)(x))
    return found


def by_loops(model: nn.Module, x: Tensor, behind: dict[str, str], gate: str) -> dict[str, Tensor]:
    """Weight updates of a plain model's layers."""
    seen: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    layers = {n: m for n, m in modules.items() if type(m) in (nn.Linear, nn.Conv2d)}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
            if f"out {name}" not in seen and out.requires_grad:  # a shared ReLU: its first call
                seen[f"in {name}"], seen[f"out {name}"] = (
                    args[0].detach().clone(),
                    out.detach().clone(),
                )
                out.register_hook(lambda error: seen.__setitem__(f"error {name}", error.clone()))

        return hook

    handles = [
        modules[name].register_forward_hook(keep(name)) for name in [*layers, *behind.values()]
    ]
    learn(model, x)
    for handle in handles:
        handle.remove()
    found = {}
    moments: dict[str, Any] = {
        "length": ROWS, "times": range(ROWS), "stream": [0] * ROWS, "enters": [True] * ROWS
    }  # fmt: skip
    for name, layer in layers.items():
        relu = behind.get(name)
        error = seen[f"error {relu or name}"]
        theta = (seen[f"out {relu}"] > 0).double() if relu else torch.ones_like(error)
        stored, common = seen[f"in {name}"], (Trace(**TRACE), gate)
        if isinstance(layer, nn.Conv2d):
            weight = literal_conv_update(stored, error, theta, layer, *common, **moments)[0]
        elif stored.dim() == 3:
            parts = zip(stored.unbind(1), error.unbind(1), theta.unbind(1), strict=True)
            weight = sum(literal_update(*part, *common, **moments)[0] for part in parts)
        else:
            weight = literal_update(stored, error, theta, *common, **moments)[0]
        found[f"{name}.weight"] = weight
    return found


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")
@pytest.mark.parametrize("gate", ["trace", "both"])
@pytest.mark.parametrize("name", MODELS)
def test_updates_are_those_of_the_loops_and_outputs_those_of_before(name: str, gate: str) -> None:
    model, x, behind = make(name)
    expected = by_loops(copy.deepcopy(model), x, behind, gate)
    before = outputs(model, x)
    convert(model, gate=gate, **TRACE)
    assert all(map(torch.equal, outputs(model, x), before))
    ours = learn(model.train(), x)
    for key, update in expected.items():
        torch.testing.assert_close(ours[key], update, rtol=1e-10, atol=1e-12, msg=key)
    read = {n for n, layer in traced_layers(model).items() if layer.watch.read}
    assert read == set(behind)


@pytest.mark.parametrize("name", MODELS)
def test_the_gate_foreseen_is_the_one_that_is_read(name: str) -> None:
    model, x, behind = make(name)
    layers = traced_layers(convert(model, **TRACE))
    known = all(layer.watch.follower != "unknown" for layer in layers.values())
    assert known == (name not in ("sliced", "checkpoint, reentrant"))  # too much for torch.fx
    if known:
        assert {n for n, layer in layers.items() if layer.watch.follower == "relu"} == set(behind)
    foreseen = {n: layer.watch.effective for n, layer in layers.items()}
    learn(model, x)
    for layer, told in foreseen.items():
        assert told.startswith(layers[layer].watch.effective) or not known


@pytest.mark.parametrize("walk", [called, called_in_place, called_again])
@pytest.mark.parametrize("gate", ["trace", "both"])
def test_a_relu_that_is_a_function_call_is_read_in_the_graph(walk: Walk, gate: Any) -> None:
    model, x, behind = make("whole")
    expected = by_loops(copy.deepcopy(model), x, behind, gate)
    model.walk = walk
    before = outputs(model, x)
    convert(model, gate=gate, **TRACE)
    assert all(map(torch.equal, outputs(model, x), before))
    assert "a ReLU behind it, a function call" in summary(model)
    assert model.chain[0].watch.effective == gate
    for _ in range(2):
        ours = learn(model, x)
    for key, update in expected.items():
        torch.testing.assert_close(ours[key], update, rtol=1e-10, atol=1e-12, msg=key)


def test_a_function_call_outside_the_models_own_pass_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, x, _ = make("whole")
    model.walk = called
    convert(model, **TRACE)
    called(model.chain, x).sum().backward()
    assert (
        len(told(caplog)) == 1 and "`chain.0`: the ReLU behind it was not read" in told(caplog)[0]
    )
    assert "gate=error" in repr(model.chain[0])


@pytest.mark.parametrize("gate", ["trace", "both"])
def test_a_layer_in_two_places_learns_what_two_layers_would_together(gate: Any) -> None:
    torch.manual_seed(0)
    layer, relu, x = nn.Linear(4, 4).double(), nn.ReLU(), rows()
    apart = nn.Sequential(copy.deepcopy(layer), nn.ReLU(), copy.deepcopy(layer), nn.ReLU())
    shared = nn.Sequential(layer, relu, layer, relu)
    both = learn(convert(apart, gate=gate, **TRACE), x)
    ours = learn(convert(shared, gate=gate, **TRACE), x)
    for kind in ("weight", "bias"):
        torch.testing.assert_close(ours[f"0.{kind}"], both[f"0.{kind}"] + both[f"2.{kind}"])
    assert not torch.allclose(both["0.weight"], both["2.weight"])


def test_tracing_a_model_runs_none_of_its_code_on_the_model_itself() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.calls = nn.Linear(4, 2), 0
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.seen += torch.rand(())
            return self.layer(x)

    model = Counting()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    convert(model, **TRACE)
    assert model.calls == 0 and model.seen == 0
    assert torch.equal(torch.rand(3), expected)


def test_a_model_that_looks_at_its_data_is_read_at_run_time() -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.relu = nn.Linear(4, 2), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.layer(x)) if x.sum() > 0 else self.layer(x)

    model = convert(Choosing(), **TRACE)
    assert "both, if a ReLU is found behind it" in summary(model)
    learn(model, torch.ones(ROWS, 4))
    assert "gate=both" in repr(model) and "a ReLU behind it" in summary(model)
    learn(model, -torch.ones(ROWS, 4))
    assert "gate=error" in repr(model)


def test_a_model_changed_afterwards_learns_by_what_it_then_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, x, _ = make("whole")
    changed = copy.deepcopy(model)
    changed.chain[1] = nn.Tanh()
    expected = by_loops(changed, x, {}, "both")
    convert(model, **TRACE).chain[1] = nn.Tanh()
    for _ in range(2):
        ours = learn(model, x)
    for key, update in expected.items():
        torch.testing.assert_close(ours[key], update, rtol=1e-10, atol=1e-12)
    assert [r.getMessage()[:13] for r in caplog.records] == ["layer `chain."]
    model.chain.append(nn.Linear(2, 2).double())
    assert model(x).shape == (ROWS, 2)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_hooks_see_what_they_saw() -> None:
    def watch(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        for name in ("chain.0", "chain.1"):
            module = model.get_submodule(name)
            module.register_forward_hook(
                lambda m, a, out, name=name: seen.__setitem__(f"out {name}", out.detach().clone())
            )
            module.register_full_backward_hook(
                lambda m, i, o, name=name: seen.__setitem__(f"error {name}", o[0].clone())
            )
        learn(model, x)
        return seen

    model, x, behind = make("whole")
    expected = by_loops(copy.deepcopy(model), x, behind, "trace")
    before = watch(copy.deepcopy(model), x)
    after = watch(convert(model, gate="trace", **TRACE), x)
    assert before.keys() == after.keys() and len(before) == 4
    for key in before:
        assert torch.equal(before[key], after[key]), key
    torch.testing.assert_close(model.chain[0].weight.grad, expected["chain.0.weight"])


def test_half_precision_is_near_the_loops() -> None:
    model, x, behind = make("whole")
    expected = by_loops(copy.deepcopy(model), x, behind, "trace")
    model, x = model.bfloat16(), x.bfloat16()
    before = outputs(model, x)
    ours = learn(convert(model, gate="trace", **TRACE), x)
    assert all(map(torch.equal, outputs(model, x), before))
    for key, update in expected.items():
        assert ours[key].dtype == torch.bfloat16
        assert float((ours[key] - update).norm() / update.norm()) < 6e-2


def test_a_converted_model_is_exported_saved_and_copied() -> None:
    model, x, _ = make("residual")
    convert(model, **TRACE)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies = [
        learn(copied, x) for copied in (copy.deepcopy(model), torch.load(file, weights_only=False))
    ]
    for key, gradient in learn(model, x).items():
        assert all(torch.equal(copied[key], gradient) for copied in copies), key
    exported = torch.export.export(model.eval(), (x,)).module()
    with torch.no_grad():
        assert torch.equal(exported(x), model(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["residual", "whole", "beside"])
def test_compiled_models_learn_as_they_do_uncompiled(name: str) -> None:
    model, x, _ = make(name)
    expected = learn(convert(model, gate="trace", **TRACE), x)
    compiled = torch.compile(model)
    for _ in range(2):
        learn(compiled, x)
        for key, gradient in expected.items():
            ours = model.get_parameter(key).grad
            torch.testing.assert_close(ours, gradient, rtol=1e-9, atol=1e-11)
    with torch.no_grad():
        torch.testing.assert_close(compiled.eval()(x), revert(model)(x))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_what_acts_is_printed_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    model, _, _ = make("residual")
    convert(model, **TRACE, verbose=True)
    assert capsys.readouterr().out.strip() == summary(model)
    assert [line.split()[:5] for line in summary(model).splitlines()[1:]] == [
        ["stem", "Conv2d", "2", "3", "trace"],
        ["inner", "Conv2d", "2", "3", "error"],
        ["head", "Linear", "2", "3", "error"],
    ]
    assert "delay=2, order=3, gate=trace" in repr(model)
    assert "order" not in repr(revert(model))
    with pytest.raises(UsageError):
        clock(model)
