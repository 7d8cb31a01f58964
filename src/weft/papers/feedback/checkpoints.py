"""Converts weights and optimiser state between weft's names and those of the original."""

# C width, V vocabulary, n weight tokens of a block

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weft.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from weft.families.feedback.config import Config

    Weights = dict[str, Tensor]

_ATTENTION = ("q_attn", "k_attn", "v_attn")
_WHOLE = {"out": "attn{}.c_proj", "up": "mlp{}.c_fc", "down": "mlp{}.c_proj"}
_TABLE, _HEAD = "transformer.wte.weight", "lm_head.weight"
_LAYERS = "transformer.le.weight"
_HALVES = {None: "", "first": "_1", "second": "_2"}
_MOMENTS = ("exp_avg", "exp_avg_sq")
_COMPILED = "_orig_mod."


def part_of(config: Config) -> str:
    """Prefix of weft's names of the network that the original saves, which is the trained one.

    Raises:
        UsageError: if the original has no such network.
    """
    if config.stage == "feedback" and config.mode == "compat" and not config.joint:
        return "generator."
    if config.stage in ("feedforward", "fine_tune") and not config.self_condition:
        return "base."
    raise UsageError(
        "the original has no such network",
        where=f"stage {config.stage}, mode {config.mode}",
        expected="a run of stage feedforward or fine_tune, or of feedback in mode compat",
    )


def old_names(weights: Mapping[str, Tensor], config: Config) -> Weights:
    """A run's weights under the original's names and in its shapes.

    Args:
        weights: name in a `LanguageModel` -> a parameter or a tensor of its shape.
        config: of the run.
    """
    part, found = part_of(config), dict[str, "Tensor"]()
    for name, value in weights.items():
        if name.startswith(part):
            found |= _old(name.removeprefix(part), value, config.recurrent)
    # The original defines it last.
    return dict(sorted(found.items(), key=lambda item: item[0] == _LAYERS))


def new_names(old: Mapping[str, Tensor], like: Mapping[str, Tensor], config: Config) -> Weights:
    """Weights of the original under weft's names, in float32.

    Args:
        old: those of a checkpoint.
        like: the model's weights, which give the shapes; the result lacks those that the original
            does not save.
        config: of the run.
    Raises:
        CheckpointError: if weights are missing or have other shapes.
    """
    import torch

    given = {key.removeprefix(_COMPILED): value for key, value in old.items()}
    found = dict[str, "Tensor"]()
    for name, value in like.items():
        keys = old_names({name: value}, config)
        for key, wanted in keys.items():
            shape = tuple(given[key].shape) if key in given else None
            if shape != tuple(wanted.shape):
                raise CheckpointError(
                    f"the checkpoint does not fit: `{key}` is {shape or 'missing'}",
                    expected=f"{tuple(wanted.shape)}, as config.json says",
                )
        if keys:
            joined = torch.cat([given[key] for key in keys])
            found[name] = joined.reshape(value.shape).float()
    return found


def with_head(weights: Weights, config: Config) -> Weights:
    """The weights as in a checkpoint of the original: with the tied head, if feedforward."""
    return {**weights, _HEAD: weights[_TABLE]} if part_of(config) == "base." else weights


def old_moments(state: Mapping[str, Any], trained: Mapping[str, Tensor], config: Config) -> Any:
    """The optimiser's state for the original's parameters, in the original's order.

    Args:
        state: the `state_dict` of weft's AdamW.
        trained: the model's trained parameters by name, in the optimiser's order.
        config: of the run.
    """
    found = dict[str, dict[str, Any]]()
    for (name, value), kept in zip(trained.items(), state["state"].values(), strict=False):
        parts = {moment: old_names({name: kept[moment]}, config) for moment in _MOMENTS}
        for key in old_names({name: value}, config):
            found[key] = {"step": kept["step"], **{m: parts[m][key] for m in _MOMENTS}}
    order = [key for key in old_names(trained, config) if key in found]
    groups = [{**group, "params": list(range(len(order)))} for group in state["param_groups"]]
    return {"state": {n: found[key] for n, key in enumerate(order)}, "param_groups": groups}


def new_moments(
    old: Mapping[str, Any], state: Mapping[str, Any], trained: Mapping[str, Tensor], config: Config
) -> Any:
    """The inverse of `old_moments`: the original's optimiser state for weft's parameters.

    Args:
        old: the original's state of AdamW.
        state: the state of weft's new optimiser, whose settings are kept.
        trained, config: as in `old_moments`.
    Raises:
        CheckpointError: if it is the state of other parameters.
    """
    order = list(old_names(trained, config))
    if old["state"].keys() != {*range(len(order))}:
        raise CheckpointError(
            f"the optimiser's state is of {len(old['state'])} parameters",
            expected=f"of {len(order)}, as config.json says",
        )
    moments = {
        moment: new_names(
            {key: old["state"][n][moment] for n, key in enumerate(order)}, trained, config
        )
        for moment in _MOMENTS
    }
    step = old["state"][0]["step"]
    found = {
        n: {"step": step.clone(), **{moment: moments[moment][name] for moment in _MOMENTS}}
        for n, name in enumerate(trained)
    }
    return {"state": found, "param_groups": state["param_groups"]}


def _old(name: str, value: Tensor, recurrent: bool) -> Weights:
    """A tensor of weft under the original's names; the original stores q, k and v separately.

    `name` is weft's, without the prefix of the network.
    """
    own = name.removeprefix("reader.").removeprefix("network.")
    if own == "table":
        return {_TABLE: value}
    if own == "layer_table":
        return {_LAYERS: value}
    found = re.fullmatch(r"blocks\.(\d+)\.(?:(first|second)\.)?(\w+)", own)
    if found is None:
        return {}
    number, half, leaf = found.groups()
    home = "transformer.h" if recurrent and (half or leaf == "table") else f"transformer.h.{number}"
    if leaf == "table":
        return {f"{home}.h_qkvo": value[None]}
    suffix = _HALVES[half]
    if leaf == "qkv":
        keys = [f"{home}.attn{suffix}.{each}.weight" for each in _ATTENTION]
        return dict(zip(keys, value.chunk(3), strict=True))
    return {f"{home}.{_WHOLE[leaf].format(suffix)}.weight": value}
