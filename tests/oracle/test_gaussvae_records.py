"""The nets, losses, schedules and Adam of the original, as recorded from it under Keras 3.15.

The records lie in `gaussvae_records/`; where they came from and what they hold, its README says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weft.config.sections import HeldOut
from weft.engine.schedule import HeldOutSchedule
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.model import SplatVAE, build_model
from weft.families.gaussvae.objective import reconstruction, weighted
from weft.families.gaussvae.optim.keras import KerasAdam
from weft.families.gaussvae.options.sections import BetaConfig, GroupWeights, KlConfig
from weft.families.gaussvae.terms.groups import GROUPS
from weft.families.gaussvae.terms.posterior import beta_at, divergence, kl_term, sampled
from weft.task.metric import Metric

HOME = Path(__file__).with_name("gaussvae_records")
EXACT = {"rtol": 1e-12, "atol": 1e-13}
GROUP_NAMES = ("xy", "scale", "rot", "feat")


class Record:
    """One file: `record["expect/z"]` is a float64 tensor, `record.option` its settings."""

    def __init__(self, name: str) -> None:
        with np.load(HOME / f"{name}.npz") as file:
            self.arrays = {key: file[key] for key in file.files}
        self.option: dict[str, Any] = json.loads(str(self.arrays.pop("option")))

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): self[k] for k in self.arrays if k.startswith(prefix)}


def _config(**values: Any) -> Config:
    return Config.model_validate({"epochs": 1, **values})


def _net(arch: str, option: Mapping[str, Any]) -> SplatVAE:
    names = [f"{side}_{what}" for side in ("encoder", "decoder") for what in (
        "filters", "kernel_sizes", "dense_units")]  # fmt: skip
    names += ["encoder_pool_sizes", "decoder_upsample_sizes", "decoder_reshape_target"]
    net = {name: option[name] for name in names}
    net["encoder_dropout_rates"] = [option["dropout"]] * len(option["encoder_filters"])
    net["encoder_dense_dropout"] = option["dropout"]
    config = _config(arch=arch, latent_dim=option["latent_dim"], pool="gap", net=net)
    return build_model(config, option["input_shape"][0]).double()


def _layers(model: SplatVAE) -> Iterator[tuple[str, nn.Module]]:
    """Layers by the original's names."""
    for side, half in (("encoder", model.encoder), ("decoder", model.decoder)):
        for number, block in enumerate(half.blocks, 1):  # type: ignore[union-attr, arg-type]
            name = f"{side}.{side}_resblock{number}_"
            if hasattr(block, "conv2"):
                for each in (1, 2):
                    yield f"{name}conv{each}", getattr(block, f"conv{each}")
                    yield f"{name}bn{each}", getattr(block, f"norm{each}")
                if not isinstance(block.skip, nn.Identity):
                    yield f"{name}residual_projection", block.skip
            else:
                yield f"{side}.{side}_conv{number}", block.conv
                shift = 0 if side == "encoder" else len(half.norms)
                yield f"{side}.{side}_bn{number + shift}", block.norm
    yield "encoder.encoder_dense", model.encoder.dense
    yield "encoder.encoder_bn_dense", model.encoder.norm
    yield "encoder.z_mean", model.encoder.mean
    yield "encoder.z_log_var", model.encoder.log_var
    decoder = model.decoder
    for number, (dense, norm) in enumerate(zip(decoder.dense, decoder.norms, strict=True), 1):
        yield f"decoder.decoder_dense{number}", dense
        yield f"decoder.decoder_bn{number}", norm
    yield "decoder.decoder_output", decoder.out


