"""Which gate acts in a layer, as foreseen and as found, and what is told of it, once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

log = logging.getLogger(__name__)

Follower = Literal["relu", "function", "beside", "none", "unknown"]
"""What follows a layer: an `nn.ReLU` alone; a ReLU as a function call; a ReLU and others; no ReLU;
or what is not known before the model trains."""

WHY: dict[Follower, str] = {
    "relu": "a ReLU behind it",
    "function": "a ReLU behind it, a function call",
    "beside": "its output goes elsewhere beside the ReLU",
    "none": "no ReLU behind it",
    "unknown": "read when it trains",
}


class Told:
    """What has been told of a model; everything is told once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, what: str, message: str) -> None:
        """Warns with `message`, unless something has been told under `what` before."""
        if what not in self._told:
            self._told.add(what)
            log.warning("%s", message)


@dataclass
class Watch:
    """The effective gate of one layer.

    Attributes:
        name: of the layer in the model.
        gate: the one its rule has.
        told: shared by the model's layers.
        follower: what was foreseen behind the layer.
        read: whether the last backward pass found a ReLU there; None before the first.
    """

    name: str
    gate: str
    told: Told = field(repr=False)
    follower: Follower
    read: bool | None = None

    def note(self, read: bool) -> None:
        """Takes in what a backward pass found; one that was not foreseen is told."""
        if read == self.read:
            return
        if self._foreseen and not read:
            self.told(
                f"gate of {self.name}",
                f"layer `{self.name}`: the ReLU behind it was not read, so that the gate acts on "
                "the error alone: it was replaced, something else takes part in its error, or it "
                "is a function call within compiled code, or outside the model's forward pass",
            )
        self.read = read

    @property
    def effective(self) -> str:
        """The gate that acts: where the ReLU's derivative sits."""
        known = self._foreseen if self.read is None else self.read
        if self.follower == "unknown" and self.read is None:
            return f"{self.gate}, if a ReLU is found behind it"
        return self.gate if known else "error"

    @property
    def why(self) -> str:
        """Why it is that one, in words."""
        if self.read is None or self.read == self._foreseen:
            return WHY[self.follower]
        return WHY["relu"] if self.read else "no ReLU read behind it"

    @property
    def _foreseen(self) -> bool:
        return self.follower in ("relu", "function")
