"""Scores a model, its base, and the model with shuffled deltas on the same fixed masks."""

# B rows of a batch, T positions, M chunks of a split, K noise levels

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from weft.data.source import Batch, Source
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel
from weft.families.feedback.nets.rows import Rows
from weft.families.feedback.noise.process import fixed_noise, learnt
from weft.families.feedback.objective import entropy, ratio
from weft.families.feedback.score.lineage import origin_of
from weft.families.feedback.score.tally import Tally, guess
from weft.families.feedback.sets.tokenizer import Vocabulary

Metrics = dict[str, float]


@dataclass
class Scores:
    """Results of the forms of a model on a split.

    Attributes:
        tallies: of the form `adapted`, and of `base` and `shuffled` if they exist.
        counts: number of text tokens in each chunk, float64 (M,).
        partners: whether `shuffled` read a chunk with the deltas of another one, bool (M,).
        positions: number of positions in each batch, with padding.
        seen: number of occurrences of each id in the text, float64 (V,).
    """

    tallies: dict[str, Tally]
    counts: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    partners: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    positions: list[int] = field(default_factory=list)
    seen: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    def metrics(self) -> Metrics:
        """Metrics of the split, in nats per token unless the name says otherwise.

        Returns:
            loss, loss_se: the bound per token of text, and its standard error over chunks.
            loss_padded: the sum of losses, with those of padding if padding gets noise, over the
                number of all positions of the padded batches.
            loss_original: the mean of `loss_padded` of each batch, as the original reports it; a
                short last batch has the same weight as the others.
            unigram: entropy of the text's own token frequencies, the best loss of a prediction
                without context.
            accuracy_level_<k>, nats_level_<k>: share of masked tokens predicted correctly, and nats
                per masked token, at noise level k of K, counted from 0.
            base_loss, base_loss_padded, base_loss_original: those of the model before adaptation.
            gain, gain_se: base_loss - loss, and the standard error of the paired difference.
            rel_change: (loss - base_loss) / base_loss.
            shuffled_loss: the loss with the deltas of another chunk.
            input_gain, input_gain_se: shuffled_loss - loss, and the standard error of the paired
                difference: the gain that depends on the input. Missing if all batches have one
                chunk.
        """
        adapted = self.tallies["adapted"]
        loss, error = ratio(adapted.sums, self.counts)
        metrics = {"loss": loss, "loss_se": error, **self._over_places("", adapted)}
        metrics["unigram"] = entropy(self.seen)
        nats, hits = adapted.by_level()
        metrics |= {f"accuracy_level_{level}": value for level, value in enumerate(hits)}
        metrics |= {f"nats_level_{level}": value for level, value in enumerate(nats)}
        if "base" in self.tallies:
            base = self.tallies["base"].sums
            metrics["base_loss"], _ = ratio(base, self.counts)
            metrics |= self._over_places("base_", self.tallies["base"])
            metrics["gain"], metrics["gain_se"] = ratio(base - adapted.sums, self.counts)
            metrics["rel_change"] = -metrics["gain"] / metrics["base_loss"]
        if "shuffled" in self.tallies and bool(self.partners.any()):
            shuffled, kept = self.tallies["shuffled"].sums, self.partners
            metrics["shuffled_loss"], _ = ratio(shuffled, self.counts)
            difference = (shuffled - adapted.sums)[kept]
            gain, error = ratio(difference, self.counts[kept])
            metrics["input_gain"], metrics["input_gain_se"] = gain, error
        return metrics

    def _over_places(self, prefix: str, tally: Tally) -> Metrics:
        """Means over all positions, with padding: of all batches together, and of each."""
        nats, places = tally.batches, torch.tensor(self.positions, dtype=torch.float64)
        return {
            f"{prefix}loss_padded": float(nats.sum() / places.sum()),
            f"{prefix}loss_original": float((nats / places).mean()),
        }


def score(model: LanguageModel, source: Source, config: Config, vocabulary: Vocabulary) -> Scores:
    """Scores every form of `model` on the first `eval.chunks` chunks of `source`.

    All forms read the same noisy tokens, which depend only on the number of a chunk.

    Args:
        model: in eval mode.
        source: gives single chunks in order, padded to the longest of a batch.
        config: of the run.
        vocabulary: gives the ids of [MASK] and [PAD].
    """
    levels = config.eval.levels
    forms = ["adapted"]
    forms += ["base"] * (config.stage != "feedforward") + ["shuffled"] * config.dynamic
    scores = Scores({form: Tally(levels) for form in forms})
    counts, partners = [], []
    seen = torch.zeros(vocabulary.size, dtype=torch.float64, device=model.base.table.device)
    first = 0
    for batch in chunks(source, config.eval.batch_size, config.eval.chunks):
        tokens = batch["tokens"].to(model.base.table.device)
        batch = {name: tensor.to(tokens.device) for name, tensor in batch.items()}
        pad = None if config.data.pad_is_text else vocabulary.pad_id
        real, text = learnt(batch, vocabulary.pad_id), learnt(batch, pad)
        for level, noised in enumerate(
            fixed_noise(
                tokens,
                text,
                first,
                vocabulary.mask_id,
                eps=config.diffusion.eps,
                levels=levels,
            )
        ):
            rows = Rows.of(noised.tokens, pad)
            targets = noised.clean[noised.masked]
            for form, read, table in readings(model, noised.tokens, rows, forms):
                nats, hits = guess(read[noised.masked], table[: model.used], targets)
                scores.tallies[form].add(level, noised, real, nats, hits)
        counts.append(real.sum(1))
        seen += torch.bincount(tokens[real], minlength=len(seen))
        partners.append(torch.full((len(tokens),), len(tokens) > 1))
        scores.positions.append(tokens.numel())
        first += len(tokens)
    scores.seen = seen.cpu()
    scores.counts = torch.cat(counts).cpu().double()
    scores.partners = torch.cat(partners)
    return scores


def readings(
    model: LanguageModel, tokens: Tensor, rows: Rows, forms: list[str]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Hidden states of each form of the model for noisy tokens.

    A model with self-conditioning is given its own first guess; its base is not.

    Args:
        model: in eval mode.
        tokens: int64 (B, T).
        rows: the positions of text.
        forms: some of `adapted`, `base`, `shuffled`.
    Yields: the form, the hidden states that its head reads, (B, T, C), and the head, (V, C).
    """
    table = model.base.table
    previous = model(tokens, rows) if model.condition is not None else None
    deltas = model.deltas(tokens, rows, previous=previous)
    yield "adapted", model(tokens, rows, previous=previous, deltas=deltas), table
    if "base" in forms:
        origin = origin_of(model)
        yield "base", origin(tokens, rows)[0], origin.table
    if "shuffled" in forms:
        assert deltas is not None
        read = model(tokens, rows, previous=previous, deltas=deltas.rolled())
        yield "shuffled", read, table


def chunks(source: Source, size: int, limit: int | None) -> Iterator[Batch]:
    """The first `limit` chunks of `source`, `size` at a time; all of them without a limit."""
    left = len(source) if limit is None else limit
    for batch in source.batches(size):
        yield {name: tensor[:left] for name, tensor in batch.items()}
        left -= len(batch["tokens"])
        if left <= 0:
            return
