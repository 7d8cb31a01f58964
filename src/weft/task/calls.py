"""Calls the hooks of a task and checks what they return; errors name the author's line.

Only types and shapes are checked, so that no check waits for a device. Each function here has the
name of the hook it calls, and raises PluginError if the result is not what `Task` asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from weft.config.place import place
from weft.data.source import Batch, DataSpec, Field, Source, Splits
from weft.errors import PluginError
from weft.task.context import Context
from weft.task.inference import Inference
from weft.task.load import origin
from weft.task.task import Task
from weft.task.writing import Writing, Written

AnyTask = Task[Any, Any, Any]
Scalars = dict[str, Tensor]

RESERVED = ("loss", "grad_norm")
"""Names of scalars that the engine logs itself."""


def spec(task: AnyTask) -> DataSpec:
    """The task's data spec."""
    found = task.spec()
    if not isinstance(found, DataSpec):
        raise _wrong(task, "spec", f"gives {_kind(found)}", "a weft.data.source.DataSpec")
    for name, field in found.fields.items():
        if not isinstance(field, Field):
            says = f"gives {_kind(field)} as the field `{name}`"
            raise _wrong(task, "spec", says, "a weft.data.source.Field")
    shape = found.batch_shape
    if not (shape and all(isinstance(size, int) and size > 0 for size in shape)):
        expected = "positive lengths, such as `(batch_size,)`"
        raise _wrong(task, "spec", f"gives {shape!r} as `batch_shape`", expected)
    if found.batches_per_epoch < 1:
        says = f"gives {found.batches_per_epoch} as `batches_per_epoch`"
        raise _wrong(task, "spec", says, "at least one: no more items in a batch than there are")
    return found


def data(task: AnyTask, device: torch.device) -> Splits[Any]:
    """The task's sources, moved to `device`."""
    found = task.data()
    if not isinstance(found, Splits):
        raise _wrong(task, "data", f"gives {_kind(found)}", "a weft.data.source.Splits")
    members = [name for name in vars(Source) if not name.startswith("_")]
    splits = {each.name: getattr(found, each.name) for each in fields(found)}
    for name, source in splits.items():
        if source is None and name != "train":
            continue
        if lacks := [member for member in ("__len__", *members) if not hasattr(source, member)]:
            says = f"gives {_kind(source)} as `{name}`, which lacks `{lacks[0]}`"
            raise _wrong(task, "data", says, "a source, as weft.data.source.Source says")
        if len(source) == 0:
            raise _wrong(task, "data", f"gives no items as `{name}`", "items, or None for no split")
    moved = found.to(device)
    for name, source in splits.items():
        if not isinstance(getattr(moved, name), type(source)):
            says = f"gives a `{name}` whose `to` gives {_kind(getattr(moved, name))}"
            raise _wrong(task, "data", says, "the same source on the device")
    return moved


def plan(task: AnyTask, source: Source, seed: int, epoch: int, count: int) -> Sequence[Tensor]:
    """The index batches of an epoch, at least `count` of them."""
    found = source.plan(seed, epoch)
    if len(found) < count or not isinstance(found[0], Tensor):
        says = f"does not match the training source, which plans {len(found)} batches"
        expected = f"{count} index tensors, as its `batches_per_epoch` says"
        raise _wrong(task, "spec", says, expected)
    return found


def check_batch(task: AnyTask, spec: DataSpec, found: Batch, items: int) -> None:
    """Checks that a training batch has the fields, shapes and dtypes of the spec.

    Args:
        task: of the run, for the message.
        spec: its data spec.
        found: the batch.
        items: expected length of dimension 0; less than a whole batch's if that is shared.
    """
    for name, field in spec.fields.items():
        shape = (items, *spec.batch_shape[1:], *field.shape)
        value = found.get(name) if isinstance(found, dict) else None
        if not isinstance(value, Tensor):
            given = _kind(value)
        elif value.dtype == field.dtype and _fits(tuple(value.shape), shape, field):
            continue
        else:
            given = f"{tuple(value.shape)} of {value.dtype}"
        says = f"does not match the training batch, where `{name}` is {given}"
        most = "at most " if field.at_most else ""
        raise _wrong(task, "spec", says, f"{most}{shape} of {field.dtype}, as spec() says")


