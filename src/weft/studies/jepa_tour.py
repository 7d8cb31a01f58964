"""Follows one batch from the generator to the loss and prints every tensor's shape."""

# T frames, B batch, D code, K dots, C channels, S pixels along a side

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weft.config.base import FamilyConfig
from weft.config.load import validate
from weft.config.recipe import defaults_of, recipe_class
from weft.data.random import stream
from weft.families.jepa import FAMILY
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec, load_splits
from weft.families.jepa.model import JepaModel, build_model
from weft.families.jepa.objective import time_first, weighted_sum
from weft.families.jepa.options.original import flat, nested, translate
from weft.families.jepa.options.table import published
from weft.families.jepa.score.probe import Probe
from weft.families.jepa.sets.dots import DotsSource
from weft.papers import script

README = "sweep_fixed_uniform.(1.25).vicreg.best"


@dataclass(frozen=True)
class Stop:
    """A tensor on the way from data to loss.

    Attributes:
        name: of the tensor or layer.
        shape: of the tensor.
        note: its dimensions, or what happened to it.
    """

    name: str
    shape: tuple[int, ...]
    note: str


def follow(config: Config) -> Iterator[tuple[str, list[Stop]]]:
    """Yields the chapters of a batch's way: title and tensors.

    Args:
        config: any except `objective: rssm`; two batches are drawn for normalisation.
    """
    source = load_splits(config).train
    assert isinstance(source, DotsSource)
    model = build_model(config, data_spec(config))
    assert isinstance(model, JepaModel), "an RSSM goes another way"
    draws = stream(config.seed, 0, "data")
    full = source.episodes(source.plan(config.seed, 0)[0], draws)
    batch = {**full, "action": full["action"][:, :, 0]}

    yield (
        "data, batch first",
        [
            _stop("states", full["image"], "B sequences, T frames, C channels, S rows, S columns"),
            _stop(
                "actions", full["action"], "B, T - 1 steps from frame to frame, K dots, (dx, dy)"
            ),
            _stop("locations", full["location"], "B, T, K dots, (x, y): for the probe only"),
        ],
    )
    frames = batch["image"].transpose(0, 1)
    yield (
        "into the model, time first",
        [
            _stop("states", frames, "T, B, C, S, S"),
            _stop(
                "actions", batch["action"].transpose(0, 1), "T - 1, B, 2: dot 1's, no axis of dots"
            ),
            _stop("frames", frames.flatten(0, 1), "all frames in one batch of T B images"),
        ],
    )
    with torch.no_grad():
        layers = list(_layers(model.encoder.net, model.encoder.frames(batch["image"])))
        rollout = model(batch["image"], batch["action"])
    yield f"backbone ({config.model.arch})", layers
    yield (
        "codes and predictions",
        [
            _stop("e", rollout.e, "codes of the true frames: T and B told apart again"),
            _stop("e[0]", rollout.e[0], "first code: the forward model's initial state"),
            _stop("a", batch["action"].transpose(0, 1), "its inputs, one at a time, as they are"),
            _stop("h", rollout.h, "e[0], then the T - 1 predicted codes: what the probe reads"),
        ],
    )
    yield f"loss ({config.objective})", list(_loss(config, rollout, batch))
    probe = Probe(model.dim, config.num_dots)
    yield (
        "probe, after training",
        [
            _stop("weight", next(probe.parameters()), "one linear map for all frames, no bias"),
            _stop("positions", probe(rollout.h), "T, B, K, (x, y), compared with the locations"),
        ],
    )


def _loss(config: Config, rollout: Any, batch: dict[str, Tensor]) -> Iterator[Stop]:
    if config.objective == "vicreg":
        later = rollout.z_e[int(config.vicreg.skip_first_step_vc) :]
        yield _stop("h[1:] - e[1:]", rollout.h[1:], "squared and averaged: sim")
        yield _stop("variances", later.var(1), "over the batch, for each frame and entry: std")
        codes = later.shape[2]
        yield Stop("covariances", (len(later), codes, codes), "over the batch, per frame: cov")
        gram = (len(later), later.shape[1], later.shape[1])
        yield Stop("what is computed", gram, "B x B products with the same norm, if B < D")
    total, terms = weighted_sum(rollout, time_first(batch), config, stream(0, 0, "objective"))
    for name, term in terms.items():
        yield _stop(name.removeprefix("loss_"), term, "one number")
    yield _stop("loss", total, "their weighted sum")


def _layers(net: nn.Sequential, frames: Tensor) -> Iterator[Stop]:
    """The output of each layer for frames (T, B, C, S, S)."""
    x = frames.flatten(0, 1)
    for layer in net:
        x = layer(x)
        yield _stop(_kind(layer), x, layer.extra_repr().partition(", eps")[0])


def _kind(layer: nn.Module) -> str:
    """The name of the torch layer that it derives from; its own name if there is none."""
    forms = [c for c in type(layer).__mro__ if c.__module__.startswith("torch.nn.modules.")]
    return (forms[0] if forms[0] is not nn.Module else type(layer)).__name__


def _stop(name: str, tensor: Tensor, note: str) -> Stop:
    return Stop(name, tuple(tensor.shape), note)


def config_of(words: Sequence[str]) -> FamilyConfig:
    """The README's config without noise, with `key=value` words applied.

    Raises:
        ConfigError: for unknown keys and invalid values.
        UsageError: for a word without `=`.
    """
    values = flat(defaults_of(recipe_class(FAMILY))) | flat(translate(published()[README]))
    values |= {"dataset_static_noise": 0.0, "norm_batches": 2}
    return validate(nested(values | script.settings(words, "command line")), FAMILY, "command line")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study tour [KEY=VALUE ...]`; returns the exit code."""
    return script.run(_print_shapes, argv)


def _print_shapes(words: list[str]) -> None:
    parser = argparse.ArgumentParser("weft study tour", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="any key of weft's config")
    config = config_of(script.parsed(parser, words).words)
    assert isinstance(config, Config)
    for chapter, stops in follow(config):
        print(f"\n{chapter}")
        for stop in stops:
            print(f"  {stop.name:<18}{stop.shape!s:<24}{stop.note}".rstrip())
