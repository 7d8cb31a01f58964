"""Updates of the original, recorded once in float64, are reproduced.

The records stand beside the data sets, in `parity/cet` next to the folder that WEFT_DATA names.
Where they differ on purpose, biases of convolutions, is said in the family's README.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weft.families.cet.objective import cross_entropy, largest
from weft.families.cet.trace.conversion import clock, convert, similarities, traced_layers
from weft.families.cet.trace.kernel import cascade_kernel

HOME = Path(os.environ.get("WEFT_DATA", "none")).parent / "parity" / "cet"
PASSES = {"gate", "kernel", "error", "threshold", "binary", "theta_threshold"}
EXACT = {"rtol": 1e-9, "atol": 1e-13}

pytestmark = pytest.mark.skipif(not HOME.is_dir(), reason="no records beside the data sets")


def names(pattern: str) -> list[str]:
    return sorted(path.stem for path in HOME.glob(f"{pattern}.npz"))


def read(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The options of a record and its arrays."""
    with np.load(HOME / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(np.asarray(file[key])) for key in file if key != "option"}
        return json.loads(str(file["option"])), arrays


def network(option: Mapping[str, Any], start: Mapping[str, Tensor]) -> nn.Module:
    """The original's network with the recorded weights."""
    parts: dict[str, nn.Module] = {}
    if "c1.weight" in start:
        for i, channels in enumerate((4, 6, 8), start=1):
            parts[f"c{i}"] = nn.Conv2d(start[f"c{i}.weight"].shape[1], channels, 3, padding=1)
            parts[f"relu{i}"], parts[f"pool{i}"] = nn.ReLU(), nn.AvgPool2d(2)
            parts[f"bn{i}"] = {
                "batch": nn.BatchNorm2d(channels, affine=False), "group": nn.GroupNorm(1, channels),
                "instance": nn.InstanceNorm2d(channels), "none": nn.Identity(),
            }[option.get("norm_op") or "batch"]  # fmt: skip
    parts["flatten"] = nn.Flatten()
    dense = [name for name in ("w1", "w2", "w3") if f"{name}.weight" in start]
    for i, name in enumerate(dense):
        outputs, inputs = start[f"{name}.weight"].shape
        parts[name] = nn.Linear(inputs, outputs)
        if i + 1 < len(dense):
            parts[f"relu_{name}"] = nn.ReLU()
    model = nn.Sequential()
    for name, part in parts.items():
        model.add_module(name, part)
    model.double()
    load(model, start)
    return model


