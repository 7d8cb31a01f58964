"""Makes the linear and convolution layers of any model learn by traces, and undoes it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from weft.errors import UsageError
from weft.families.cet.trace.carry import History
from weft.families.cet.trace.kernel import ErrorShape, Kernel, Readout
from weft.families.cet.trace.operation import Conv, Dense
from weft.families.cet.trace.pool import Pool
from weft.families.cet.trace.rule import Gate, Rule
from weft.families.cet.trace.traced import Absorbed, Clock, Trace, TracedConv2d, TracedLinear

log = logging.getLogger(__name__)

PerLayer = Mapping[str, int]
"""A value for every layer, by its name in the model."""


def convert(
    model: nn.Module,
    *,
    order: int | PerLayer,
    delay: int | PerLayer,
    gate: Gate | Literal["auto"] = "auto",
    kernel: Kernel = "cascade",
    readout: Readout = "last",
    error: ErrorShape = "impulse",
    sparse: float | None = None,
    threshold: float | None = None,
    binary: float | None = None,
    similarity: bool = False,
    streams: int = 1,
    carry: bool = False,
    per_layer: Mapping[str, Mapping[str, Any]] | None = None,
) -> nn.Module:
    """Makes every `nn.Linear` and `nn.Conv2d` of `model` learn by an eligibility trace, in place.

    Dimension 0 of what a layer sees is time: `streams` independent streams of equal length, one
    after another. Parameters, state_dict keys and eval outputs stay as they are. A ReLU, and behind
    it an average pool, that follows a layer inside an `nn.Sequential` is computed by that layer;
    any other non-linearity stays outside, and its derivative belongs to the error. Layers of other
    types train by ordinary back-propagation, with one logged notice.

    Args:
        model: any module; an earlier conversion is undone first.
        order: stages N >= 1 of the cascade, for all layers or by layer name.
        delay: steps T >= 0 until an error arrives, likewise; 0 is plain back-propagation.
        gate: where the ReLU's derivative sits; `auto` is `both` for linear layers and `trace` for
            convolutions, as in the paper.
        kernel, readout, error: see `kernel.pairing`.
        sparse, threshold, binary: see `rule.Rule`.
        similarity: whether backward passes compare updates with the true gradient; may be switched
            at any time by `clock(model).similarity`.
        streams: number of independent streams in a batch.
        carry: whether each stream goes on from batch to batch, so that no error is lost: one that
            arrives later meets what the batches before left. That joins the state_dict, as
            `LAYER.history.*`. Every batch takes one backward pass; another `convert` begins anew.
        per_layer: layer name -> options (`order` to `binary`) that differ for that layer.
    Returns: `model`.
    Raises: UsageError if an option is out of range or names a layer the model does not have, or
        if a layer that stands in several places of the model would have to carry.
    """
    if streams < 1:
        raise UsageError(f"streams is {streams}", where="convert", expected="int >= 1")
    layers = {
        name: module
        for name, module in revert(model).named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and type(module) in (nn.Linear, nn.Conv2d)
    }
    common = {
        "order": order, "delay": delay, "gate": gate, "kernel": kernel, "readout": readout,
        "error": error, "sparse": sparse, "threshold": threshold, "binary": binary,
    }  # fmt: skip
    options = {name: _options(name, common, per_layer or {}) for name in layers}
    for mapping in (per_layer, *common.values()):
        if isinstance(mapping, Mapping):
            _refuse_unknown("layer", mapping, layers)
    if carry:
        _refuse_reuse(model, layers)
    shared = Clock(streams, similarity)
    behind = _absorb(model, set(layers.values()))
    for name, layer in layers.items():
        relu, pool = behind.get(layer, (False, None))
        _swap(layer, shared, options[name], relu, pool, carry)
    _note_untraced(model)
    return model


def revert(model: nn.Module) -> nn.Module:
    """Undoes `convert` in place and returns `model`; a model never converted stays as it is."""
    for module in model.modules():
        for name, child in module._modules.items():
            if isinstance(child, Absorbed):
                module._modules[name] = child.original
    for layer in traced_layers(model).values():
        del layer.clock, layer.trace, layer.rule, layer.does, layer.similarity, layer.history
        _become(layer, nn.Linear if isinstance(layer, nn.Linear) else nn.Conv2d)
    return model


def traced_layers(model: nn.Module) -> dict[str, TracedLinear | TracedConv2d]:
    """The layers of a converted model that learn by traces, by name, in the model's order."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, TracedLinear | TracedConv2d)
    }


def clock(model: nn.Module) -> Clock:
    """The clock that the traced layers of a converted model share.

    Raises: UsageError if the model has no traced layer.
    """
    for layer in traced_layers(model).values():
        return layer.clock
    raise UsageError("the model has no traced layer", hint="convert(model, order=..., delay=...)")


def similarities(model: nn.Module) -> dict[str, Tensor]:
    """Layer name -> (cosine, centred cosine, gain) of its last update, shape (3,), on the device.

    NaN before the first backward pass with `clock(model).similarity` and where a vector is zero.
    """
    return {name: layer.similarity for name, layer in traced_layers(model).items()}


