"""Benchmark: a training step of the original's nets, and of the same nets in plain PyTorch."""

# B batch, N splats, L latents

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from weft.families.gaussvae.config import Config
from weft.families.gaussvae.model import build_model
from weft.families.gaussvae.objective import reconstruction, weighted
from weft.families.gaussvae.optim.keras import KerasAdam
from weft.families.gaussvae.options.sizes import COLUMNS, Half, Sizes, sizes
from weft.families.gaussvae.terms.groups import GROUPS
from weft.families.gaussvae.terms.posterior import bounded, divergence, kl_term, sampled
from weft.nn.precision import widened
from weft.task.bench import Case, Form

SPLATS, LATENTS = 512, 512


def training_cases() -> Iterator[Case]:
    """Whole steps at the original's sizes: N = L = 512, batch 32 (Conv1D) and 16 (ResNet).

    The plain form is what one writes first: torch's batch norm, layers in a row, four errors, and
    torch's Adam. `floor` is the convolutions and dense layers alone, forward and backward, each by
    itself: what remains where all else is free. Where a GPU is at hand it takes 32 times as many
    items a step: at 32 it waits for launches. bf16 on a CPU is for its own sake: without
    instructions for it, all is slower.
    """
    for arch, batch in (("conv1d", 32), ("resnet", 16)):
        yield _case(f"{arch}-{batch}", arch, batch, torch.device("cpu"))
        if torch.cuda.is_available():
            name = f"{arch}-{32 * batch}-cuda"
            yield _case(name, arch, 32 * batch, torch.device("cuda"), bf16=True)
    yield _case("conv1d-32-bf16", "conv1d", 32, torch.device("cpu"), bf16=True, full=True)


def _case(
    name: str,
    arch: str,
    batch: int,
    device: torch.device,
    *,
    bf16: bool = False,
    full: bool = False,
) -> Case:
    config = Config.model_validate(
        {"epochs": 1, "arch": arch, "pool": "gap", "latent_dim": LATENTS, "batch_size": batch}
    )
    forms: dict[str, Callable[[], Form]] = {
        "weft": partial(_ours, config, device),
        "floor": partial(_alone, config, device),
        "plain": partial(_plain, config, device),
    }
    if bf16:
        forms["weft-bf16"] = partial(_ours, config, device, bf16=True)
        forms["plain-bf16"] = partial(_plain, config, device, bf16=True)
    return Case(name, forms, baselines=("floor", "plain"), full=full)


def _ours(config: Config, device: torch.device, *, bf16: bool = False) -> Form:
    torch.manual_seed(0)
    model = build_model(config, SPLATS).to(device)
    groups = GROUPS[config.data.layout]
    weights = weighted(config.loss, config.weights, groups)

    def loss(splats: Tensor, noise: Tensor) -> Tensor:
        wanted = model.standardised(splats)
        mean, log_var = (widened(part) for part in model.encode(wanted))
        log_var = bounded(log_var, config.kl)
        found = widened(model.decode(sampled(mean, log_var, noise)))
        kl = kl_term(divergence(mean, log_var), config.kl, 0.0)
        return reconstruction(found, wanted, groups, weights).loss + config.beta.max * kl

    optimiser = KerasAdam(model.parameters())
    return _form(loss, optimiser, config.batch_size, device, bf16=bf16)


def _plain(config: Config, device: torch.device, *, bf16: bool = False) -> Form:
    torch.manual_seed(0)
    plan = sizes(config, SPLATS)
    nets = nn.ModuleList([_plain_encoder(plan, config.arch), _plain_decoder(plan, config.arch)])
    encoder, decoder = nets.to(device)

    def loss(splats: Tensor, noise: Tensor) -> Tensor:
        mean, log_var = encoder(splats.transpose(1, 2)).float().chunk(2, dim=1)
        found = decoder(mean + torch.exp(0.5 * log_var) * noise).float().transpose(1, 2)
        xy = (found[..., :2] - splats[..., :2]).square().mean()
        scale = (found[..., 2:4] - splats[..., 2:4]).square().mean()
        rot = (found[..., 4:5] - splats[..., 4:5]).square().mean()
        feat = (found[..., 5:] - splats[..., 5:]).square().mean()
        kl = -0.5 * (1 + log_var - mean.square() - log_var.exp()).mean()
        return xy + scale + rot + feat + config.beta.max * kl

    optimiser = torch.optim.Adam(nets.parameters(), eps=1e-7)
    return _form(loss, optimiser, config.batch_size, device, bf16=bf16)