def load(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.data.copy_(value(values, name).view_as(parameter))


def value(values: Mapping[str, Tensor], name: str) -> Tensor:
    """A recorded array by the name that the layer's parameter has here."""
    if name not in values:
        layer, _, kind = name.partition(".")
        name = f"{layer}.norm.{kind}"
    return values[name]


def under(arrays: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def check(model: nn.Module, expected: Mapping[str, Tensor], *, conv_biases: bool) -> None:
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        if conv_biases or not (name[0] == "c" and name.endswith("bias")):
            recorded = value(expected, name).view_as(parameter)
            torch.testing.assert_close(parameter.grad, recorded, **EXACT, msg=name)


def test_kernels_are_the_recorded_ones() -> None:
    for name, taps in read("kernel_behavioural")[1].items():
        delay, degree = (int(part[1:]) for part in name.split("_")[1:3])
        if delay > 0:
            ours = cascade_kernel(delay, degree + 1, len(taps))
            torch.testing.assert_close(ours, taps, rtol=0, atol=1e-13)
    for name, taps in read("kernel_retrograde")[1].items():
        _, delay, degree, _, depth = (int(part[1:]) for part in name.split("/")[-1].split("_"))
        ours = cascade_kernel(depth * delay, degree + 1, len(taps))
        torch.testing.assert_close(ours, taps, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", names("behavioural_*"))
def test_a_behavioural_pass_is_the_recorded_one(name: str) -> None:
    option, arrays = read(name)
    model = network(option, under(arrays, "param/"))
    own = {key: option[key] for key in PASSES if key in option and key != "gate"}
    sparse = 1e-8 if option.get("sparse_inputs") else None
    convert(
        model, order=option["order"], delay=option["delay"], sparse=sparse, similarity=True, **own
    )  # fmt: skip
    loss = functional.cross_entropy(model(arrays["input/x"]), arrays["input/label"])
    torch.testing.assert_close(loss, arrays["expect/loss"], **EXACT)
    loss.backward()
    check(model, under(arrays, "grad/"), conv_biases=False)
    if option["error"] == "impulse":
        for layer, cosine in under(arrays, "cosine/").items():
            assert float(similarities(model)[layer][0]) == pytest.approx(float(cosine), abs=1e-5)


def retrograde(option: Mapping[str, Any], start: Mapping[str, Tensor]) -> nn.Module:
    model = network(option, start)
    own = {key: option[key] for key in PASSES if key in option}
    layers = 5 if option["arch"] == "cnn" else 3
    taps = option["effective_batch"] + (layers - 1) * option["delay"] + 5
    assert option.get("kernel_taps", taps) == taps
    convert(
        model, order=option["order"], delay=option["delay"], timescale="retrograde", taps=taps,
        similarity=True, **own,
    )  # fmt: skip
    return model


@pytest.mark.parametrize("name", [n for n in names("retrograde_*") if "train" not in n])
def test_a_retrograde_pass_is_the_recorded_one(name: str) -> None:
    option, arrays = read(name)
    model = retrograde(option, under(arrays, "param/"))
    delays = {layer: module.trace.delay for layer, module in traced_layers(model).items()}
    assert delays == {**dict.fromkeys(delays, 0), **option["layer_delay"]}
    times = arrays["input/times"]
    clock(model).keep(times, length=option["batch_size"])
    loss = functional.cross_entropy(model(arrays["input/x"]), arrays["input/label"])
    loss.backward()
    torch.testing.assert_close(loss, arrays["expect/loss"], **EXACT)
    smeared = option["error"] == "smeared"
    check(model, under(arrays, "grad/"), conv_biases=True)
    for layer, recorded in under(arrays, "expect/memory_matrix_").items():
        made = traced_layers(model)[layer].trace.pairing(option["batch_size"]).at(times)
        torch.testing.assert_close(made.matrix, recorded.double(), rtol=0, atol=1e-13)
        if smeared:
            recorded = arrays[f"expect/gate_matrix_{layer}"]
            torch.testing.assert_close(made.gate, recorded, rtol=0, atol=1e-13)


def step_sizes(option: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> list[float]:
    return [option["lr"] * float(f) for f in arrays["expect/learning_rate_factor"]]


@pytest.mark.parametrize("name", names("retrograde_train_*"))
def test_training_steps_are_the_recorded_ones(name: str) -> None:
    option, arrays = read(name)
    model = retrograde(option, under(arrays, "param/start/"))
    kind = torch.optim.AdamW if option["optim"] == "AdamW" else torch.optim.SGD
    optimiser = kind(model.parameters(), lr=option["lr"], weight_decay=option["weight_decay"])
    rates, slices, every = (
        step_sizes(option, arrays), option["input_accumulation"], option["gradient_accumulation"]
    )  # fmt: skip
    for step in range(option["steps"]):
        own = under(arrays, f"input/s{step}/")
        kept = torch.arange(option["batch_size"])
        if option["top_quantile"] > 0:
            with torch.no_grad():  # which moves running statistics there, and so it does here
                losses = [
                    functional.cross_entropy(model(own["x"][j::slices]), own["label"][j::slices],
                                             reduction="none") for j in range(slices)
                ]  # fmt: skip
            size = len(losses[0])
            count = size - int(np.ceil(option["top_quantile"] * (size - 1) - 1e-9))
            picked = [largest(loss[None], count)[0] * slices + j for j, loss in enumerate(losses)]
            kept = torch.cat(picked)
            assert kept.tolist() == arrays[f"expect/s{step}/kept"].tolist()
        clock(model).keep(own["times"], length=option["batch_size"])
        loss = cross_entropy(model(own["x"][kept]), own["label"][kept]).mean()
        loss.backward()
        torch.testing.assert_close(loss, arrays[f"expect/s{step}/loss"], **EXACT)
        clock(model).keep_all()
        torch.nn.utils.clip_grad_norm_(model.parameters(), option["clip"])
        if (step + 1) % every == 0:
            optimiser.param_groups[0]["lr"] = rates[step // every]
            optimiser.step()
            optimiser.zero_grad()
        for key, recorded in under(arrays, f"param/after{step}/").items():
            ours = model.get_parameter(key).data
            torch.testing.assert_close(ours, recorded.view_as(ours), rtol=1e-7, atol=1e-9, msg=key)