def model(task: AnyTask, spec: DataSpec) -> nn.Module:
    """The task's model."""
    found = task.model(spec)
    if not isinstance(found, nn.Module):
        raise _wrong(task, "model", f"gives {_kind(found)}", "a torch.nn.Module")
    return found


def param_groups(task: AnyTask, model: nn.Module) -> list[dict[str, Any]]:
    """The task's parameter groups, with `params` as lists and at least one trainable parameter."""
    found: object = task.param_groups(model)
    expected = "an iterable of mappings with `params`, as torch.optim takes them"
    if isinstance(found, Mapping) or not hasattr(found, "__iter__"):
        raise _wrong(task, "param_groups", f"gives {_kind(found)}", expected)
    groups = []
    for group in found:
        if not (isinstance(group, Mapping) and "params" in group):
            raise _wrong(task, "param_groups", f"gives the group {_kind(group)}", expected)
        params = group["params"]
        groups.append({**group, "params": [params] if isinstance(params, Tensor) else [*params]})
    if not any(parameter.requires_grad for group in groups for parameter in group["params"]):
        raise _wrong(task, "param_groups", "gives nothing to train", "parameters with gradients")
    return groups


def draw(task: AnyTask, batch: Batch, ctx: Context) -> Batch:
    """The batch with what the task drew for it: tensors with equally many items."""
    found = task.draw(batch, ctx)
    if found is batch:
        return found
    if not isinstance(found, dict):
        raise _wrong(task, "draw", f"gives {_kind(found)}", "a dict of tensors")
    sizes = {value.shape[:1] for value in found.values() if isinstance(value, Tensor)}
    if len(sizes) != 1 or not all(isinstance(value, Tensor) for value in found.values()):
        says = "gives entries of unequal length"
        raise _wrong(task, "draw", says, "tensors whose dimension 0 is the item, as in the batch")
    return found


def loss(task: AnyTask, model: nn.Module, batch: Batch, ctx: Context) -> tuple[Tensor, Scalars]:
    """The loss of a batch, a tensor of one number with a gradient, and the scalars to log."""
    found: object = task.loss(model, batch, ctx)
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)):
        says = f"gives {_kind(found)}"
        raise _wrong(task, "loss", says, "(loss, scalars): a tensor, and a dict of tensors")
    value, terms = found
    if not isinstance(value, Tensor):
        expected = "a tensor that torch can differentiate; no `.item()` or `float()`"
        raise _wrong(task, "loss", f"gives {_kind(value)} as the loss", expected)
    if value.numel() != 1:
        says = f"gives a loss of shape {tuple(value.shape)}"
        raise _wrong(task, "loss", says, "one number: its `.mean()` or `.sum()`")
    if not value.requires_grad:
        expected = "one that was computed from the model's parameters, not detached"
        raise _wrong(task, "loss", "gives a loss without a gradient", expected)
    for name in RESERVED:
        if name in terms:
            says = f"gives a scalar called `{name}`"
            raise _wrong(task, "loss", says, "another name: the engine logs this one itself")
    return value, _scalars(task, "loss", terms, value.device)


def scalars(task: AnyTask, model: nn.Module, device: torch.device) -> Scalars:
    """The task's diagnostics of a step's backward pass."""
    found = task.scalars(model)
    if not isinstance(found, dict):
        raise _wrong(task, "scalars", f"gives {_kind(found)}", "a dict of tensors")
    return _scalars(task, "scalars", found, device)


def evaluate(task: AnyTask, model: nn.Module, source: Source, ctx: Context) -> dict[str, float]:
    """Metrics over `source`, including the first declared one."""
    found = task.evaluate(model, source, ctx)
    if not isinstance(found, dict):
        raise _wrong(task, "evaluate", f"gives {_kind(found)}", "a dict of floats")
    for name, value in found.items():
        if not isinstance(value, float | int):
            says = f"gives {_kind(value)} as `{name}`"
            raise _wrong(task, "evaluate", says, "a Python float; `.item()` makes one of a tensor")
    first = task.metrics[0].name
    if first not in found:
        says = f"gives no `{first}`, the first of the declared metrics, but {', '.join(found)}"
        raise _wrong(task, "evaluate", says, f"`{first}`: it selects the best weights")
    return found


