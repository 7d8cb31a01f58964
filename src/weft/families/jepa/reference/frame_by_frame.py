"""Models and objectives computed one frame at a time with torch's own layers."""

# T frames, B batch, D code, F what a decoder takes

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.data.source import Batch
from weft.families.jepa.config import Config
from weft.families.jepa.model import JepaModel
from weft.families.jepa.nets.backbone import Encoder
from weft.families.jepa.nets.conv import Convolution
from weft.families.jepa.nets.decoder import MenetDecoder
from weft.families.jepa.nets.predictor import Gru
from weft.families.jepa.nets.rssm import RssmModel
from weft.families.jepa.nets.upsampling import UpsampledConv, UpsampledResize
from weft.families.jepa.objective import time_first
from weft.families.jepa.reference.written_out import terms
from weft.families.jepa.terms.registry import Setting, weights_of
from weft.families.jepa.terms.rollout import Gaussian, Rollout
from weft.nn.dense import Dense


def plain(net: nn.Module, x: Tensor) -> Tensor:
    """`net(x)` with torch's own layers, and with upsampling before its convolution."""
    if isinstance(net, nn.Sequential):
        for layer in net:
            x = plain(layer, x)
        return x
    if isinstance(net, Dense):
        return F.linear(x, net.weight, net.bias)
    if isinstance(net, Convolution):
        return F.conv2d(x, net.weight, net.bias, net.stride, net.padding)
    if isinstance(net, UpsampledConv):
        large = F.interpolate(x, scale_factor=float(net.scale), mode="nearest")
        x = F.conv2d(large, net.weight, padding=net.kernel // 2)
        if isinstance(net, UpsampledResize):
            x = F.interpolate(x, net.after, mode="bilinear")
        return x
    out: Tensor = net(x)
    return out


def encode(model: nn.Module, image: Tensor) -> Tensor:
    """Codes (T, B, D) of images (B, T, C, S, S)."""
    encoder = model.encoder
    assert isinstance(encoder, Encoder)
    frames = encoder.frames(image)
    return plain(encoder.net, frames.flatten(0, 1)).unflatten(0, frames.shape[:2])


def predict(model: JepaModel, start: Tensor, action: Tensor) -> Tensor:
    """Predicted codes (T - 1, B, D): the GRU cell by cell, other forward models as they are."""
    if not isinstance(model.predictor, Gru):
        predicted: Tensor = model.predictor(start, action)
        return predicted
    gru = model.predictor.gru
    states = [start[-1]] * gru.num_layers
    codes = []
    for a in action:
        x = a
        for layer, weights in enumerate(gru.all_weights):
            states[layer] = x = torch.gru_cell(x, states[layer], *weights)
        codes.append(x)
    return torch.stack(codes)


def decode(decoder: nn.Module, code: Tensor) -> Tensor:
    """Images (B, C, S, S) of the codes (B, F) of one frame, or of several frames at once."""
    if not isinstance(decoder, MenetDecoder):
        pixels: Tensor = decoder(code)
        return pixels
    x = plain(decoder.expand, code).view(-1, 3, 3, decoder.wide).permute(0, 3, 1, 2)
    return plain(decoder.net, x)


def forward(model: JepaModel, image: Tensor, action: Tensor) -> Rollout:
    """`JepaModel.forward`, frame by frame."""
    seen = image if model.position_head is None else image[:, : model.burnin]
    actions, first = action.transpose(0, 1), 0
    if model.training and model.swap_ground > 0:
        seen, first = torch.cat((_swapped(model, image), seen), dim=1), model.burnin
    everything = encode(model, seen)
    start, codes = everything[: model.burnin], everything[first:]
    if model.detached:
        start = start.detach()
    e = codes[model.burnin - 1 :]
    h = torch.cat((start[-1:], predict(model, start, actions)))
    z_e, z_h = e, h
    if model.projector is not None:
        z_e, z_h = (plain(model.projector, z.flatten(0, 1)).unflatten(0, z.shape[:2])
                    for z in (e, h))  # fmt: skip
        if model.project_each_frame:
            frames = [plain(model.projector, frame) for frame in h[1:]]
            z_h = torch.stack((z_e[0], *frames))
    rollout = Rollout(e, h, z_e, z_h)
    if model.action_head is not None:
        rollout = replace(rollout, action_rollout=_actions(model.action_head, h, e))
    if model.code_head is not None:
        rollout = replace(rollout, action_codes=_actions(model.code_head, e, e))
    if model.decoder is not None:
        pixels = decode(model.decoder, e.flatten(0, 1)).unflatten(0, e.shape[:2])
        rollout = replace(rollout, pixels=pixels)
    if model.position_head is not None:
        read = [plain(model.position_head, code).unflatten(-1, (-1, 2)) for code in h]
        rollout = replace(rollout, location=torch.stack(read))
    return rollout


def _swapped(model: JepaModel, image: Tensor) -> Tensor:
    """The first frames with the ground of another sequence, the minimum over its frames.

    Grounds are exchanged only if the means of the first and of the last third of the frames have a
    correlation above one half.
    """
    third = math.ceil(image.shape[1] / 3)
    early, late = (
        torch.stack([part.mean(dim=0) for part in parts]) - parts.mean(dim=(0, 1))
        for parts in (image[:, :third], image[:, -third:])
    )
    if F.cosine_similarity(early.flatten(), late.flatten(), dim=0) <= 0.5:
        return image[:, : model.burnin]
    count = round(model.swap_ground * len(image))
    others = [(b - 1) % len(image) if b < count else b for b in range(len(image))]
    return torch.stack([
        image[b, : model.burnin] - image[b].min(dim=0)[0] + image[other].min(dim=0)[0]
        for b, other in enumerate(others)
    ])  # fmt: skip


def _actions(head: nn.Module, before: Tensor, after: Tensor) -> Tensor:
    pairs = zip(before[:-1], after[1:], strict=True)
    return torch.stack([plain(head, torch.cat(pair, dim=-1)) for pair in pairs])


def forward_rssm(
    model: RssmModel, image: Tensor, action: Tensor, generator: torch.Generator
) -> Rollout:
    """`RssmModel.forward`: belief, prior, posterior, sample and picture, frame after frame."""
    e = encode(model, image)
    fed_noise, prior_noise = torch.randn(
        (2, *e.shape), generator=generator, dtype=e.dtype, device=e.device
    )
    width = e.shape[-1]
    belief, z = e[0], e[0]
    beliefs, priors, posteriors, states, pixels = [], [], [], [], []
    for t, code in enumerate(e):
        if t > 0:
            x = plain(model.enter, torch.cat((z, action[:, t - 1]), dim=-1)).relu()
            belief = model.cell(x, belief)
        prior = _state(model, plain(model.prior_mean, belief), plain(model.prior_std, belief))
        hidden = plain(model.posterior_hidden, torch.cat((code, belief), dim=-1)).relu()
        posterior = _state(
            model,
            plain(model.posterior_mean, hidden[:, :width]),
            plain(model.posterior_std, hidden[:, width:]),
        )
        fed = posterior
        if model.compat and t == 0:
            fed = Gaussian(prior.mean, prior.std - model.min_var)
        z = fed.mean + fed.std * fed_noise[t]
        seen = z
        if model.compat:
            z = z.detach()
            seen = (prior.mean + prior.std * prior_noise[t]).detach() if t > 0 else z
            pixels.append(decode(model.decoder, torch.cat((seen, belief), dim=-1)))
        beliefs.append(belief)
        priors.append(prior)
        posteriors.append(posterior)
        states.append(seen)
    h = torch.stack(beliefs)
    if not model.compat:
        together = torch.cat((torch.stack(states), h), dim=-1).flatten(0, 1)
        pixels = list(decode(model.decoder, together).unflatten(0, h.shape[:2]))
    return Rollout(
        e,
        h,
        e,
        h,
        action_rollout=None if model.action_head is None else _actions(model.action_head, h, e),
        pixels=torch.stack(pixels),
        prior=_together(priors),
        posterior=_together(posteriors),
    )


def _state(model: RssmModel, mean: Tensor, std: Tensor) -> Gaussian:
    return Gaussian(mean.relu(), F.softplus(std.relu()) + model.min_var)


def _together(states: list[Gaussian]) -> Gaussian:
    return Gaussian(torch.stack([s.mean for s in states]), torch.stack([s.std for s in states]))


def loss(
    model: nn.Module, batch: Batch, config: Config, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """`weft.families.jepa.objective.loss`, computed with the functions above."""
    if isinstance(model, RssmModel):
        rollout = forward_rssm(model, batch["image"], batch["action"], generator)
    else:
        assert isinstance(model, JepaModel)
        rollout = forward(model, batch["image"], batch["action"])
    timed = time_first(batch, model.burnin - 1)
    available = terms(rollout, Setting(timed, config, generator))
    values = {name: available[name]() for name in weights_of(config)}
    total = sum(
        (weights_of(config)[name] * value for name, value in values.items()), torch.zeros(())
    )
    return total, {f"loss_{name}": value.detach() for name, value in values.items()}
