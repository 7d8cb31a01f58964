"""Builds the optimiser a config names, in the fastest form torch has for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import signature
from typing import Any

import torch

from weft.config import sections
from weft.config.explain import suggest
from weft.config.place import told
from weft.errors import ConfigError, MissingExtra
from weft.nn.optimisers import SGD, Adam, AdamW

Groups = Iterable[Mapping[str, Any]]


def sgd(config: sections.Sgd, groups: Groups) -> torch.optim.Optimizer:
    """SGD, fused."""
    return SGD(
        [dict(group) for group in groups],
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )


def adam(config: sections.Adam, groups: Groups) -> torch.optim.Optimizer:
    """Adam, fused: a third less time than the loop over parameters on small models."""
    return Adam([dict(group) for group in groups], **_adam_options(config))


def adamw(config: sections.AdamW, groups: Groups) -> torch.optim.Optimizer:
    """AdamW, fused."""
    return AdamW([dict(group) for group in groups], **_adam_options(config))


def extra(config: sections.Extra, groups: Groups) -> torch.optim.Optimizer:
    """An optimiser of the package pytorch-optimizer.

    Raises:
        MissingExtra: if that package is not installed.
        ConfigError: if it has no optimiser of that name, the optimiser lacks an option, or it needs
            more than gradients.
    """
    try:
        from pytorch_optimizer import get_supported_optimizers, load_optimizer
    except ImportError as error:
        raise MissingExtra("pytorch-optimizer", "optimisers", "optim.kind=extra") from error
    known = [str(name) for name in get_supported_optimizers()]
    if config.name.lower() not in known:
        raise ConfigError(
            f"pytorch-optimizer has no `{config.name}`",
            where="optim.name",
            expected=f"one of its {len(known)} optimisers",
            hint=suggest(config.name, known, "pytorch_optimizer.get_supported_optimizers()"),
        )
    chosen = load_optimizer(config.name)
    # Most of them silently ignore options that they do not have.
    takes = [*signature(chosen).parameters][1:]
    if unknown := [name for name in config.options if name not in takes]:
        raise ConfigError(
            f"`{config.name}` has no option `{unknown[0]}`",
            where="optim.options",
            expected=f"some of {', '.join(takes)}",
            hint=suggest(unknown[0], takes, ""),
        )
    options: dict[str, Any] = {
        "lr": config.lr, "weight_decay": config.weight_decay, **config.options
    }  # fmt: skip
    copies = [dict(group) for group in groups]
    try:
        built: torch.optim.Optimizer = chosen(copies, **options)
    # Each is written by another author: what one cannot use, it finds anywhere.
    except Exception as error:
        raise ConfigError(
            f"`{config.name}` does not take these options: {told(error)}", where="optim.options"
        ) from error
    try:
        rehearsal = chosen([{"params": _stand_ins(copies)}], **options)
        rehearsal.step()
    except Exception as error:
        raise ConfigError(
            f"`{config.name}` cannot take a step of this model: {told(error)}",
            where="optim.name",
            expected="an optimiser that needs gradients alone, of all of the model's tensors",
        ) from error
    return built


def _stand_ins(groups: Iterable[Mapping[str, Any]]) -> list[torch.nn.Parameter]:
    """Parameters of ones, shaped as the smallest of the model's of each number of dimensions, with
    gradients: the model's own may be many, and are not moved before its first step."""
    smallest: dict[int, torch.Size] = {}
    for group in groups:
        for param in group["params"]:
            known = smallest.get(param.dim())
            if known is None or param.numel() < known.numel():
                smallest[param.dim()] = param.shape
    made = [torch.nn.Parameter(torch.ones(shape)) for shape in smallest.values()]
    for param in made:
        param.grad = torch.ones_like(param)
    return made


def _adam_options(config: sections.Adam | sections.AdamW) -> dict[str, Any]:
    return {
        "lr": config.lr,
        "betas": (config.beta1, config.beta2),
        "eps": config.eps,
        "weight_decay": config.weight_decay,
        "fused": True,
    }