def tell(task: AnyTask, model: nn.Module, source: Source, ctx: Context) -> list[str]:
    """The task's lines for the log."""
    found = task.tell(model, source, ctx)
    if isinstance(found, str) or not hasattr(found, "__iter__"):
        raise _wrong(task, "tell", f"gives {_kind(found)}", "a list of lines")
    lines = list(found)
    if odd := [line for line in lines if not isinstance(line, str)]:
        raise _wrong(task, "tell", f"gives {_kind(odd[0])} as a line", "text")
    return lines


def inference(task: AnyTask, model: nn.Module, spec: DataSpec) -> Inference:
    """The task's inference function."""
    found = task.inference(model, spec)
    if not isinstance(found, Inference):
        raise _wrong(task, "inference", f"gives {_kind(found)}", "weft.task.inference.Inference")
    return found


def write(task: AnyTask, model: nn.Module, asked: Writing, ctx: Context) -> list[Written]:
    """The text for each prompt; an empty list if the model writes no text."""
    found = list(task.write(model, asked, ctx))
    if odd := [text for text in found if not isinstance(text, Written)]:
        raise _wrong(task, "write", f"gives {_kind(odd[0])}", "weft.task.writing.Written")
    if found and len(found) != len(asked.prompts):
        says = f"gives {len(found)} texts for {len(asked.prompts)} prompts"
        raise _wrong(task, "write", says, "one for each")
    return found


def pictures(
    drawing: Callable[..., Any], *arguments: Any, sampled: bool = False
) -> Iterator[tuple[str, str, Any]]:
    """The pictures of a family's hook or function, checked one by one.

    Args:
        drawing: the hook or function.
        arguments: its arguments.
        sampled: whether frames of an animation and text are allowed, too.
    """
    found = drawing(*arguments)
    others = ", a list of PIL images, or text" if sampled else ""
    if not hasattr(found, "__iter__"):
        raise _badly_drawn(drawing, f"gives {_kind(found)}", "an iterable of pictures")
    for item in found:
        if not (isinstance(item, tuple) and len(item) == 3 and _is_drawn(item[2], sampled)):
            expected = f"(name, caption, picture): text, text, and a matplotlib Figure{others}"
            raise _badly_drawn(drawing, f"gives {_kind(item)}", expected)
        if not all(isinstance(text, str) for text in item[:2]) or "/" in item[0]:
            says = f"names a picture {item[0]!r}, with {item[1]!r} as its caption"
            raise _badly_drawn(drawing, says, "a file's name without folder or ending, and text")
        yield item


def _fits(given: tuple[int, ...], shape: tuple[int, ...], field: Field) -> bool:
    if not field.at_most or len(given) != len(shape):
        return given == shape
    return all(a <= b for a, b in zip(given, shape, strict=True))


def _is_drawn(picture: object, sampled: bool) -> bool:
    # By attributes, so that neither matplotlib nor Pillow is imported here.
    if isinstance(picture, str):
        return sampled
    if isinstance(picture, Sequence):
        return sampled and len(picture) > 0 and all(hasattr(frame, "save") for frame in picture)
    return hasattr(picture, "savefig")


def _scalars(task: AnyTask, hook: str, found: Scalars, device: torch.device) -> Scalars:
    for name, value in found.items():
        if not (isinstance(value, Tensor) and value.numel() == 1):
            says = f"gives {_kind(value)} as the scalar `{name}`"
            raise _wrong(task, hook, says, "a tensor of one number; `.mean()` of several")
        if value.device != device and device.type != "meta":
            says = f"gives the scalar `{name}` on {value.device}"
            raise _wrong(task, hook, says, f"it on {device}, where the model is")
    return found


def _wrong(task: AnyTask, hook: str, says: str, expected: str) -> PluginError:
    name = type(task).__name__
    where = place(origin(task, hook))
    return PluginError(f"`{hook}` of {name} {says}", where=where, expected=expected)


def _badly_drawn(drawing: Callable[..., Any], says: str, expected: str) -> PluginError:
    name = getattr(drawing, "__qualname__", repr(drawing))
    return PluginError(f"`{name}` {says}", where=place(drawing), expected=expected)


def _kind(value: object) -> str:
    """The type of `value` in a few words."""
    if value is None:
        return "nothing"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(type(each).__name__ for each in value) or 'nothing'}"
    return f"a {type(value).__name__}"
