"""`Inference`: how a trained model is used outside weft, as a function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Inference:
    """The function that `weft export` writes.

    Attributes:
        function: (model, *inputs) -> a tensor, or a tuple of tensors, without randomness.
        inputs: name -> an example with two items along dimension 0, which is exported as dynamic.
        outputs: names of the outputs, in order.
    """

    function: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
