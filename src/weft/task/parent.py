"""`Parent`: an earlier run that a new one starts from, and how its weights are copied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weft.config.base import FamilyConfig
from weft.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Parent:
    """An earlier run that a new one starts from.

    Attributes:
        key: the config key, of type `RunRef`, that names it.
        file: its checkpoint, or exported weights.
        sha256: checksum of the file when the new run began.
        config: the earlier run's config.
        load_weights: verifies the checksum and reads the model's state_dict.
    """

    key: str
    file: Path
    sha256: str
    config: FamilyConfig
    load_weights: Callable[[], dict[str, Tensor]]

    def __str__(self) -> str:
        return f"{self.key}: starts from {self.file}, sha256 {self.sha256[:12]}…"

    def fill(self, module: nn.Module) -> None:
        """Copies the weights into `module`, name for name.

        Raises:
            ConfigError: if their names or shapes differ.
        """
        weights, own = self.load_weights(), module.state_dict()
        there, here = ({k: tuple(v.shape) for k, v in s.items()} for s in (weights, own))
        differing = [k for k in {**here, **there} if here.get(k) != there.get(k)]
        if differing:
            first = differing[0]
            raise ConfigError(
                f"the weights of `{self.key}` do not fit this run's model: "
                f"{len(differing)} of {len(here)} tensors differ",
                where=str(self.file),
                expected=f"`{first}` of shape {here.get(first, 'absent')}; the earlier run's is "
                f"{there.get(first, 'absent')}",
                hint="give both runs the same model; the earlier run's config.yaml says what it is",
            )
        module.load_state_dict(weights)
