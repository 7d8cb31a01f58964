"""The language model of a run: the feedforward network, and the networks that adapt it."""

# B batch, T positions, C width, V vocabulary, L blocks, N positions with a loss

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from weft.data.source import DataSpec
from weft.families.feedback.config import Config
from weft.families.feedback.nets.adapt import Writer, matrices, train_only
from weft.families.feedback.nets.attention import Block, Size
from weft.families.feedback.nets.deltas import Deltas
from weft.families.feedback.nets.feedforward import Feedforward, rotation
from weft.families.feedback.nets.generator import Generator, Seen, build_generator
from weft.families.feedback.nets.logits import cross_entropy
from weft.families.feedback.nets.rows import Rows
from weft.nn.dense import linear


@dataclass(frozen=True)
class Looked:
    """The parts of `Seen` that come from a pass of the feedforward network; same fields."""

    stream: tuple[Tensor, ...] = ()
    heard: tuple[Tensor, ...] = ()
    error: tuple[Tensor, ...] = ()


class LanguageModel(nn.Module):
    """A feedforward network, a network that writes deltas into it, and self-conditioning.

    A frozen feedforward network stays in eval mode: its dropout is off.

    Args:
        base: the feedforward network.
        writer: makes deltas of rows, and has the static ones; None: there are no deltas.
        generator: computes rows from the input; None: deltas are static.
        self_condition: whether the hidden states of an earlier guess can enter the embedding.
        extra: number of blocks after those of the feedforward network; they start as the identity.
        rounds: how often deltas are written, each time from a pass with the previous deltas.
        error: what the generator reads besides: the error of a pass at visible tokens that were
            hidden from it, or the gradient of that loss.
        mask_id: id of [MASK].
        head_chunk: number of positions whose logits are computed at once; None: all.
    Attributes:
        origin: a copy of the feedforward network before adaptation, if adaptation changes it.
        used: the softmax is over the first `used` of V ids; None: over all.
    """

    def __init__(
        self,
        base: Feedforward,
        writer: Writer | None = None,
        generator: Generator | None = None,
        *,
        self_condition: bool = False,
        extra: int = 0,
        rounds: int = 1,
        error: Literal["none", "prediction", "gradient"] = "none",
        mask_id: int = -1,
        head_chunk: int | None = None,
    ) -> None:
        super().__init__()
        width = base.size.n_embd
        self.base, self.writer, self.generator = base, writer, generator
        self.origin: Feedforward | None = None
        self.condition = nn.Parameter(torch.zeros(width, width)) if self_condition else None
        self.extra = nn.ModuleList(_identity(base.size) for _ in range(extra))
        self.rounds, self.error, self.mask_id = rounds, error, mask_id
        self.head_chunk = head_chunk
        self.used: int | None = None

    def train(self, mode: bool = True) -> LanguageModel:
        """Sets the mode; a frozen feedforward network stays in eval mode."""
        super().train(mode)
        self.base.train(mode and any(p.requires_grad for p in self.base.parameters()))
        return self

    def forward(
        self,
        tokens: Tensor,
        rows: Rows,
        *,
        previous: Tensor | None = None,
        deltas: Deltas | None = None,
        adapt: bool = True,
        at: Tensor | None = None,
    ) -> Tensor:
        """Hidden states that the head reads, (B, T, C); with `at`, there alone, (N, C).

        Args:
            tokens: noisy tokens, int64 (B, T).
            rows: the positions of text.
            previous: result of `forward` for an earlier guess, without gradient, (B, T, C); has an
                effect only in a model with self-conditioning, where None means no guess.
            deltas: those to use; None: they are computed from the same tokens.
            adapt: False uses the feedforward network without deltas.
            at: the only positions of the flattened batch that are needed, int64 (N,); None: all.
        """
        if adapt and deltas is None:
            deltas = self.deltas(tokens, rows, previous=previous)
        added = self._added(previous)
        if not adapt:
            return self._pass(tokens, rows, None, added, (), at)[0]
        return self._pass(tokens, rows, deltas, added, self.extra, at)[0]

    def deltas(
        self, tokens: Tensor, rows: Rows, *, previous: Tensor | None = None
    ) -> Deltas | None:
        """The deltas for these tokens; None if the model has none.

        If the generator reads hidden states, each round runs the feedforward network once, without
        gradient, with the deltas of the previous round.
        """
        if self.writer is None:
            return None
        if self.generator is None:
            static: Deltas = self.writer(None, None)
            return static
        turn = rotation(tokens, rows, self.base.size, self.base.table.dtype)
        written: Deltas | None = None
        shown = tokens != self.mask_id
        if rows.real is not None:
            shown = shown & rows.real
        for number in range(self.rounds):
            last = number == self.rounds - 1
            looked = self._look(tokens, rows, written, self._added(previous), shown, number)
            with torch.set_grad_enabled(last and torch.is_grad_enabled()):
                seen = Seen(
                    tokens,
                    self.base.table,
                    looked.stream,
                    rows,
                    turn,
                    looked.error,
                    looked.heard,
                    shown,
                )
                written = self.writer(*self.generator(seen))
        return written

    def _look(
        self,
        tokens: Tensor,
        rows: Rows,
        deltas: Deltas | None,
        added: Tensor | None,
        shown: Tensor,
        number: int,
    ) -> Looked:
        """Runs a pass for one round; if errors are read, some visible tokens are hidden from it."""
        assert self.generator is not None
        if not self.generator.reads_states:
            return Looked()
        if self.error == "none":
            with torch.no_grad():
                _, stream, heard = self._pass(tokens, rows, deltas, added, self.extra)
            return Looked(stream, heard)
        hidden = hide(tokens, number) & shown
        left = tokens.masked_fill(hidden, self.mask_id)
        table = self.base.table.detach()
        with torch.set_grad_enabled(self.error == "gradient"):
            if self.error == "gradient":
                # In a frozen network there is a gradient only if its input requires one.
                nothing = table.new_zeros(*tokens.shape, table.shape[1], requires_grad=True)
                added = nothing if added is None else added.detach() + nothing
            read, stream, heard = self._pass(left, rows, deltas, added, self.extra)
            logits = linear(read, table)
            if self.error == "gradient":
                nats = nn.functional.cross_entropy(
                    logits.flatten(0, 1), tokens.flatten(), reduction="none"
                )
                slopes = torch.autograd.grad((nats * hidden.flatten()).sum(), stream[1:])
                error = tuple(-slope for slope in slopes)
                return Looked(_constant(stream), _constant(heard), error)
            wanted = nn.functional.embedding(tokens, table)
            off = wanted - linear(logits.softmax(-1), table.t())
        return Looked(stream, heard, (off * hidden[:, :, None],))

    def _pass(
        self,
        tokens: Tensor,
        rows: Rows,
        deltas: Deltas | None,
        added: Tensor | None,
        extra: Iterable[nn.Module],
        at: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """One pass of the feedforward network and the extra blocks.

        Returns: the hidden states that the head reads, (B, T, C) or (N, C); the residual stream;
            the inputs of Wo of each block.
        """
        heard: list[Tensor] = []
        read, stream = self.base(tokens, rows, deltas, added, extra, heard, at)
        return read, stream, tuple(heard)

    def cross_entropy(self, read: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum of cross-entropies, and each of them in nats, (N,), without gradient.

        Args:
            read: result of `forward` at the positions with a loss, (N, C); N may be 0.
            targets: int64 (N,).
            weight: (N,).
        """
        return cross_entropy(read, self.base.table, targets, weight, self.head_chunk, self.used)

    def logits(self, read: Tensor) -> Tensor:
        """Logits (…, V) of a result of `forward`, (…, C)."""
        return linear(read, self.base.table)

    def inherited(self, *, condition: bool) -> nn.Module:
        """The modules whose weights are taken from a parent without deltas.

        Args:
            condition: whether the parent has self-conditioning.
        """
        return _Inherited(self.base, self.condition if condition else None)

    def _added(self, previous: Tensor | None) -> Tensor | None:
        if self.condition is None or previous is None:
            return None
        return linear(previous, self.condition)


def _constant(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.detach() for tensor in tensors)


def hide(tokens: Tensor, number: int) -> Tensor:
    """The positions (B, T) that round `number` hides: a random half, the same in all rows."""
    place = torch.arange(tokens.shape[1], device=tokens.device) + 1 + 8191 * number
    # A multiplicative hash (Knuth), as random numbers would have to be copied to the device.
    return ((place * 2654435761 >> 15) % 2 == 1).expand(tokens.shape)


def _identity(size: Size) -> Block:
    """A block that starts as the identity, as its output weights are 0."""
    block = Block(size)
    nn.init.zeros_(block.out)
    nn.init.zeros_(block.down)
    return block


class _Inherited(nn.Module):
    """Modules shared with a parent, under their names in a `LanguageModel`."""

    def __init__(self, base: Feedforward, condition: nn.Parameter | None) -> None:
        super().__init__()
        self.base, self.condition = base, condition


def build_model(config: Config, spec: DataSpec, mask_id: int = -1) -> LanguageModel:
    """The model that `config` describes; parameters that are not trained are frozen.

    Args:
        config: the run's config.
        spec: its data; `num_classes` is the number V of rows of the token table.
        mask_id: id of [MASK], for feedback that reads errors.
    """
    model = config.model
    size = Size(spec.num_classes, model.n_layer, model.n_head, model.n_embd, model.dropout)
    base = Feedforward(size)
    writer, generator = None, None
    if config.deltas != "none":
        assert config.lora_rank is not None
        kinds = matrices(size, mlp="mlp" in config.feedback_target)
        if config.dynamic:
            generator = build_generator(config, size, sum(kind.count for kind in kinds))
        writer = Writer(
            kinds,
            size,
            config.lora_rank,
            static="static" in config.deltas,
            dynamic=config.dynamic,
            gain="gain" in config.feedback_target,
            raw=config.mode == "compat",
            together=config.generator == "assoc",
        )
    train_only(base, config.adapted)
    return LanguageModel(
        base,
        writer,
        generator,
        self_condition=config.self_condition,
        extra=config.extra_layers,
        rounds=config.rounds,
        error=config.feedback_error,
        mask_id=mask_id,
        head_chunk=model.head_chunk,
    )
