"""Sharded training (FSDP2): each process holds a piece of every weight, gradient and moment."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from weft.engine.parts import Parts
from weft.errors import DeviceError


class Shards:
    """A model whose parameters, gradients and moments are sharded over the processes of a run.

    The weights of a unit (`Task.units`) are gathered while it computes; those outside any unit,
    for the whole of `loss`. What a run writes is whole, whatever the number of processes.

    Args:
        parts: of the run.
        model: whole, the same on all processes; its parameters are replaced by their pieces.
        loss: a module that holds `model` and computes the task's loss.

    Attributes:
        whole: on the first process, a whole copy of the model as of the last `gather`, which is
            evaluated and saved; None on all others.

    Raises:
        DeviceError: if this run cannot be sharded.
    """

    def __init__(self, parts: Parts, model: nn.Module, loss: nn.Module) -> None:
        units = parts.task.units(model)
        _check(parts, bool(units))
        self.model, self.loss = model, loss
        self.whole = copy.deepcopy(model) if parts.ranks.first else None
        mesh = init_device_mesh(parts.device.type, (parts.ranks.world,))
        for unit, methods in units.items():
            fully_shard(unit, mesh=mesh)
            for method in methods:
                register_fsdp_forward_method(unit, method)
        fully_shard(loss, mesh=mesh)

    def gather(self) -> None:
        """Updates `whole`; collective: every process must call it."""
        found = self.collected(self.model.state_dict())
        if self.whole is not None:
            self.whole.load_state_dict(found)

    def collected(self, tree: Any) -> Any:
        """The nested containers of `tree` with sharded tensors gathered, on the first process on
        the CPU; collective."""

        def put_together(leaf: Any) -> Any:
            if not isinstance(leaf, DTensor):
                return leaf
            # One tensor at a time, so that no device ever holds all of them.
            whole = leaf.full_tensor()
            return whole if self.whole is None else whole.cpu()

        return tree_map(put_together, tree)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Loads whole weights, of which each process keeps its pieces; collective."""
        own = self.model.state_dict()
        self.model.load_state_dict({name: _piece(of, own.get(name)) for name, of in state.items()})
        self.gather()

    def moments(self, state: Mapping[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """An optimiser's whole state with each tensor cut to this process's piece."""
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        pieces = {
            number: {name: _piece(of, parameters[number]) for name, of in kept.items()}
            for number, kept in state["state"].items()
        }
        return {**state, "state": pieces}


def _piece(whole: Any, like: Tensor | None) -> Any:
    """This process's piece of `whole` if `like` is a sharded tensor of its shape; else `whole`."""
    if not isinstance(like, DTensor) or getattr(whole, "shape", None) != like.shape:
        return whole
    there = whole.to(like.device)
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)


def _check(parts: Parts, divisible: bool) -> None:
    """Refuses options that need all weights, or a whole tensor of them, on one process.

    Raises:
        DeviceError: naming the options.
    """
    config = parts.config
    kinds = {section: parts.kind(section) for section in ("optim", "clip")}
    wrong = {
        f"family `{config.family}` (it names no units of this model)": not divisible,
        "eval.ema": config.eval.ema is not None,
        "engine.compile": config.engine.compile,
        "log.histograms": config.log.histograms is not None,
        **{
            f"{section}.kind={getattr(config, section).kind}": not kind.entrywise
            for section, kind in kinds.items()
        },
    }
    if found := [what for what, is_so in wrong.items() if is_so]:
        raise DeviceError(
            "the weights of this run cannot be shared out over processes",
            where="engine.shard",
            expected=f"a run without {', '.join(found)}",
            hint="engine.shard=false keeps all weights on every process",
        )
