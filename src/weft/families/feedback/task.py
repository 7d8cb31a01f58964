"""Trains a masked-diffusion language model, or its adaptation, and scores it on fixed masks."""

# B rows, T positions of a row, C width, L blocks

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weft.data.random import stream
from weft.data.source import Batch, DataSpec, Source, Splits
from weft.errors import UsageError
from weft.families.feedback.config import Config
from weft.families.feedback.data import data_spec, load_splits, load_tokenizer
from weft.families.feedback.figures import report
from weft.families.feedback.figures.gallery import delta_sizes, stories
from weft.families.feedback.model import LanguageModel, build_model
from weft.families.feedback.nets.attention import Block
from weft.families.feedback.nets.rows import Rows
from weft.families.feedback.noise.process import (
    Noised,
    cut,
    learnt,
    masked_noise,
    positions,
    random_length,
)
from weft.families.feedback.objective import bound
from weft.families.feedback.score.evaluation import score
from weft.families.feedback.score.generation import exact_match
from weft.families.feedback.score.lineage import inherit, keep_origin
from weft.families.feedback.score.writing import go_on
from weft.families.feedback.sets.tokenizer import Tokenizer
from weft.task.context import Context
from weft.task.inference import Inference
from weft.task.metric import Metric, led_by
from weft.task.parent import Parent
from weft.task.task import Task
from weft.task.writing import Writing, Written

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN_CHUNKS = 64
_STORIES = 3
METRICS = (
    Metric("loss", "lower", "nats", "Bound on the negative log-likelihood of a token of text."),
    Metric("loss_padded", "lower", "nats", "The bound over all places, padding too."),
    Metric(
        "loss_original",
        "lower",
        "nats",
        "The bound over all places, averaged over batches, as published.",
    ),
    Metric("exact_match", "higher", about="Share of problems completed with the right number."),
    Metric("unigram", "lower", "nats", "Entropy of the held-out text's own token frequencies."),
    Metric("base_loss", "lower", "nats", "The bound before adaptation."),
    Metric("base_loss_padded", "lower", "nats", "The bound over all places before adaptation."),
    Metric(
        "base_loss_original",
        "lower",
        "nats",
        "The bound before adaptation, averaged over batches, as published.",
    ),
    Metric(
        "gain", "higher", "nats", "What adaptation takes off the bound: `base_loss` less `loss`."
    ),
    Metric("rel_change", "lower", about="Change of the bound by adaptation, relative to before."),
    Metric("shuffled_loss", "lower", "nats", "The bound with another chunk's deltas."),
    Metric("input_gain", "higher", "nats", "What another chunk's deltas add to the bound."),
    Metric(
        "accuracy_level_*", "higher", about="Share of masked tokens guessed right at a noise level."
    ),
    Metric("nats_level_*", "lower", "nats", "Cross-entropy of a masked token at a noise level."),
    Metric("exact_match_se", "lower", about="Standard error of exact_match."),
    Metric("*_se", "lower", "nats", "Standard error of the metric it is named for."),
)