def _arrays(name: str, layer: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """(the original's name, our tensor, whether its axes are in the opposite order)."""
    if isinstance(layer, nn.BatchNorm1d):
        ours = {"gamma": layer.weight, "beta": layer.bias, "moving_mean": layer.running_mean,
                "moving_variance": layer.running_var}  # fmt: skip
        for key, tensor in ours.items():
            yield f"{name}.{key}", tensor, False
    else:
        yield f"{name}.kernel", layer.weight, True
        yield f"{name}.bias", layer.bias, False


def _as_ours(values: Tensor, turned: bool) -> Tensor:
    return values.permute(*reversed(range(values.dim()))) if turned else values


@pytest.fixture(params=["conv1d", "resnet"])
def case(request: pytest.FixtureRequest) -> tuple[Record, SplatVAE]:
    record = Record(f"net_{request.param}")
    model = _net(request.param, record.option)
    given = record.under("param/")
    with torch.no_grad():
        for name, layer in _layers(model):
            for key, tensor, turned in _arrays(name, layer):
                tensor.copy_(_as_ours(given.pop(key), turned))
    assert not given
    return record, model


def test_evaluation_is_the_original_s(case: tuple[Record, SplatVAE]) -> None:
    record, model = case
    model.eval()
    with torch.no_grad():
        mean, log_var = model.encode(record["input/x"])
        decoded = model.decode(mean)
    torch.testing.assert_close(mean, record["expect/eval_mean"], **EXACT)
    torch.testing.assert_close(log_var, record["expect/eval_log_var"], **EXACT)
    torch.testing.assert_close(decoded, record["expect/eval_decoded_mean"], **EXACT)


def test_a_training_step_is_the_original_s(case: tuple[Record, SplatVAE]) -> None:
    record, model = case
    x, groups = record["input/x"], GROUPS["rs"]
    mean, log_var = model.encode(x)
    z = sampled(mean, log_var, record["input/epsilon"])
    decoded = model.decode(z)
    recon = reconstruction(decoded, x, groups, weighted("equal", GroupWeights(), groups))
    kl = kl_term(divergence(mean, log_var), KlConfig(), 0.0)
    loss = recon.loss + record.option["beta"] * kl
    loss.backward()
    found = {"mean": mean, "log_var": log_var, "z": z, "decoded": decoded, "loss": loss,
             "reconstruction": recon.total, "kl": kl}  # fmt: skip
    found |= {f"loss_{name}": recon.groups[name] for name in GROUP_NAMES}
    for name, value in found.items():
        torch.testing.assert_close(value.detach(), record[f"expect/{name}"], **EXACT)
    gradients, moved = record.under("grad/"), record.under("buffer/")
    for name, layer in _layers(model):
        for key, tensor, turned in _arrays(name, layer):
            wanted = gradients.pop(key) if key in gradients else moved.pop(key)
            ours = tensor if tensor.grad is None else tensor.grad
            torch.testing.assert_close(ours, _as_ours(wanted, turned), **EXACT)
    assert not gradients and not moved


@pytest.mark.parametrize("net", ["conv1d_L256", "conv1d_L512", "resnet_L512"])
def test_nets_have_the_original_s_parameters(net: str) -> None:
    arch, latent = net.split("_L")
    model = build_model(_config(arch=arch, latent_dim=int(latent), pool="gap"), 512)
    counted = [_counted(half) for half in (model.encoder, model.decoder)]
    trained = sum(p.numel() for p in model.parameters())
    assert [*counted, trained] == Record("sizes")[f"expect/{net}"].tolist()
    totals = {"conv1d_L256": 1_595_416, "conv1d_L512": 1_989_144, "resnet_L512": 12_241_784}
    assert sum(counted) == totals[net]


def _counted(half: nn.Module) -> int:
    """Parameters as Keras counts them: moving statistics are some."""
    return sum(t.numel() for t in half.state_dict().values() if t.is_floating_point())


def test_losses_are_the_original_s() -> None:
    record, groups = Record("losses"), GROUPS["rs"]
    weights = weighted("equal", GroupWeights(), groups)
    recon = reconstruction(record["input/prediction"], record["input/data"], groups, weights)
    kl = kl_term(divergence(record["input/mean"], record["input/log_var"]), KlConfig(), 0.0)
    torch.testing.assert_close(recon.total, record["expect/reconstruction"], **EXACT)
    torch.testing.assert_close(kl, record["expect/kl"], **EXACT)
    for name in GROUP_NAMES:
        torch.testing.assert_close(recon.groups[name], record[f"expect/loss_{name}"], **EXACT)
    for beta in (0.0, 0.1, 0.5, 1.0):
        total = recon.loss + beta * kl
        torch.testing.assert_close(total, record[f"expect/total_beta{beta}"], **EXACT)
    standard = torch.zeros(5, 6, dtype=torch.float64)
    assert (
        kl_term(divergence(standard, standard), KlConfig(), 0.0) == record["expect/kl_of_standard"]
    )


def test_beta_rises_as_in_the_original() -> None:
    for name, wanted in Record("beta").under("expect/").items():
        most, warmup = name.removeprefix("max").split("_warmup")
        config = BetaConfig(max=float(most), warmup=int(warmup))
        found = torch.tensor([beta_at(config, e) for e in range(60)], dtype=torch.float64)
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=0)


@pytest.mark.parametrize(("case", "lr"), [("lr0.001_scale1.0", 1e-3), ("lr0.01_scale1e-06", 1e-2)])
def test_adam_is_keras_adam(case: str, lr: float) -> None:
    record = Record("adam")
    weights = {name: nn.Parameter(record[f"input/{case}/{name}"].clone()) for name in "wb"}
    optimiser = KerasAdam(weights.values(), lr=lr)
    for step in range(5):
        for name, weight in weights.items():
            weight.grad = record[f"input/{case}/g{name}{step}"].clone()
        optimiser.step()
        for name, weight in weights.items():
            wanted = record[f"expect/{case}/{name}{step}"]
            start = record[f"input/{case}/{name}"]
            # 1 - beta2^n was float32 there: 7e-6 of how far the weight went.
            torch.testing.assert_close(weight - start, wanted - start, rtol=1e-5, atol=0)


def test_torch_s_adam_is_another() -> None:
    record, case = Record("adam"), "lr0.01_scale1e-06"
    weight = nn.Parameter(record[f"input/{case}/w"].clone())
    optimiser = torch.optim.Adam([weight], lr=1e-2, eps=1e-7)
    for step in range(5):
        weight.grad = record[f"input/{case}/gw{step}"].clone()
        optimiser.step()
    assert (weight - record[f"expect/{case}/w4"]).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["falling", "flat", "dip", "noisy", "rising"])
def test_the_rate_falls_and_training_ends_as_in_the_original(name: str) -> None:
    record = Record("plateau")
    option, wanted = record.option, record[f"expect/{name}"]
    config = HeldOut(
        factor=option["factor"],
        patience=option["patience"],
        margin=option["min_delta_of_plateau"],
        min_lr=option["min_lr"] / 1e-3,
    )
    schedule, rates = HeldOutSchedule(config, 40), []
    best, stale, stopped = math.inf, 0, -1
    for epoch, value in enumerate(record[f"input/{name}"].tolist()):
        schedule.judge(value)
        rates.append(1e-3 * schedule.factor(0))
        # What the loop counts for `eval.patience`.
        better = Metric("loss", "lower").improves(value, best)
        best, stale = (value, 0) if better else (best, stale + 1)
        if stopped < 0 and stale >= option["early_stopping_patience"]:
            stopped = epoch
    torch.testing.assert_close(torch.tensor(rates).double(), wanted, rtol=1e-6, atol=0)
    assert stopped == int(record[f"expect/{name}_stopped_after_epoch"])
