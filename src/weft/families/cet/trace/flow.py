"""Where the output of each layer goes, found by tracing a copy of the model with `torch.fx`."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping

import torch
from torch import fx, nn
from torch.nn import functional

from weft.families.cet.trace.watch import Follower

log = logging.getLogger(__name__)

RELU_CALLS = {functional.relu, torch.relu, functional.relu_, torch.relu_, "relu", "relu_"}


class Flow:
    """The data flow of a model between the layers that are to learn by traces.

    The model is neither run nor changed: a copy that shares its parameters is traced. A model whose
    forward pass depends on values of tensors cannot be traced; then nothing is known in advance.

    Args:
        model: before conversion.
        layers: those that are to learn by traces, by their name in the model.
    """

    def __init__(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
        self._names = list(layers)
        self._twin, self._graph = _traced(model, set(layers.values()))

    def followers(self) -> dict[str, Follower]:
        """What uses the output of each layer; `nn.Identity` is skipped."""
        if self._graph is None:
            return dict.fromkeys(self._names, "unknown")
        return {name: self._follower(name) for name in self._names}

    def depths(self) -> dict[str, int] | None:
        """The largest number of other layers between each layer and the model's output.

        None if the model cannot be traced.
        """
        if self._graph is None:
            return None
        above: dict[fx.Node, int] = {}
        found = dict.fromkeys(self._names, 0)
        for node in reversed(self._graph.nodes):
            here = max((above[user] for user in node.users), default=0)
            if node.op == "call_module" and node.target in found:
                found[str(node.target)] = max(found[str(node.target)], here)
                here += 1
            above[node] = here
        return found

    def _follower(self, name: str) -> Follower:
        assert self._graph is not None
        calls = [node for node in self._graph.nodes if node.target == name]
        found = {self._behind(node) for node in calls}
        return found.pop() if len(found) == 1 else "beside" if found else "none"

    def _behind(self, node: fx.Node) -> Follower:
        uses = [self._use(user) for user in self._users(node)]
        if "relu" not in uses and "function" not in uses:
            return "none"
        return uses[0] if len(uses) == 1 else "beside"

    def _use(self, node: fx.Node) -> Follower:
        if self._kind(node) is nn.ReLU:
            return "relu"
        return "function" if node.target in RELU_CALLS else "none"

    def _users(self, node: fx.Node) -> Iterator[fx.Node]:
        for user in node.users:
            if self._kind(user) is nn.Identity:
                yield from self._users(user)
            else:
                yield user

    def _kind(self, node: fx.Node) -> type[nn.Module] | None:
        if node.op != "call_module":
            return None
        return type(self._twin.get_submodule(str(node.target)))


class _Tracer(fx.Tracer):
    """Traces into every module that contains one of the layers, torch's own modules included.

    Args:
        layers: of the model that is traced.
        deep: whether to trace into other modules too, except torch's own.
    """

    def __init__(self, layers: set[nn.Module], deep: bool) -> None:
        super().__init__()
        self.layers, self.deep = layers, deep

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a call of `m` stays one node of the graph."""
        if not self.layers.isdisjoint(m.modules()):
            return m in self.layers
        return not self.deep or super().is_leaf_module(m, module_qualified_name)


def _traced(model: nn.Module, layers: set[nn.Module]) -> tuple[nn.Module, fx.Graph | None]:
    """A copy of `model`, and its graph if it has one."""
    for deep in (True, False):  # perhaps only a module without layers cannot be traced
        memo: dict[int, object] = {id(tensor): tensor for tensor in model.parameters()}
        try:
            twin = copy.deepcopy(model, memo)
            own = {m for layer in layers if isinstance(m := memo[id(layer)], nn.Module)}
            with torch.random.fork_rng(devices=[]):
                return twin, _Tracer(own, deep).trace(twin)
        except Exception as error:  # forward passes may raise anything for a symbolic tensor
            log.debug("the model cannot be traced: %r", error)
    return model, None
