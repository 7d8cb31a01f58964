"""What the original computes, recorded once in float64, is reproduced where a run asks for it.

The records stand beside the data sets, in `parity/warp` next to the folder that WEFT_DATA names.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from weft.families.warp import WeightSpaceRNN
from weft.families.warp.objective import reconstruction
from weft.families.warp.optim.adabelief import AdaBelief
from weft.families.warp.optim.plateau import LiteralSchedule
from weft.families.warp.options.sections import LiteralPlateau
from weft.families.warp.sets.regression import pairs
from weft.task.schedule import Leading

HOME = Path(os.environ.get("WEFT_DATA", "none")).parent / "parity" / "warp"
EXACT = {"rtol": 1e-11, "atol": 1e-13}

pytestmark = pytest.mark.skipif(not HOME.is_dir(), reason="no records beside the data sets")


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def read(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The options of a record and its arrays."""
    with np.load(HOME / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(np.asarray(file[key])) for key in file if key != "option"}
        return json.loads(str(file["option"])), arrays


def network(option: dict[str, Any], record: dict[str, Tensor], **more: Any) -> WeightSpaceRNN:
    """The original's network with the recorded weights."""
    embedding = option.get("conv_embedding")
    rnn = WeightSpaceRNN(
        option["data_size"],
        uncertain=option["predict_uncertainty"],
        std_lower_bound=option["std_lower_bound"],
        width=option["width_size"],
        depth=option["depth"],
        nonlinearity=option["activation"],
        final=option["final_activation"],
        limit=option["weights_lim"],
        encoding=option["positional_encoding"],
        length=record["input/x"].shape[1],
        embedding=None if embedding is None else (*embedding, 0)[:3],
        smoothing=embedding is not None,
        **more,
    )
    (layer,) = rnn.layers
    with torch.no_grad():
        layer.transition.E.copy_(record["param/A"] - torch.eye(option["D"]))
        layer.B.copy_(record["param/B"])
        layer.initial.theta.copy_(record["param/theta_0"])
        if rnn.embedding is not None and rnn.smoothing is not None:
            rnn.embedding.conv.weight.copy_(record["param/embedding"])
            rnn.smoothing.taps.copy_(record["param/smoothing"].flatten())
    return rnn


def check(rnn: WeightSpaceRNN, record: dict[str, Tensor]) -> None:
    """Outputs, the loss and its gradients."""
    x, coin = record["input/x"], record["input/coin"].double()
    fed = rnn.embedding is None
    out = rnn(x, force=coin if fed else None)[0]
    torch.testing.assert_close(out, record["expect/out"], **EXACT)
    d = rnn.head.channels
    loss = reconstruction(out[..., :d], out[..., d:] if rnn.head.uncertain else None, x)
    torch.testing.assert_close(loss, record["expect/loss"], **EXACT)
    loss.backward()
    (layer,) = rnn.layers
    found = {"A": layer.transition.E.grad, "B": layer.B.grad, "theta_0": layer.initial.theta.grad}
    if rnn.embedding is not None and rnn.smoothing is not None:
        found["embedding"] = rnn.embedding.conv.weight.grad
        found["smoothing"] = rnn.smoothing.taps.grad.view(1, 1, -1)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, record[f"grad/{name}"], msg=name, **EXACT)


@pytest.mark.parametrize("form", ["auto", "loop", "sequential"])
def test_an_encoding_that_is_extrapolated_is_the_original_s(form: str) -> None:
    option, record = read("ar_encoding")
    check(network(option, record, encoding_extrapolates=True, form=form), record)


@pytest.mark.parametrize("form", ["auto", "loop"])
def test_half_the_gradient_at_the_bound_is_the_original_s(form: str) -> None:
    option, record = read("ar_clip_fresh")
    check(network(option, record, halves=True, form=form), record)


@pytest.mark.parametrize("name", ["free_embedding", "free_embedding_causal"])
def test_convolutions_with_zeros_beyond_the_edges_are_the_original_s(name: str) -> None:
    option, record = read(name)
    check(network(option, record, original_convolutions=True), record)


@pytest.mark.parametrize("name", ["ar_clip", "ar_free", "ar_mse"])
def test_clipped_and_unclipped_runs_are_the_original_s(name: str) -> None:
    option, record = read(name)
    check(network(option, record), record)


def test_the_query_of_a_regression_in_context_is_zero_as_in_the_original() -> None:
    option, record = read("in_context")
    steps, inputs = record["input/x"].shape[1:]
    w, x = record["input/w"], record["input/x"]
    drawn = iter([w.unsqueeze(-1), x])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", lambda *_, **__: (next(drawn) + 1) / 2)
        batch = pairs(len(x), steps, inputs, torch.Generator(), cumsum="features")
    assert option["cumsum"].startswith("features")
    for name, expected in {"x": "columns", "target": "target"}.items():
        recorded = record[f"expect/{expected}"].float()
        torch.testing.assert_close(batch[name], recorded, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["falling", "flat", "noisy", "negative_rising", "negative_flat", "cooldown"]
)
def test_the_plateau_rule_cuts_where_the_original_s_does(name: str) -> None:
    _, record = read("plateau")
    patience, cooldown, factor, rtol, window, floor = record[f"input/{name}_options"].tolist()
    schedule = LiteralSchedule(
        LiteralPlateau(
            patience=int(patience), cooldown=int(cooldown), factor=factor, rtol=rtol,
            window=int(window), min_lr=floor,
        ),
        100,
    )  # fmt: skip
    assert isinstance(schedule, Leading)
    for step, loss in enumerate(record[f"input/{name}"].tolist()):
        schedule.observe(loss)
        used, after = record[f"expect/{name}"][step].tolist()
        assert schedule.factor(step) == pytest.approx(used) == pytest.approx(after)


@pytest.mark.parametrize("name", ["tiny_clip", "no_clip", "moderate"])
def test_a_chain_of_updates_is_the_original_s(name: str) -> None:
    option, record = read(f"optimiser_{name}")
    weights = {each: torch.nn.Parameter(record[f"input/{each}"].clone()) for each in ("w", "b")}
    chain = {key: value for key, value in option["optim"].items() if key != "kind"}
    optimiser = AdaBelief(weights.values(), **chain)
    given = {key: value for key, value in option["schedule"].items() if key != "kind"}
    schedule = LiteralSchedule(LiteralPlateau(**given), 14)
    limit = option["gradient_lim"] or math.inf
    for step, loss in enumerate(record["input/loss"].tolist()):
        for each, parameter in weights.items():
            parameter.grad = record[f"input/g_{each}_{step}"].clamp(-limit, limit)
        schedule.observe(loss)
        optimiser.param_groups[0]["lr"] = chain["lr"] * schedule.factor(step)
        optimiser.step()
        for each, parameter in weights.items():
            torch.testing.assert_close(parameter.detach(), record[f"expect/{each}_{step}"], **EXACT)
        assert schedule.scale == pytest.approx(record["expect/scale"][step].item())
