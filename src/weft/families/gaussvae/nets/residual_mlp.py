"""An MLP with one residual block, whose last layer starts at zero."""

from __future__ import annotations

from torch import Tensor, nn

from weft.nn.dense import Dense
from weft.nn.dropout import Dropout


class ResidualMlp(nn.Module):
    """h = GELU(A x); h += C GELU(B LN(h)); y = D LN(h), with D = 0 at first.

    Args:
        inputs: I.
        outputs: O.
        width: of the hidden layers.
        dropout: share of hidden units dropped after each GELU.
    """

    def __init__(self, inputs: int, outputs: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.enter = nn.Sequential(Dense(inputs, width), nn.GELU(), Dropout(dropout))
        self.block = nn.Sequential(
            nn.LayerNorm(width),
            Dense(width, width),
            nn.GELU(),
            Dropout(dropout),
            Dense(width, width),
        )
        last = Dense(width, outputs)
        self.leave = nn.Sequential(nn.LayerNorm(width), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (..., I) to (..., O)."""
        hidden: Tensor = self.enter(x)
        hidden = hidden + self.block(hidden)
        out: Tensor = self.leave(hidden)
        return out
