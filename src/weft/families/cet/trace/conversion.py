"""Makes the linear and convolution layers of any model learn by traces, and undoes it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from weft.errors import UsageError
from weft.families.cet.trace.behind import READ, pair, read_functions
from weft.families.cet.trace.carry import History
from weft.families.cet.trace.flow import Flow
from weft.families.cet.trace.kernel import ErrorShape, Kernel, Readout
from weft.families.cet.trace.memory import RunningMean
from weft.families.cet.trace.operation import Conv, Dense
from weft.families.cet.trace.rule import Gate, Rule
from weft.families.cet.trace.similarity import similarity as agreement
from weft.families.cet.trace.streams import Clock, Trace
from weft.families.cet.trace.traced import TracedConv2d, TracedLinear
from weft.families.cet.trace.watch import Watch

log = logging.getLogger(__name__)

Timescale = Literal["behavioural", "retrograde"]
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
    covariance: float | None = None,
    theta_threshold: float = 0.0,
    timescale: Timescale = "behavioural",
    taps: int | None = None,
    similarity: bool = False,
    streams: int = 1,
    carry: bool = False,
    per_layer: Mapping[str, Mapping[str, Any]] | None = None,
    verbose: bool = False,
) -> nn.Module:
    """Makes every `nn.Linear` and `nn.Conv2d` of `model` learn by an eligibility trace, in place.

    Dimension 0 of each layer's input is time: `streams` independent streams of equal length, one
    after another. Nothing else changes: every module keeps its place and its output, so that
    parameters, state_dict keys, hooks, slices and later changes of the model work as before. A
    layer finds out at run time which `nn.ReLU` gets its output, and which `nn.AvgPool2d` gets that
    of the ReLU. A ReLU that is a function call is found if torch.fx finds it, and only in passes
    through the whole model that are not compiled. The derivative of any other non-linearity is
    part of the error. `summary` says which gate acts in each layer.
    Layers of other types are trained by ordinary back-propagation; one warning names them.

    Args:
        model: any module; an earlier conversion is undone first.
        order: number of stages N >= 1 of the cascade, for all layers or by layer name.
        delay: steps T >= 0 until an error arrives, for all layers or by layer name; 0 is plain
            back-propagation.
        gate: what the ReLU's derivative multiplies; `auto` is `both` for linear layers and `trace`
            for convolutions, as in the paper.
        kernel, readout, error: see `kernel.pairing`.
        sparse, threshold, binary, covariance, theta_threshold: see `rule.Rule`. The covariance
            form has a running mean in the state_dict, as `LAYER.mean.*`.
        timescale: `behavioural`: every layer gets its error `delay` steps late. `retrograde`: an
            error takes `delay` steps from each layer to the one below, so that a layer r layers
            below the last gets it r T steps late; none is lost. The order of the layers must then
            be known: torch.fx finds it, or `delay` is given by layer. Gate `auto` is then `trace`.
        taps: number of taps of a retrograde kernel, over which it is normalised; the largest delay
            plus twice the length of a stream is always enough.
        similarity: whether backward passes compare updates with the true gradient; it can be
            switched at any time by `clock(model).similarity`.
        streams: number of independent streams in a batch.
        carry: whether each stream continues from batch to batch, so that no error is lost: a late
            error meets the activity that earlier batches left. This activity is part of the
            state_dict, as `LAYER.history.*`. Each batch allows one backward pass. Another
            `convert` starts new streams.
        per_layer: layer name -> options (`order` to `binary`) that differ for that layer.
        verbose: whether `summary` is printed.
    Returns: `model`.
    Raises:
        UsageError: if there is nothing to convert, if an option is out of range or names a layer
            that the model does not have, or if `carry` is set and a layer is used in several
            places of the model.
    """
    if streams < 1:
        raise UsageError(f"streams is {streams}", where="convert", expected="int >= 1")
    if (timescale == "retrograde") != (taps is not None) or (carry and taps is not None):
        raise UsageError(
            f"timescale is {timescale!r}, taps is {taps!r}, carry is {carry!r}",
            where="convert",
            expected="taps for timescale='retrograde' and for it alone, and then no carry",
        )
    layers = _plain_layers(revert(model))
    common = {
        "order": order, "delay": delay, "gate": gate, "kernel": kernel, "readout": readout,
        "error": error, "sparse": sparse, "threshold": threshold, "binary": binary,
        "covariance": covariance, "theta_threshold": theta_threshold,
    }  # fmt: skip
    flow = Flow(model, layers)
    if timescale == "retrograde":
        common["delay"] = _backwards(flow, delay)
    options = {name: _options(name, common, per_layer or {}) for name in layers}
    for mapping in (per_layer, *common.values()):
        if isinstance(mapping, Mapping):
            _refuse_unknown("layer", mapping, layers)
    if carry:
        _refuse_reuse(model, layers)
    shared = Clock(streams, similarity)
    followers = flow.followers()
    for name, layer in layers.items():
        chosen = options[name]
        if chosen["gate"] == "auto":
            traces = isinstance(layer, nn.Conv2d) or timescale == "retrograde"
            chosen["gate"] = "trace" if traces else "both"
        watch = Watch(name, chosen["gate"], shared.warn, followers[name])
        _swap(layer, shared, chosen, watch, carry, taps)
    for module in model.modules():
        if type(module) in READ:
            _become(module, READ[type(module)])
    model.register_forward_pre_hook(shared.begin)
    if "function" in followers.values():
        model.register_forward_hook(read_functions)
    _note_gates(model, gate, per_layer or {})
    _note_untraced(model)
    if verbose:
        print(summary(model))
    return model


def revert(model: nn.Module) -> nn.Module:
    """Undoes `convert` in place and returns `model`; without a conversion, it does nothing."""
    plain = {read: kind for kind, read in READ.items()}
    for module in model.modules():
        if type(module) in plain:
            _become(module, plain[type(module)])
        for number, hook in list(module._forward_pre_hooks.items()):
            if isinstance(getattr(hook, "__self__", None), Clock):
                del module._forward_pre_hooks[number]
        for number, hook in list(module._forward_hooks.items()):
            if hook is read_functions:
                del module._forward_hooks[number]
    for layer in traced_layers(model).values():
        for name in ("clock", "trace", "rule", "does", "watch", "moments", "history", "mean"):
            delattr(layer, name)
        _become(layer, nn.Linear if isinstance(layer, nn.Linear) else nn.Conv2d)
    return model


def summary(model: nn.Module) -> str:
    """A line for each traced layer of a converted model: its type, trace and gate.

    The gate is the one that acts: before training as torch.fx predicts it, then as found.
    """
    rows = [("layer", "kind", "delay", "order", "gate", "why")]
    for name, layer in traced_layers(model).items():
        kind = "Linear" if isinstance(layer, nn.Linear) else "Conv2d"
        trace, watch = layer.trace, layer.watch
        rows.append((name or "(model)", kind, str(trace.delay), str(trace.order),
                     watch.effective, watch.why))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def traced_layers(model: nn.Module) -> dict[str, TracedLinear | TracedConv2d]:
    """The layers of a converted model that learn by traces, by name, in the model's order."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, TracedLinear | TracedConv2d)
    }