def _become(layer: nn.Module, kind: type[nn.Module]) -> None:
    """Exchanges the class; the object stays itself, so that other references to it stay valid."""
    layer.__class__ = kind


def _swap(
    layer: nn.Linear | nn.Conv2d,
    shared: Clock,
    options: Mapping[str, Any],
    relu: bool,
    pool: Pool | None,
    carry: bool,
) -> None:
    """Turns a plain layer into a traced one."""
    gate = options["gate"]
    if isinstance(layer, nn.Conv2d):
        _become(layer, TracedConv2d)
        assert isinstance(layer, TracedConv2d)
        # In words, "same" is padded outside and "valid" is no padding.
        padding = (
            (0, 0) if isinstance(layer.padding, str) or layer.pads_outside else _pair(layer.padding)
        )
        geometry = _pair(layer.stride), padding, _pair(layer.dilation), layer.groups
        layer.does = Conv(*geometry, relu, pool)
    else:
        _become(layer, TracedLinear)
        assert isinstance(layer, TracedLinear)
        layer.does = Dense(relu)
    layer.clock = shared
    shape = {key: options[key] for key in ("delay", "order", "kernel", "readout", "error")}
    layer.trace = Trace(**shape, carry=carry)
    layer.history = History() if carry and options["delay"] > 0 else None
    layer.rule = Rule(
        ("trace" if isinstance(layer, nn.Conv2d) else "both") if gate == "auto" else gate,
        *(options[key] for key in ("sparse", "threshold", "binary")),
    )
    empty = torch.full((3,), torch.nan, device=layer.weight.device)
    layer.register_buffer("similarity", empty, persistent=False)


def _absorb(model: nn.Module, layers: set[nn.Module]) -> dict[nn.Module, tuple[bool, Pool | None]]:
    """Finds the ReLU and pool behind each layer, and replaces them by place holders."""
    uses = _uses(model)
    behind: dict[nn.Module, tuple[bool, Pool | None]] = {}
    for chain in model.modules():
        if type(chain).forward is not nn.Sequential.forward:
            continue
        places = list(chain._modules.items())
        for i, (_, layer) in enumerate(places):
            # A layer used in two places may have different followers; it then keeps none.
            if layer not in layers or uses[layer] > 1:
                continue
            relu, pool = (*(place for place in places[i + 1 : i + 3]), *[("", None)] * 2)[:2]
            if type(relu[1]) is not nn.ReLU:
                continue
            chain._modules[relu[0]] = Absorbed(relu[1])
            behind[layer] = True, None
            if isinstance(layer, nn.Conv2d) and type(pool[1]) is nn.AvgPool2d:
                chain._modules[pool[0]] = Absorbed(pool[1])
                behind[layer] = True, _geometry(pool[1])
    return behind


def _uses(model: nn.Module) -> Counter[nn.Module | None]:
    """In how many places of `model` each module stands."""
    return Counter(child for module in model.modules() for child in module._modules.values())


def _refuse_reuse(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    uses = _uses(model)
    for name, layer in layers.items():
        if uses[layer] > 1:
            raise UsageError(
                f"layer `{name}` stands in {uses[layer]} places of the model",
                where="convert(carry=True)",
                expected="one place for each layer, whose past is that of one stream of inputs",
            )


def _pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _geometry(pool: nn.AvgPool2d) -> Pool:
    return Pool(
        _pair(pool.kernel_size),
        _pair(pool.stride),
        _pair(pool.padding),
        pool.ceil_mode,
        pool.count_include_pad,
        pool.divisor_override,
    )


def _options(
    name: str, common: Mapping[str, Any], per_layer: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The options of the layer `name`, checked."""
    own = per_layer.get(name, {})
    _refuse_unknown(f"per_layer[{name!r}]: option", own, common)
    chosen = {**common, **own}
    for key, value in chosen.items():
        if isinstance(value, Mapping):
            if name not in value:
                raise UsageError(
                    f"`{key}` is given by layer, but not for `{name}`", where=f"convert({key}=...)"
                )
            chosen[key] = value[name]
    for key, least in (("order", 1), ("delay", 0)):
        if not isinstance(chosen[key], int) or chosen[key] < least:
            raise UsageError(
                f"{key} is {chosen[key]!r}", where=f"layer {name!r}", expected=f"int >= {least}"
            )
    for key, kind in (("kernel", Kernel), ("readout", Readout), ("error", ErrorShape)):
        _refuse_unknown(key, [chosen[key]], get_args(kind))
    _refuse_unknown("gate", [chosen["gate"]], ("auto", *get_args(Gate)))
    if chosen["threshold"] is not None and chosen["binary"] is not None:
        raise UsageError(
            "both `threshold` and `binary` are given",
            where=f"layer {name!r}",
            expected="at most one of them: a trace stores either cut or binary activity",
        )
    return chosen


def _refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            raise UsageError(
                f"unknown {what} `{name}`", where="convert", expected=f"one of {', '.join(known)}"
            )


def _note_untraced(model: nn.Module) -> None:
    untraced = [
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if not isinstance(module, TracedLinear | TracedConv2d)
        and any(p.requires_grad for p in module.parameters(recurse=False))
    ]
    if untraced:
        log.warning("trained by ordinary back-propagation: %s", ", ".join(untraced))
