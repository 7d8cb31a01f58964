"""Options of a feedback run: the stage, the source of the deltas, and the shared sections."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from weft.config.base import FamilyConfig
from weft.config.rule import Rule
from weft.config.runref import RunRef
from weft.config.section import KindConfig
from weft.config.sections import AdamW, EngineConfig, NormClip
from weft.families.feedback.options.needs import NEEDS
from weft.families.feedback.options.sections import (
    NAMES,
    Batching,
    Diffusion,
    FeedbackData,
    FeedbackEval,
    ModelConfig,
    WarmupCosine,
)

Stage = Literal["feedforward", "fine_tune", "static", "feedback"]
DeltaParts = Literal["none", "static", "dynamic", "static+dynamic"]
WeightPositions = Literal["none", "after_text", "fixed"]
_DELTAS = ("stage", "delta_mode", "mode")
"""Keys that the parts of a delta depend on."""
_WEIGHT_TOKENS = ("weight_positions", "generator", "latents", "lora_rank", "feedback_target")
"""Further keys on which the positions of weight tokens depend."""


class Config(FamilyConfig):
    """A masked-diffusion language model, and its adaptation to other text."""

    needs = NEEDS

    family: Literal["feedback"] = Field("feedback", description="Which family trains.")
    batch_size: int = Field(
        64, ge=1, description="Chunks in a training batch; rows of `data.block_size` when packed."
    )

    stage: Stage = Field(
        "feedforward",
        description="feedforward trains the language model; the others adapt it: fine_tune by its "
        "own weights, static by a LoRA, feedback by a LoRA that a second network writes.",
    )
    base: RunRef | None = Field(
        None, description="Run whose feedforward weights this one starts from; adapting needs one."
    )
    scope: Literal["none", "attn", "all"] = Field(
        "attn",
        description="Feedforward weights that fine_tune or `joint` train: q, k, v, o, or all; "
        "none is for `extra_layers`; without effect elsewhere.",
    )
    extra_layers: int = Field(
        0,
        ge=0,
        description="Blocks added behind those of the base; they start as the identity, and train.",
    )
    joint: bool = Field(
        False, description="Whether the feedforward weights in `scope` train beside the deltas."
    )

    lora_rank: int | None = Field(
        None,
        ge=1,
        description="Rank r of the deltas; static and feedback need one.",
    )
    mode: Literal["stable", "compat"] = Field(
        "stable",
        description="stable: deltas start at 0, are normalised, scaled by a learned gain over "
        "sqrt(r), and have a static part; compat: feedback as the original's, to the bit.",
    )
    recurrent: bool = Field(False, description="Whether all feedback blocks share their weights.")
    feedback_reverse: bool = Field(
        True,
        description="Whether feedback writes the last feedforward block first; generator outer "
        "writes all at once.",
    )
    feedback_source: Literal["tokens", "hidden", "both"] = Field(
        "tokens",
        description="What feedback reads: the noisy tokens, the feedforward model's hidden states "
        "of a first pass, or both.",
    )
    feedback_target: Literal["attn", "attn+mlp", "attn+mlp+gain"] = Field(
        "attn",
        description="What deltas change: q, k, v, o; also the MLP; also a gain before the head.",
    )
    delta_mode: Literal["auto", "dynamic", "static", "static+dynamic"] = Field(
        "auto",
        description="Parts of a delta: written from the input, the same for all inputs, or their "
        "sum; auto: static+dynamic, or dynamic in mode compat.",
    )
    feedback_error: Literal["none", "prediction", "gradient"] = Field(
        "none",
        description="What feedback also reads, of a pass from which half of the visible tokens are "
        "hidden: how far its prediction of them is off, or the gradient of that loss.",
    )
    rounds: int = Field(
        1,
        ge=1,
        le=16,
        description="How often deltas are written from hidden states, each time from a pass under "
        "those before.",
    )
    generator: Literal["tokens", "latent", "outer", "assoc"] = Field(
        "tokens",
        description="How rows of the factors come about: a weight token for each; projections of "
        "`latents` queries; outer products of projected hidden states, summed over positions; "
        "assoc: of hidden states with what stands beside them, an associative memory.",
    )
    latents: int = Field(
        16, ge=1, le=64, description="Queries a block whose outputs generator latent projects."
    )
    share_embedding: bool | Literal["auto"] = Field(
        "auto",
        description="Whether feedback reads tokens (if it does) by the feedforward embedding; "
        "auto: yes, but not in mode compat.",
    )
    weight_positions: Literal["auto", "none", "after_text", "fixed"] = Field(
        "auto",
        description="Rotary positions of weight tokens: none; T.., which depend on padding; "
        "`data.block_size`..; auto: none, or after_text in mode compat.",
    )
    self_condition: bool = Field(
        False,
        description="Whether the last guess's hidden states enter the embedding, through a linear "
        "map that starts at 0.",
    )

    data: FeedbackData = Field(FeedbackData(), description="Text.")
    model: ModelConfig = Field(ModelConfig(), description="Network.")
    diffusion: Diffusion = Field(Diffusion(), description="Noise and generation.")
    optim: KindConfig = Field(AdamW(lr=3e-4, weight_decay=0.01), description="Optimiser.")
    schedule: KindConfig = Field(WarmupCosine(), description="Learning rate over time.")
    clip: KindConfig = Field(NormClip(max_norm=1.0), description="Bound on gradients.")
    eval: FeedbackEval = Field(FeedbackEval(), description="Evaluation.")
    engine: EngineConfig = Field(EngineConfig(nonfinite="skip"), description="Arithmetic.")

    @property
    def deltas(self) -> DeltaParts:
        """The parts that deltas have; `none` if only the model's own weights learn."""
        if self.stage == "static":
            return "static"
        if self.stage != "feedback":
            return "none"
        if self.delta_mode != "auto":
            return self.delta_mode
        return "dynamic" if self.mode == "compat" else "static+dynamic"

    @property
    def dynamic(self) -> bool:
        """Whether deltas depend on the input, so that there is a feedback network."""
        return "dynamic" in self.deltas

    @property
    def batching(self) -> Batching:
        """How chunks are arranged in rows: `data.batching`, with `auto` resolved."""
        if self.data.batching != "auto":
            return self.data.batching
        return "buckets" if self.dynamic else "packed"

    @property
    def masks_unused_ids(self) -> bool:
        """Whether ids that occur in no text are left out of the softmax."""
        if self.model.unused_ids != "auto":
            return self.model.unused_ids == "masked"
        return self.mode != "compat" and not self.data.pad_is_text

    @property
    def own_embedding(self) -> bool:
        """Whether the feedback network has a token embedding of its own."""
        if self.share_embedding != "auto":
            return not self.share_embedding
        return self.mode == "compat"

    @property
    def rotary_weight_tokens(self) -> WeightPositions:
        """Rotary positions of weight tokens: `weight_positions`, with `auto` resolved."""
        if self.weight_positions != "auto":
            return self.weight_positions
        return "after_text" if self.mode == "compat" else "none"

    @property
    def num_positions(self) -> int:
        """Number of rotary positions that the longest input needs, with those of weight tokens."""
        if not self.dynamic or self.rotary_weight_tokens == "none":
            return self.data.block_size
        matrices = 6 if "mlp" in self.feedback_target else 4
        rows = 2 * matrices * (self.lora_rank or 0)
        count = {"tokens": rows, "latent": self.latents}.get(self.generator, 0)
        return self.data.block_size + count

    @property
    def adapted(self) -> Literal["none", "attn", "all"]:
        """The feedforward weights that train."""
        if self.stage == "feedforward":
            return "all"
        return self.scope if self.stage == "fine_tune" or self.joint else "none"

    def rules(self) -> Iterator[Rule]:
        """Combinations of options that are refused."""
        yield from self._rules_of_stages()
        yield from self._rules_of_deltas()
        yield from self._rules_of_compat()
        yield from self._rules_of_sizes()
        yield from self._rules_of_text()
        yield from self._rules_of_tokens()

    def _rules_of_stages(self) -> Iterator[Rule]:
        yield Rule(
            ("stage", "base"),
            self.stage != "feedforward" and self.base is None,
            f"`stage` {self.stage} adapts an earlier run, and there is none",
            "name it as `base`: a run's directory, or feedback/NAME",
        )
        yield Rule(
            ("stage", "lora_rank"),
            self.stage in ("static", "feedback") and self.lora_rank is None,
            f"`stage` {self.stage} needs the rank of its deltas",
            "set `lora_rank`, such as 4",
        )
        yield Rule(
            ("joint", *_DELTAS),
            self.joint and self.deltas == "none",
            "`joint` trains feedforward weights beside deltas, and there are none",
            "set `stage` to static or feedback",
        )

    def _rules_of_deltas(self) -> Iterator[Rule]:
        yield Rule(
            ("data.batching", *_DELTAS),
            self.dynamic and self.batching == "packed",
            "`data.batching` packed puts several documents into a row, but a delta belongs to one",
            "set `data.batching` to buckets or padded",
        )
        yield Rule(
            ("generator", "feedback_source", *_DELTAS),
            self.dynamic
            and self.generator in ("outer", "assoc")
            and self.feedback_source == "tokens",
            f"`generator` {self.generator} multiplies hidden states, which are not read",
            "set `feedback_source` to hidden or both",
        )
        yield Rule(
            ("rounds", "feedback_error", "feedback_source", *_DELTAS),
            (self.rounds > 1 or self.feedback_error != "none")
            and not (self.dynamic and self.feedback_source != "tokens"),
            "`rounds` and `feedback_error` have an effect only if feedback reads hidden states",
            "set `stage` to feedback and `feedback_source` to hidden or both",
        )
        yield Rule(
            ("feedback_error", "generator"),
            self.feedback_error != "none" and self.generator == "outer",
            "`generator` outer reads no errors",
            "set `generator` to assoc, latent or tokens",
        )
        yield Rule(
            ("scope", "extra_layers", "stage", "joint"),
            self.scope == "none"
            and not self.extra_layers
            and (self.stage == "fine_tune" or self.joint),
            "`scope` none leaves only `extra_layers` to train, and there are none",
            "set `extra_layers` to 1, or `scope` to attn or all",
        )

    def _rules_of_compat(self) -> Iterator[Rule]:
        for key, known in (
            ("feedback_source", "tokens"),
            ("feedback_target", "attn"),
            ("delta_mode", "dynamic"),
            ("generator", "tokens"),
            ("share_embedding", False),
            ("weight_positions", "after_text"),
            ("self_condition", False),
        ):
            value = getattr(self, key)
            given, only = str(value).lower(), str(known).lower()
            yield Rule(
                ("mode", key),
                self.mode == "compat" and value not in (known, "auto"),
                f"`mode` compat has no `{key}` {given}: the original knows {only} alone",
                f"set `{key}` to {only}, or `mode` to stable",
            )

    def _rules_of_sizes(self) -> Iterator[Rule]:
        width, pairs = self.model.n_embd, 2 * self.model.n_head
        yield Rule(
            ("model.n_embd", "model.n_head"),
            width % pairs > 0,
            f"`model.n_embd` {width} is no multiple of 2 x `model.n_head` = {pairs}: rotary "
            "embedding turns pairs",
            f"set `model.n_embd` to {math.ceil(width / pairs) * pairs}, say",
        )
        given, needed = self.model.max_seq_length, self.num_positions
        yield Rule(
            ("model.max_seq_length", "data.block_size", *_DELTAS, *_WEIGHT_TOKENS),
            given < needed,
            f"`model.max_seq_length` {given} is below {needed}: `data.block_size`, and the weight "
            "tokens of a block where they have positions",
            f"set `model.max_seq_length` to {needed}, or shorten `data.block_size`",
        )

    def _rules_of_text(self) -> Iterator[Rule]:
        data = self.data
        own = {"form": data.form != "auto", "field": data.field, "val_file": data.val_file}
        yield Rule(
            ("data.pad_is_text", "data.batching", *_DELTAS),
            data.pad_is_text and self.batching != "padded",
            f"`data.pad_is_text` needs padding, but rows are {self.batching}",
            "set `data.batching` to padded",
        )
        yield Rule(
            ("model.unused_ids", "data.pad_is_text"),
            data.pad_is_text and self.masks_unused_ids,
            "`model.unused_ids` masked leaves [PAD] out, which `data.pad_is_text` has learnt",
            "set `model.unused_ids` to published",
        )
        yield Rule(
            ("data.dataset", *(f"data.{key}" for key in own)),
            data.dataset in NAMES and any(own.values()),
            f"`data.dataset` {data.dataset} has a form and held-out text of its own",
            f"leave out {', '.join(f'`data.{key}`' for key, given in own.items() if given)}",
        )
        yield Rule(
            ("data.form", "data.field"),
            data.field is not None and data.form not in ("auto", "jsonl"),
            f"`data.field` names a text of JSON objects, but `data.form` is {data.form}",
            "set `data.form` to jsonl",
        )
        yield Rule(
            ("eval.exact_match", "data.dataset"),
            self.eval.exact_match > 0 and data.dataset != "gsm8k",
            "`eval.exact_match` reads answers of gsm8k",
            "set it to 0 for other data sets",
        )

    def _rules_of_tokens(self) -> Iterator[Rule]:
        data = self.data
        yield Rule(
            ("data.restrict_vocab", "data.tokenizer"),
            data.restrict_vocab and data.tokenizer in ("bytes", "json"),
            f"`data.restrict_vocab` leaves nothing out of `data.tokenizer` {data.tokenizer}",
            "set `data.tokenizer` to bpe or gpt2",
        )
        yield Rule(
            ("data.tokenizer", "data.tokenizer_file"),
            data.tokenizer == "json" and data.tokenizer_file is None,
            "`data.tokenizer` json needs a file",
            "name it as `data.tokenizer_file`, such as tokenizer.json",
        )
        yield Rule(
            ("data.tokenizer_corpora", "data.tokenizer", "data.restrict_vocab"),
            bool(data.tokenizer_corpora) and data.tokenizer != "bpe" and not data.restrict_vocab,
            "`data.tokenizer_corpora` matter to `data.tokenizer` bpe and to `data.restrict_vocab` "
            "alone",
            "leave them out, or set one of these",
        )