def clock(model: nn.Module) -> Clock:
    """The clock that the traced layers of a converted model share.

    Raises:
        UsageError: if the model has no traced layer.
    """
    for layer in traced_layers(model).values():
        return layer.clock
    raise UsageError("the model has no traced layer", hint="convert(model, order=..., delay=...)")


def similarities(model: nn.Module) -> dict[str, Tensor]:
    """Layer name -> (cosine, centred cosine, gain) of its last update, shape (3,), on the device.

    NaN before the first backward pass with `clock(model).similarity` and where a vector is zero.
    """
    return read(traced_layers(model))


def read(layers: Mapping[str, TracedLinear | TracedConv2d]) -> dict[str, Tensor]:
    """As `similarities`, for the given layers."""
    found = agreement(torch.stack([layer.moments for layer in layers.values()]))
    return dict(zip(layers, found.unbind(), strict=True))


def _plain_layers(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers of `model` to convert, by name.

    Raises:
        UsageError: if there are none.
    """
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and type(module) in (nn.Linear, nn.Conv2d)
    }
    if not layers:
        raise UsageError(
            f"{type(model).__name__} has no layer to convert",
            where="convert",
            expected="an nn.Linear or nn.Conv2d; subclasses are left alone",
        )
    return layers


def _become(layer: nn.Module, kind: type[nn.Module]) -> None:
    """Changes the class of a layer in place, so that references to it stay valid."""
    layer.__class__ = kind


def _swap(
    layer: nn.Linear | nn.Conv2d,
    shared: Clock,
    options: Mapping[str, Any],
    watch: Watch,
    carry: bool,
    taps: int | None,
) -> None:
    """Turns a plain layer into a traced one."""
    if isinstance(layer, nn.Conv2d):
        _become(layer, TracedConv2d)
        assert isinstance(layer, TracedConv2d)
        # Padding "same" is applied before the convolution; "valid" means none.
        padding = (
            (0, 0) if isinstance(layer.padding, str) or layer.pads_outside else pair(layer.padding)
        )
        layer.does = Conv(pair(layer.stride), padding, pair(layer.dilation), layer.groups)
    else:
        _become(layer, TracedLinear)
        assert isinstance(layer, TracedLinear)
        layer.does = Dense()
    layer.clock = shared
    shape = {key: options[key] for key in ("delay", "order", "kernel", "readout", "error")}
    layer.trace = Trace(**shape, carry=carry, taps=taps)
    layer.history = History() if carry and options["delay"] > 0 else None
    layer.mean = None if options["covariance"] is None else RunningMean()
    kept = ("gate", "sparse", "threshold", "binary", "covariance", "theta_threshold")
    layer.rule = Rule(**{key: options[key] for key in kept})
    layer.watch = watch
    precise = torch.promote_types(layer.weight.dtype, torch.float32)
    empty = torch.full((2, 3), torch.nan, device=layer.weight.device, dtype=precise)
    layer.register_buffer("moments", empty, persistent=False)


def _uses(model: nn.Module) -> Counter[nn.Module | None]:
    """In how many places of `model` each module is used."""
    return Counter(child for module in model.modules() for child in module._modules.values())


def _backwards(flow: Flow, delay: int | PerLayer) -> PerLayer:
    """The delay of each layer if an error takes `delay` steps from one layer to the one below."""
    if isinstance(delay, Mapping):
        return delay
    depths = flow.depths()
    if depths is None:
        raise UsageError(
            "torch.fx cannot trace the model, so the distance of a layer from the last is unknown",
            where="convert(timescale='retrograde')",
            hint="give the delay of each layer: delay={'NAME': 2 * T, ..., 'LAST': 0}",
        )
    return {name: depth * delay for name, depth in depths.items()}


def _refuse_reuse(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    uses = _uses(model)
    for name, layer in layers.items():
        if uses[layer] > 1:
            raise UsageError(
                f"layer `{name}` is used in {uses[layer]} places of the model",
                where="convert(carry=True)",
                expected="one place for each layer, whose past is that of one stream of inputs",
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


def _note_gates(model: nn.Module, gate: str, per_layer: Mapping[str, Mapping[str, Any]]) -> None:
    """Warns of gates that were asked for and will have no effect."""
    watches = {name: layer.watch for name, layer in traced_layers(model).items()}
    for name, own in per_layer.items():
        watch = watches[name]
        if own.get("gate") in ("trace", "both") and watch.effective == "error":
            log.warning("gate `%s` has no effect in layer `%s`: %s", watch.gate, name, watch.why)
    if gate in ("trace", "both") and all(watch.effective == "error" for watch in watches.values()):
        log.warning("gate `%s` has no effect: no layer has a ReLU that can be read", gate)


def _note_untraced(model: nn.Module) -> None:
    untraced = [
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if not isinstance(module, TracedLinear | TracedConv2d)
        and any(p.requires_grad for p in module.parameters(recurse=False))
    ]
    if untraced:
        log.warning("trained by ordinary back-propagation: %s", ", ".join(untraced))