def _alone(config: Config, device: torch.device) -> Form:
    """Each convolution and dense layer on what it is given in a step, and a slope of its result."""
    # In training a block is one function, whose layers nobody can look into.
    model = build_model(config, SPLATS).to(device).eval()
    given: list[tuple[nn.Module, Tensor, Tensor]] = []

    def keep(layer: nn.Module, inputs: tuple[Tensor], out: Tensor) -> None:
        # What the first layer is given is data, of which nobody asks the slope.
        given.append((layer, inputs[0].detach().requires_grad_(bool(given)), torch.ones_like(out)))

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv1d | nn.Linear)]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    splats = torch.randn(config.batch_size, SPLATS, COLUMNS, device=device)
    model.decode(model.encode(splats)[0])
    for hook in hooks:
        hook.remove()

    def step() -> None:
        for layer, x, slope in given:
            x.grad = layer.weight.grad = layer.bias.grad = None
            layer(x).backward(slope)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return _counted(step, device)


def _form(
    loss: Callable[[Tensor, Tensor], Tensor],
    optimiser: torch.optim.Optimizer,
    batch: int,
    device: torch.device,
    *,
    bf16: bool = False,
) -> Form:
    """Forward, backward and update on fixed random splats."""
    splats = torch.randn(batch, SPLATS, COLUMNS, device=device)
    noise = torch.randn(batch, LATENTS, device=device)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            value = loss(splats, noise)
        torch.autograd.backward(value)
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return _counted(step, device)


def _counted(step: Callable[[], None], device: torch.device) -> Form:
    with FlopCounterMode(display=False) as counter:
        step()
    return Form(step, counter.get_total_flops(), windows=5, steps_per_window=2, device=device.type)


class _Residual(nn.Module):
    """A residual block."""

    def __init__(self, inputs: int, outputs: int, taps: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_layers(inputs, outputs, taps, dropout),
            nn.Conv1d(outputs, outputs, taps, padding="same"),
            nn.BatchNorm1d(outputs, eps=1e-3, momentum=0.01),
        )
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = nn.functional.elu(self.body(x) + self.skip(x))
        return y


def _layers(inputs: int, outputs: int, taps: int, dropout: float) -> list[nn.Module]:
    return [
        nn.Conv1d(inputs, outputs, taps, padding="same"),
        nn.BatchNorm1d(outputs, eps=1e-3, momentum=0.01),
        nn.ELU(),
        nn.Dropout(dropout),
    ]


def _blocks(half: Half, inputs: int, arch: str, scaled: Callable[[int], nn.Module]) -> list[Any]:
    """Blocks of a net, each followed by what `scaled` makes of its scale."""
    layers: list[Any] = []
    for outputs, taps, dropout, scale in zip(
        half.filters, half.taps, half.dropout, half.scales, strict=True
    ):
        residual = arch == "resnet"
        layers += (
            [_Residual(inputs, outputs, taps, dropout)]
            if residual
            else _layers(inputs, outputs, taps, dropout)
        )
        layers += [scaled(scale)] * (scale > 1)
        inputs = outputs
    return layers


def _dense(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Linear(inputs, outputs),
        nn.ELU(),
        nn.BatchNorm1d(outputs, eps=1e-3, momentum=0.01),
    ]


def _plain_encoder(plan: Sizes, arch: str) -> nn.Sequential:
    return nn.Sequential(
        *_blocks(plan.encoder, COLUMNS, arch, nn.MaxPool1d),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        *_dense(plan.encoder.filters[-1], plan.dense),
        nn.Dropout(plan.dense_dropout),
        nn.Linear(plan.dense, 2 * plan.latent),
    )


def _plain_decoder(plan: Sizes, arch: str) -> nn.Sequential:
    units = (plan.latent, *plan.units)
    positions, channels = plan.start
    dense = [layer for pair in pairwise(units) for layer in _dense(*pair)]
    return nn.Sequential(
        *dense,
        nn.Unflatten(1, (channels, positions)),
        *_blocks(plan.decoder, channels, arch, lambda scale: nn.Upsample(scale_factor=scale)),
        nn.Conv1d(plan.decoder.filters[-1], COLUMNS, 1),
    )