class FeedbackTask(Task[Config, LanguageModel, Source]):
    """Masked diffusion on text: a base, its fine-tuning, a LoRA, or a network that writes one."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The bound, by which checkpoints are selected, and other metrics.

        If padding counts as text, the original's bound selects.
        """
        first = "loss_original" if self.config.data.pad_is_text else "loss"
        return led_by(first, METRICS)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Text to ids and back."""
        return load_tokenizer(self.config.data)

    @property
    def _pad(self) -> int | None:
        """The id of padding; None if padding counts as text."""
        return None if self.config.data.pad_is_text else self.tokenizer.vocabulary.pad_id

    def spec(self) -> DataSpec:
        """Shapes and sizes."""
        return data_spec(self.config)

    def data(self) -> Splits[Source]:
        """Rows of tokens to train on, and single chunks to score on."""
        return load_splits(self.config)

    def model(self, spec: DataSpec) -> LanguageModel:
        """The language model of the run's stage, with a copy of its base if training changes it."""
        model = build_model(self.config, spec, self.tokenizer.vocabulary.mask_id)
        keep_origin(model, self.config)
        if self.config.masks_unused_ids:
            model.used = self.tokenizer.vocabulary.end_id + 1
        return model

    def adopt(self, model: LanguageModel, parents: Mapping[str, Parent]) -> None:
        """Takes the feedforward weights from the base.

        Raises:
            ConfigError: if the base has another network or other tokens.
        """
        inherit(model, self.config, parents["base"])

    def draw(self, batch: Batch, ctx: Context) -> Batch:
        """The batch with new noise, and with shortened chunks now and then.

        Args:
            batch: `tokens` (B, T); for packed rows `document` and `position` (B, T); and `given`
                (B, T) if a part of the text is context only.
            ctx: the state of training.
        Returns: the batch with `noisy` (the noisy tokens), `masked`, `weight` (1 / p) and `text`,
            each (B, T), and `count` (B,), the number of text tokens in the whole batch.
        """
        diffusion, vocabulary = self.config.diffusion, self.tokenizer.vocabulary
        length = random_length(
            batch["tokens"].shape[1],
            diffusion.random_length,
            ctx.generator("random length", device="cpu"),
        )
        if length is not None:
            batch = cut(batch, length, vocabulary.pad_id)
        tokens = batch["tokens"]
        text = learnt(batch, self._pad)
        noised = masked_noise(
            batch,
            text,
            vocabulary.mask_id,
            ctx.generator("noise"),
            eps=diffusion.eps,
            stratified=diffusion.stratified,
        )
        return {
            **batch,
            "noisy": noised.tokens,
            "masked": noised.masked,
            "weight": noised.weight,
            "text": text,
            "count": text.sum().clamp(min=1).expand(len(tokens)),
        }

    def loss(
        self, model: LanguageModel, batch: Batch, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The bound on the negative log-likelihood in nats per token; if logged, sizes of deltas.

        Args:
            model: made by `model`.
            batch: a result of `draw`, or a part of it.
            ctx: the state of training.
        """
        noised = Noised(
            batch["noisy"], batch["tokens"], batch["masked"], batch["weight"], batch["text"]
        )
        rows = Rows.of(noised.tokens, self._pad, batch.get("document"), batch.get("position"))
        previous = self._first_guess(model, noised, rows, ctx)
        # On a GPU steps may be compiled or recorded, for which shapes must stay as they are.
        at = None if noised.masked.is_cuda else positions(noised.masked)
        read = model(noised.tokens, rows, previous=previous, at=at)
        # Parts of a batch have different numbers of tokens; the mean is over the whole batch.
        loss, _ = bound(model.cross_entropy, read, noised, batch["count"][0] / ctx.parts)
        if not ctx.log or model.writer is None:
            return loss, {}
        with torch.no_grad():
            deltas = model.deltas(noised.tokens, rows, previous=previous)
            assert deltas is not None
            sizes = {name: rms.mean() for name, rms in deltas.norms().items()}
        return loss, {f"delta_rms/{name}": size for name, size in sizes.items()}

    def _first_guess(
        self, model: LanguageModel, noised: Noised, rows: Rows, ctx: Context
    ) -> Tensor | None:
        """For a model with self-conditioning: its own guess with probability 1/2, else zeros."""
        if model.condition is None:
            return None
        if float(torch.rand((), generator=stream(ctx.seed, ctx.step, "guess"))) < 0.5:
            with torch.no_grad():
                guess: Tensor = model(noised.tokens, rows)
            return guess
        # Not None, as all processes must have gradients for the same parameters.
        return torch.zeros(
            *noised.tokens.shape, model.base.size.n_embd, device=noised.tokens.device
        )

    def units(self, model: LanguageModel) -> dict[nn.Module, tuple[str, ...]]:
        """The transformer blocks; none if errors are read as a gradient.

        Such a gradient needs a backward pass through the blocks during the forward pass.
        """
        if model.error == "gradient":
            return {}
        return {part: ("read",) for part in model.modules() if isinstance(part, Block)}

    def inference(self, model: LanguageModel, spec: DataSpec) -> Inference:
        """Logits (N, T, V) of noisy tokens (N, T), each row a text, deltas included; -inf of ids
        that no text has, where the model was trained without them.

        Raises:
            UsageError: if deltas depend on a gradient.
        """
        if model.error == "gradient":
            raise UsageError(
                "this model computes a gradient in its forward pass, which cannot be exported",
                where="feedback_error=gradient",
                expected="a model trained with feedback_error=none or prediction",
            )
        pad = self._pad

        def logits(net: LanguageModel, tokens: Tensor) -> Tensor:
            rows = Rows(None if pad is None else tokens != pad)
            found = net.logits(net(tokens, rows))
            if net.used is None:
                return found
            number = torch.arange(found.shape[-1], device=found.device)
            return found.masked_fill(number >= net.used, -torch.inf)

        tokens = torch.zeros(2, *spec.fields["tokens"].shape, dtype=torch.int64)
        return Inference(logits, {"tokens": tokens}, ("logits",))

    def evaluate(self, model: LanguageModel, source: Source, ctx: Context) -> dict[str, float]:
        """Metrics of `Scores.metrics`, and with `eval.exact_match` those of `exact_match`."""
        metrics = score(model, source, self.config, self.tokenizer.vocabulary).metrics()
        if self.config.eval.exact_match:
            generator = ctx.generator("exact match")
            metrics |= exact_match(model, self.config, self.tokenizer, source, generator)
        return metrics

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """The bounds of the model and of its base over training."""
        yield from report.bound_over_training(history)

    def tell(self, model: LanguageModel, source: Source, ctx: Context) -> Iterator[str]:
        """Completions of the first held-out chunks by model and base, for the log."""
        count, generator = self.config.eval.texts, ctx.generator("text")
        if count:
            for story in stories(model, self.config, self.tokenizer, source, generator, count):
                yield from report.lines(story)

    def write(self, model: LanguageModel, asked: Writing, ctx: Context) -> Iterator[Written]:
        """Continuations of prompts by model and base."""
        yield from go_on(model, self.config, self.tokenizer, asked, ctx.generator("write"))

    def sample(
        self, model: LanguageModel, data: Splits[Source], ctx: Context
    ) -> Iterator[tuple[str, str, Figure | str]]:
        """Texts that model and base complete, scores by noise level, and sizes of deltas."""
        source = data.shown
        told = stories(
            model, self.config, self.tokenizer, source, ctx.generator("sample"), _STORIES
        )
        some = self.config.model_copy(
            update={"eval": self.config.eval.model_copy(update={"chunks": _SHOWN_CHUNKS})}
        )
        scores = score(model, source, some, self.tokenizer.vocabulary)
        sizes = delta_sizes(model, self.config, self.tokenizer.vocabulary, source)
        yield report.texts(told)
        levels = {form: tally.by_level() for form, tally in scores.tallies.items()}
        yield report.by_level(
            {form: nats for form, (nats, _) in levels.items()},
            {form: hits for form, (_, hits) in levels.items()},
        )
        if sizes is not None:
            yield report.delta_sizes(*sizes)
