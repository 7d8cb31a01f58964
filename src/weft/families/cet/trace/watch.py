"""The gate that acts in each layer, as predicted and as found, and warnings given once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

log = logging.getLogger(__name__)

Follower = Literal["relu", "function", "beside", "none", "unknown"]
"""What follows a layer: only an `nn.ReLU`; a ReLU as a function call; a ReLU and other modules; no
ReLU; or unknown before training."""

WHY: dict[Follower, str] = {
    "relu": "a ReLU behind it",
    "function": "a ReLU behind it, a function call",
    "beside": "its output goes elsewhere besides the ReLU",
    "none": "no ReLU behind it",
    "unknown": "read when it trains",
}


class WarnOnce:
    """Logs each warning about a model once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def __call__(self, what: str, message: str) -> None:
        """Logs `message` as a warning, unless one with the same key `what` was logged before."""
        if what not in self._given:
            self._given.add(what)
            log.warning("%s", message)


@dataclass
class Watch:
    """The effective gate of one layer.

    Attributes:
        name: of the layer in the model.
        gate: the gate of its rule.
        warn: shared by all traced layers of the model.
        follower: what follows the layer, as predicted by torch.fx.
        read: whether the last backward pass found a ReLU after the layer; None before the first.
    """

    name: str
    gate: str
    warn: WarnOnce = field(repr=False)
    follower: Follower
    read: bool | None = None

    def note(self, read: bool) -> None:
        """Records whether a backward pass found a ReLU, and warns if a predicted one is missing."""
        if read == self.read:
            return
        if self._foreseen and not read:
            self.warn(
                f"gate of {self.name}",
                f"layer `{self.name}`: the ReLU behind it was not read, so that the gate acts on "
                "the error alone: it was replaced, something else takes part in its error, or it "
                "is a function call within compiled code, or outside the model's forward pass",
            )
        self.read = read

    @property
    def effective(self) -> str:
        """The gate that acts: what the ReLU's derivative multiplies."""
        known = self._foreseen if self.read is None else self.read
        if self.follower == "unknown" and self.read is None:
            return f"{self.gate}, if a ReLU is found behind it"
        return self.gate if known else "error"

    @property
    def why(self) -> str:
        """The reason for `effective`, in words."""
        if self.read is None or self.read == self._foreseen:
            return WHY[self.follower]
        return WHY["relu"] if self.read else "no ReLU read behind it"

    @property
    def _foreseen(self) -> bool:
        return self.follower in ("relu", "function")
