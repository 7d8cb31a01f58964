"""The transformer block: attention and an MLP, both pre-norm and without biases."""

# B batch, T positions, C width, H heads, d = C / H, n weight tokens

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.feedback.nets.attend import attend
from weft.families.feedback.nets.deltas import BlockDeltas, adapted_linear
from weft.families.feedback.nets.heads import split
from weft.families.feedback.nets.rows import Rotation, Sight
from weft.nn.dense import linear
from weft.nn.dropout import dropout


@dataclass(frozen=True)
class Size:
    """The sizes of a transformer.

    Attributes:
        vocab_size: V, rows of the token table.
        n_layer, n_head, n_embd: L, H and C.
        dropout: dropout probability in the embedding, attention and each sub-block's output.
    """

    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float = 0.0


def norm(x: Tensor) -> Tensor:
    """Layer norm without weight and bias."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-5)


class Block(nn.Module):
    """x += Wo Attn(LN x); x += W2 GELU(W1 LN x), with exact GELU and 4C hidden units.

    Weights start from N(0, 0.02); Wo and W2 from N(0, 0.02 / sqrt(2 L)).
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.n_embd
        self.heads, self.p = size.n_head, size.dropout
        thin = 0.02 / (2 * size.n_layer) ** 0.5
        self.qkv = normal(3 * width, width)
        self.out = normal(width, width, std=thin)
        self.up = normal(4 * width, width)
        self.down = normal(width, 4 * width, std=thin)

    @property
    def p_now(self) -> float:
        """Dropout probability in the current mode: 0 in eval mode."""
        return self.p if self.training else 0.0

    def forward(
        self,
        x: Tensor,
        turn: Rotation,
        sight: Sight,
        deltas: BlockDeltas | None = None,
        heard: list[Tensor] | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """Maps x (B, T, C) to the same shape; the input of Wo is appended to `heard`.

        With `at`, int64 (N,), the result is that at these positions of the flattened batch,
        (1, N, C), and nothing is computed elsewhere that no other position needs: of one row only
        queries from here, of several only the MLP, unless each row has its own.
        """
        changed = deltas or BlockDeltas()
        qkv = adapted_linear(norm(x), self.qkv, changed.qkv).unflatten(-1, (3, -1))
        q, k, v = split(qkv, turn, self.heads, turned=2)
        if at is not None and len(x) == 1 and sight.is_of_keys:
            q, x, at = q.index_select(1, at), x.index_select(1, at), None
        seen = attend(q, k, v, sight, self.p_now)
        if heard is not None:
            heard.append(seen)
        x = x + self.drop(adapted_linear(seen, self.out, changed.out))
        if at is not None and not changed.mlp_varies:
            x, at = _taken(x, at), None
        x = x + self.drop(self.mlp(x, changed))
        return x if at is None else _taken(x, at)

    def read(
        self,
        x: Tensor,
        tokens: Tensor,
        turn: Rotation,
        turn_tokens: Rotation | None,
        sight: Sight,
    ) -> Tensor:
        """The last n outputs of the block for the sequence [x ; tokens].

        Only the tokens are queries; the outputs at x are not computed. The q, k and v of the tokens
        are the same for all samples, and so computed once.

        Args:
            x: (B, T, C).
            tokens: (n, C).
            turn: rotary embedding of x.
            turn_tokens: rotary embedding of the tokens; None: they have no position.
            sight: which of the T + n keys the tokens attend to.
        Returns: (B, n, C).
        """
        batch, _, width = x.shape
        # Not a slice of all three, whose gradient would be one of all three, of zeros for a third.
        for_q, for_kv = self.qkv.split((width, 2 * width))
        own = norm(tokens)[None]
        q = linear(own, for_q).unflatten(-1, (self.heads, -1))
        k_own, v_own = linear(own, for_kv).unflatten(-1, (2, self.heads, -1)).unbind(2)
        if turn_tokens is not None:
            q, k_own = turn_tokens(q), turn_tokens(k_own)
        k, v = split(linear(norm(x), for_kv).unflatten(-1, (2, -1)), turn, self.heads, turned=1)
        keys, values = _joined(k, k_own, batch), _joined(v, v_own, batch)
        seen = attend(q.expand(batch, -1, -1, -1), keys, values, sight, self.p_now)
        out = tokens + self.drop(linear(seen, self.out))
        return out + self.drop(self.mlp(out))

    def mlp(self, x: Tensor, changed: BlockDeltas | None = None) -> Tensor:
        """W2 GELU(W1 LN x), (…, C)."""
        changed = changed or BlockDeltas()
        hidden = F.gelu(adapted_linear(norm(x), self.up, changed.up))
        return adapted_linear(hidden, self.down, changed.down)

    def drop(self, x: Tensor) -> Tensor:
        """x with the block's dropout."""
        return dropout(x, self.p, self.training)


def _taken(x: Tensor, at: Tensor) -> Tensor:
    """x (B, T, C) at positions (N,) of the flattened batch, (1, N, C)."""
    return x.flatten(0, 1).index_select(0, at)[None]


def _joined(x: Tensor, own: Tensor, batch: int) -> Tensor:
    """x (B, T, H, d) and after it `own` (1, n, H, d), as `split` has them in memory."""
    parts = x.transpose(1, 2), own.transpose(1, 2).expand(batch, -1, -1, -1)
    return torch.cat(parts, 2).transpose(1, 2)


def normal(*shape: int, std: float = 0.02) -> nn.Parameter:
    """A parameter drawn from N(0, std)."""
    return nn.Parameter(torch.randn(*shape) * std)
