"""How a trained model is used alone, without its data and its training: a function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Inference:
    """What `weft export` writes of a model.

    Attributes:
        function: (model, *inputs) -> a tensor, or a tuple of tensors, without randomness.
        inputs: name -> an example, all with two items along dimension 0, which may later be any
            number.
        outputs: names of what it gives, in order.
    """

    function: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
