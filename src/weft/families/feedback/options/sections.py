"""Sections of a feedback run's options: text, network, noise, evaluation, learning rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from weft.config.cadence import Cadence
from weft.config.paths import MayBePath
from weft.config.section import KindConfig, Section
from weft.config.sections import DataConfig, EvalConfig

Tokenizer = Literal["bytes", "bpe", "gpt2", "json"]
Batching = Literal["packed", "buckets", "padded"]
RULES = tuple(
    f"{sort}-{kind}"
    for sort in ("rules", "known")
    for kind in ("dictionary", "permutation", "substitution")
)
"""Generated documents: each with a hidden rule of its own, or all with one."""
NAMES = ("text", "gsm8k", "wikitext", *RULES)
"""Data sets that weft knows; any other is the path of a file."""
TENTH = 0.1
"""Share held out of text without a published split, unless `held_out` says otherwise."""


def _is_file(dataset: str) -> bool:
    return dataset not in NAMES


class FeedbackData(DataConfig):
    """Which text is read, how it becomes tokens, and how tokens become batches."""

    dataset: Annotated[str, MayBePath(_is_file)] = Field(
        "text",
        min_length=1,
        description="text (ships with weft), gsm8k, wikitext, the path of a text file in UTF-8, or "
        "generated: rules-dictionary, rules-permutation, rules-substitution (a hidden rule for "
        "each document), known-dictionary, … (one for all).",
    )
    held_out: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the training documents held out to validate on; what was published "
        "as held out is then the test set. Unset: the published validation text (of gsm8k the test "
        "problems, as in the original), or a tenth where there is none.",
    )
    form: Literal["auto", "jsonl", "lines", "paragraphs", "whole"] = Field(
        "auto",
        description="Documents in a file of your own: a JSON object a line; a line each; between "
        "blank lines; whole: one long text, cut at ends of lines; auto: jsonl for .jsonl and "
        ".ndjson, else paragraphs.",
    )
    field: str | None = Field(
        None,
        description="Text of a JSON object that is the document; if unset `text`, or `question` "
        "and `answer`.",
    )
    longest: int = Field(
        4096, ge=1, description="Most characters of a document that `form` whole cuts."
    )
    val_file: Annotated[str, MayBePath()] | None = Field(
        None,
        description="File of the same form to validate on, where `dataset` is a file of your own.",
    )
    mixed_with: tuple[Annotated[str, MayBePath(_is_file)], ...] = Field(
        (),
        description="Data sets whose training documents join those of `dataset`; held-out text is "
        "that of `dataset` alone.",
    )
    mixed_documents: int | None = Field(
        None,
        ge=1,
        description="Number of training documents of each of these, the first ones; all if unset.",
    )
    documents: int | None = Field(
        None,
        ge=1,
        description="Number of training documents of `dataset`, the first ones; all if unset.",
    )
    tokenizer: Tokenizer = Field(
        "bytes",
        description="bytes; bpe, trained here on the training text; gpt2, from its rank file; "
        "json, from a Hugging Face tokenizer.json.",
    )
    tokenizer_file: Annotated[str, MayBePath()] | None = Field(
        None,
        description="The tokenizer.json of json; or the rank file of gpt2 (gpt2.tiktoken), looked "
        "for in the data folders if unset.",
    )
    vocab_size: int = Field(
        4096,
        ge=260,
        description="Ids of bpe, specials included; the table is rounded up to a multiple of 128.",
    )
    restrict_vocab: bool = Field(
        False,
        description="Whether only ids that the training text uses are kept; others are spelt in "
        "bytes. Losses are then not comparable with those over the whole vocabulary.",
    )
    tokenizer_corpora: tuple[Annotated[str, MayBePath(_is_file)], ...] = Field(
        (),
        description="Data sets whose training text defines bpe or the restricted vocabulary; "
        "`dataset` alone if empty. A run and its base need the same.",
    )
    prompt_end: str | None = Field(
        None,
        min_length=1,
        description="Words that end the part of a document that is read, but neither noised nor "
        "learnt nor scored; a document without them is learnt whole. Everything is if unset.",
    )
    block_size: int = Field(
        512, ge=2, description="Most tokens of a chunk, and the length of a packed row."
    )
    batching: Literal["auto", "packed", "buckets", "padded"] = Field(
        "auto",
        description="packed: rows of several documents that do not see each other; buckets: one "
        "chunk a row, rows of like length; padded: one chunk a row, random order; auto: packed, "
        "or buckets where the input writes deltas.",
    )
    bucket_width: int = Field(
        32, ge=1, description="Rows of buckets are padded to a multiple of this many tokens."
    )
    pad_is_text: bool = Field(
        False,
        description="Whether [PAD] is noised, attended and learnt like text, as in the original.",
    )

    @property
    def identity(self) -> str:
        """The options on which token ids depend, apart from the text of named data sets."""
        learnt = self.tokenizer == "bpe"
        words = [self.tokenizer] + [str(self.vocab_size)] * learnt
        if self.tokenizer == "json":
            words.append(Path(self.tokenizer_file or "").name)
        if learnt or self.restrict_vocab:
            corpora = sorted(self.tokenizer_corpora or (self.dataset,))
            words += ["restricted to" if self.restrict_vocab else "learnt from", *corpora]
            if not {"gsm8k", "wikitext"}.issuperset(corpora):
                # Of text without a published split, what is held out is not learnt from.
                words.append(f"but {self.held_out or TENTH:g} of it")
        return " ".join(words)


class ModelConfig(Section):
    """The feedforward network; the feedback network has the same sizes."""

    n_layer: int = Field(8, ge=1, description="Blocks L.")
    n_head: int = Field(8, ge=1, description="Attention heads h of a block.")
    n_embd: int = Field(256, ge=2, description="Width C.")
    dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share dropped of the embedding, of attention and of each sub-block's output.",
    )
    max_seq_length: int = Field(
        4096, ge=2, description="Most positions of a row, those of weight tokens included."
    )
    unused_ids: Literal["auto", "masked", "published"] = Field(
        "auto",
        description="Ids that no text has ([MASK], [PAD], what fills the table up) in the softmax: "
        "masked: none; published: all, as in the original; auto: masked, or published where "
        "padding is text and in mode compat.",
    )
    head_chunk: int | None = Field(
        4096,
        ge=1,
        description="Masked positions whose logits are computed at once; all of a batch if unset.",
    )


class Diffusion(Section):
    """The noise a model learns to undo, and how text is generated by undoing it."""

    eps: float = Field(
        1e-3, gt=0, lt=1, description="Smallest mask probability: p = (1 - eps) t + eps."
    )
    stratified: bool = Field(
        True,
        description="Whether the times t of a batch are spread evenly from one random offset.",
    )
    random_length: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Probability that a batch keeps only the first T' ~ U{1..T} tokens of a chunk.",
    )
    generation_steps: int = Field(10, ge=1, description="Steps S in which a text is unmasked.")
    context: float = Field(
        0.25, ge=0, lt=1, description="Share of a held-out chunk that a generated text starts from."
    )
    temperature: float = Field(
        0.0,
        ge=0,
        description="Temperature of drawn tokens; 0 takes the most likely, as in the original.",
    )
    top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="A token is drawn from the fewest whose probabilities reach this sum; without "
        "effect at temperature 0.",
    )
    remask: Literal["low-confidence", "random"] = Field(
        "low-confidence",
        description="Positions left masked at a step: those whose token is least probable, or any.",
    )
    block: int | None = Field(
        None,
        ge=1,
        description="Tokens that are filled before those to their right are begun; all at once if "
        "unset.",
    )


class FeedbackEval(EvalConfig):
    """What is measured on held-out text, always under the same masks."""

    every: Cadence = Field("1 epoch", description="How often; always after the last step.")
    batch_size: int = Field(64, ge=1, description="Chunks evaluated at once.")
    levels: int = Field(
        8, ge=1, description="Noise levels of each chunk, one in each of as many parts of [0, 1]."
    )
    chunks: int | None = Field(
        None,
        ge=2,
        description="Number of held-out chunks used, the first in file order; all if unset.",
    )
    texts: int = Field(
        1, ge=0, description="Held-out chunks that are completed for the log at each evaluation."
    )
    exact_match: int = Field(
        0,
        ge=0,
        description="Held-out problems of gsm8k whose final number is generated and checked.",
    )


class WarmupCosine(KindConfig):
    """Linear warm-up from 0, then half a cosine from the peak to `min_lr` at the last step."""

    kind: Literal["warmup_cosine"] = "warmup_cosine"
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps spent warming up.")
    min_lr: float = Field(0.1, ge=0, le=1, description="Floor, as a share of the peak.")
