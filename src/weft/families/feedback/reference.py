"""The original's algorithm, slow and literal: what the fast forms are tested and timed against.

Deltas are formed in full and added to per-sample weights; the second sub-block of a feedback
block runs on all T + 8r tokens; logits exist everywhere; padding is attended and counted as text.
"""

# B batch, T positions, C width, H heads, d = C / H, V vocabulary, L blocks, r rank

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.feedback.model import LanguageModel
from weft.families.feedback.nets.attention import Block, Size
from weft.families.feedback.nets.feedforward import Feedforward
from weft.families.feedback.nets.generator import TokenGenerator

Weights = dict[str, Tensor]
"""Wq, Wk, Wv, Wo, W1, W2 as q, k, v, o, 1, 2: (O, I), or (B, O, I) if each sample has its own."""


def loss(
    model: LanguageModel,
    noisy: Tensor,
    clean: Tensor,
    masked: Tensor,
    p: Tensor,
    real: Tensor | None = None,
) -> Tensor:
    """(1/N) sum over masked positions of CE / p, with deltas if the model has a generator.

    Args:
        model: a language model in mode compat.
        noisy, clean: int64 (B, T).
        masked: bool (B, T).
        p: mask probability, (B, 1) or (B, T).
        real: bool (B, T), keys that are attended; N counts them. None: all, as the original did.
    """
    deltas = None
    if model.generator is not None:
        assert isinstance(model.generator, TokenGenerator)
        deltas = feedback(model.generator, noisy, real)
    logits = feedforward(model.base, noisy, deltas, real)
    nats = F.cross_entropy(logits.flatten(0, 1), clean.flatten(), reduction="none")
    nats = nats.view_as(clean)
    count = noisy.numel() if real is None else real.sum()
    return (nats * masked / p).sum() / count


def feedforward(
    base: Feedforward,
    tokens: Tensor,
    deltas: list[Weights] | None = None,
    real: Tensor | None = None,
) -> Tensor:
    """Logits (B, T, V).

    Args:
        base: its weights are used.
        tokens: int64 (B, T).
        deltas: Delta W of q, k, v, o for each block, (B, C, C); None: none.
        real: keys that are attended, bool (B, T); None: all.
    """
    x = F.dropout(F.embedding(tokens, base.table), base.size.dropout, base.training)
    for layer, block in enumerate(base.blocks):
        assert isinstance(block, Block)
        weights = weights_of(block)
        if deltas is not None:
            weights |= {name: weights[name] + delta for name, delta in deltas[layer].items()}
        x = sub_block(x, weights, base.size, real, base.training)
    return layer_norm(x) @ base.table.t()


def feedback(
    generator: TokenGenerator, tokens: Tensor, real: Tensor | None = None
) -> list[Weights]:
    """Delta W of q, k, v, o, (B, C, C) each, for every feedforward block, lowest first."""
    network, training = generator.network, generator.training
    size, table = network.size, generator.reader.table
    assert table is not None and network.first_position == "text"
    x = F.dropout(F.embedding(tokens, table), size.dropout, training)
    written: dict[int, Weights] = {}
    for step in range(size.n_layer):
        layer = size.n_layer - 1 - step if network.reverse else step
        block = network.block(step)
        if network.layer_table is not None:
            x = x + network.layer_table[layer]
        x = sub_block(x, weights_of(block.first), size, real, training)
        together = torch.cat((x, block.table.expand(len(x), -1, -1)), 1)
        seen = None if real is None else F.pad(real, (0, len(block.table)), value=True)
        together = sub_block(together, weights_of(block.second), size, seen, training)
        written[layer] = products(together[:, x.shape[1] :])
    return [written[layer] for layer in range(size.n_layer)]


def products(rows: Tensor) -> Weights:
    """B^T A of rows (B, 8r, C) in the order qA, qB, kA, kB, vA, vB, oA, oB."""
    parts = rows.chunk(8, 1)
    return {z: parts[2 * i + 1].transpose(1, 2) @ parts[2 * i] for i, z in enumerate("qkvo")}


def weights_of(block: Block) -> Weights:
    """The weights of a block, by name."""
    q, k, v = block.qkv.chunk(3)
    return {"q": q, "k": k, "v": v, "o": block.out, "1": block.up, "2": block.down}


def sub_block(
    x: Tensor, weights: Weights, size: Size, real: Tensor | None, training: bool
) -> Tensor:
    """x += Wo Attn(LN x); x += W2 GELU(W1 LN x).

    Args:
        x: (B, T, C).
        weights: see `Weights`.
        size: of the network.
        real: keys that are attended, bool (B, T); None: all.
        training: whether dropout is on.
    """
    p = size.dropout
    h = layer_norm(x)
    q, k, v = (heads(h @ weights[z].mT, size.n_head) for z in "qkv")
    sight = None if real is None else real[:, None, None, :]
    share = p if training else 0.0
    seen = F.scaled_dot_product_attention(rotate(q), rotate(k), v, sight, dropout_p=share)
    seen = seen.transpose(1, 2).flatten(2)
    x = x + F.dropout(seen @ weights["o"].mT, p, training)
    inner = F.gelu(layer_norm(x) @ weights["1"].mT)
    return x + F.dropout(inner @ weights["2"].mT, p, training)


def layer_norm(x: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance + 1e-5)."""
    return F.layer_norm(x, x.shape[-1:])


def heads(x: Tensor, count: int) -> Tensor:
    """(B, H, T, d) of (B, T, C)."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def rotate(x: Tensor) -> Tensor:
    """Rotary embedding of x (B, H, T, d): entries i and i + d/2 turn by s / 10000^(2i/d) at s."""
    half = x.shape[-1] // 2
    rate = 10000.0 ** (-torch.arange(half, dtype=x.dtype, device=x.device) / half)
    angle = torch.arange(x.shape[-2], dtype=x.dtype, device=x.device)[:, None] * rate
    first, second = x[..., :half], x[..., half:]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
