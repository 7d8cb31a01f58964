"""Similarities to the gradient are those of autograd in either comparison, and change nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.oracle.cet_loops import EXACT, GATES, cnn, dense, learn, literal, losses
from weft.families.cet.trace import operation, similarity
from weft.families.cet.trace.conversion import clock, convert, revert, similarities, traced_layers
from weft.families.cet.trace.rule import Rule

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["rows", "blocks"])
def comparison(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes dense layers compare by rows or by small blocks, whatever their size."""
    monkeypatch.setattr(operation, "ROW_COST", {"rows": inf, "blocks": 0}[request.param])
    monkeypatch.setattr(similarity, "BLOCK", 8)


def cosine_of(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


@pytest.mark.usefixtures("comparison")
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("make", ["dense", "cnn"])
@pytest.mark.parametrize(
    "options",
    [{}, {"sparse": 1e-4}, {"threshold": 0.1}, {"error": "smeared"}, {"streams": 2},
     {"covariance": 0.7}],
)  # fmt: skip
def test_similarity_is_that_of_the_gradients_autograd_finds(
    make: str, gate: str, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = dense() if make == "dense" else cnn(norm=False)
    x = (torch.rand(12, 4) if make == "dense" else torch.rand(12, 2, 8, 8)).double()
    weights = torch.randn(100).double()
    convert(model, order=3, delay=2, gate=gate, similarity=True, **options)
    names = [name for name, _ in model.named_parameters()]
    updates = dict(zip(names, learn(model, x, weights), strict=False))
    ours = similarities(model)
    streams = options.get("streams", 1)
    trace = traced_layers(model)["0"].trace
    arrival = trace.pairing(12 // streams).arrival.repeat(streams)
    revert(model)
    each = losses(model(x), weights) / 12
    for name, (cosine, _, gain) in ours.items():
        weight = model.get_submodule(name).weight
        true = torch.autograd.grad((each * arrival).sum(), weight, retain_graph=True)[0]
        update = updates[f"{name}.weight"]
        assert float(cosine) == pytest.approx(cosine_of(update, true), abs=1e-6)
        expected = (update * true).sum() / true.square().sum()
        assert float(gain) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("options", [{}, {"binary": 0.5}, {"streams": 2}, {"sparse": 1e-4}])
@pytest.mark.parametrize(
    ("make", "comparison"),
    [*product(("narrow", "wide"), ("rows", "blocks")), ("conv", "rows"), ("pooled", "rows")],
    indirect=["comparison"],
)
def test_centred_similarity_is_that_of_updates_of_centred_inputs(
    make: str, gate: str, options: dict[str, Any], comparison: None
) -> None:
    torch.manual_seed(1)
    x = (torch.rand(6, 4) if make in ("narrow", "wide") else torch.rand(6, 2, 4, 4)).double()
    model = {
        "narrow": nn.Sequential(nn.Linear(4, 3), nn.ReLU()),
        "wide": nn.Sequential(nn.Linear(4, 7), nn.ReLU()),
        "conv": nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()),
        "pooled": nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AvgPool2d(2)),
    }[make].double()
    weights = torch.randn(400).double()
    convert(model, order=2, delay=1, gate=gate, similarity=True, **options)
    learn(model, x, weights)
    layer = traced_layers(model)["0"]
    stored = layer.rule.stored(x)
    update = literal(model, x, weights, stored=stored - stored.mean(0))[0]
    layer.trace, layer.rule = replace(layer.trace, kernel="ideal"), Rule(gate)
    true = literal(model, x, weights, stored=x - x.mean(0))[0]
    centred = float(similarities(model)["0"][1])
    assert centred == pytest.approx(cosine_of(update, true), abs=1e-6)


@pytest.mark.usefixtures("comparison")
def test_similarity_in_single_precision_is_that_in_double() -> None:
    torch.manual_seed(2)
    x, weights = torch.rand(128, 60), torch.randn(2000)
    model = nn.Sequential(nn.Linear(60, 200), nn.ReLU(), nn.Linear(200, 10))
    values = []
    for dtype in (torch.float32, torch.float64):
        convert(model.to(dtype), order=1, delay=20, similarity=True)
        learn(model, x.to(dtype), weights.to(dtype))
        values.append(torch.stack(list(similarities(model).values())).double())
    torch.testing.assert_close(*values, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("comparison")
def test_a_zero_vector_has_no_similarity() -> None:
    model = convert(dense(), order=2, delay=1, similarity=True)
    learn(model, torch.zeros(5, 4).double(), torch.randn(100).double())
    assert bool(similarities(model)["0"].isnan().all())


@pytest.mark.usefixtures("comparison")
@pytest.mark.parametrize("make", [dense, cnn])
def test_similarity_changes_no_bit_of_any_gradient(make: Any) -> None:
    model = make()
    shape = (8, 4) if make is dense else (8, 2, 8, 8)
    x, weights = torch.rand(shape).double(), torch.randn(100).double()
    convert(model, order=3, delay=2, sparse=1e-3)
    plain = learn(model, x, weights)
    clock(model).similarity = True
    for a, b in zip(learn(model, x, weights), plain, strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures("comparison")
@pytest.mark.parametrize("gate", GATES)
def test_extra_dimensions_of_a_linear_layer_are_summed_over(gate: str) -> None:
    x, weights = torch.randn(5, 3, 4).double(), torch.randn(100).double()
    model = convert(dense(), order=2, delay=1, gate=gate, similarity=True)
    together = learn(model, x, weights)
    parts = [learn(model, x[:, i], weights.view(-1, 2)[i:15:3].reshape(-1)) for i in range(3)]
    for whole, *each in zip(together[:4], *(p[:4] for p in parts), strict=True):
        torch.testing.assert_close(whole, sum(each), **EXACT)
