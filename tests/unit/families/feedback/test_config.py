"""Options of feedback: defaults, what cannot work together, the original's names, the schedule."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from weft.config.load import load
from weft.config.presets import preset_names
from weft.families.feedback import FAMILY
from weft.families.feedback.config import Config
from weft.families.feedback.optim.warmup_cosine import WarmupCosineSchedule
from weft.families.feedback.options.sections import FeedbackData, WarmupCosine
from weft.reports.claims import load_claims

ADAPT: dict[str, Any] = {"stage": "feedback", "base": "runs/a", "lora_rank": 4}


class OneFamily:
    """A registry that holds this family alone."""

    def names(self) -> list[str]:
        return [FAMILY.name]

    def find(self, name: str) -> Any:
        return FAMILY


def config(**values: Any) -> Config:
    return Config(**{"steps": 1, **values})


def resolve(*words: str) -> Any:
    return load(words, OneFamily()).config


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"stage": "fine_tune"}, ("fine_tune", "`base`")),
        ({"stage": "static", "base": "runs/a"}, ("`lora_rank`",)),
        ({"stage": "feedback", "base": "runs/a"}, ("`lora_rank`",)),
        ({"joint": True}, ("`joint`", "static or feedback")),
        (ADAPT | {"data": {"batching": "packed"}}, ("packed", "buckets or padded")),
        (ADAPT | {"generator": "outer"}, ("outer", "`feedback_source`")),
        (ADAPT | {"mode": "compat", "feedback_source": "hidden"}, ("compat", "tokens alone")),
        (ADAPT | {"mode": "compat", "feedback_target": "attn+mlp"}, ("compat", "attn alone")),
        (ADAPT | {"mode": "compat", "generator": "latent"}, ("compat", "`generator` latent")),
        (ADAPT | {"mode": "compat", "delta_mode": "static"}, ("compat", "dynamic alone")),
        (ADAPT | {"mode": "compat", "share_embedding": True}, ("compat", "`share_embedding`")),
        (ADAPT | {"mode": "compat", "self_condition": True}, ("compat", "`self_condition`")),
        (ADAPT | {"mode": "compat", "lora_rank": 449}, ("`model.max_seq_length`", "4104")),
        ({"model": {"n_embd": 36, "n_head": 4}}, ("`model.n_embd` 36", "8")),
        ({"data": {"block_size": 5000}}, ("`model.max_seq_length` 4096", "5000")),
        ({"data": {"pad_is_text": True}}, ("`data.pad_is_text`", "padded")),
        ({"data": {"restrict_vocab": True}}, ("`data.restrict_vocab`", "bytes")),
        ({"data": {"tokenizer_corpora": ["gsm8k"]}}, ("`data.tokenizer_corpora`", "bpe")),
        ({"eval": {"exact_match": 4}}, ("`eval.exact_match`", "gsm8k")),
    ],
)
def test_what_cannot_work_together_is_refused_by_name(
    values: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        config(**values)
    for word in words:
        assert word in str(caught.value)


def test_several_mistakes_are_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        config(stage="feedback")
    assert "`base`" in str(caught.value) and "`lora_rank`" in str(caught.value)


def test_compat_resolves_every_auto_to_the_original() -> None:
    compat = config(**ADAPT, mode="compat")
    assert compat.deltas == "dynamic"
    assert compat.own_embedding
    assert compat.rotary_weight_tokens == "after_text"
    assert compat.num_positions == 512 + 8 * 4
    assert config(**ADAPT | {"lora_rank": 448}, mode="compat").num_positions == 4096


def test_stable_resolves_every_auto_to_what_starts_at_zero() -> None:
    stable = config(**ADAPT)
    assert stable.deltas == "static+dynamic"
    assert not stable.own_embedding
    assert stable.rotary_weight_tokens == "none"
    assert stable.num_positions == 512


def test_rows_are_packed_unless_the_input_writes_deltas() -> None:
    assert config().batching == "packed"
    assert config(stage="static", base="runs/a", lora_rank=4).batching == "packed"
    assert config(**ADAPT).batching == "buckets"
    assert config(**ADAPT, data={"batching": "padded"}).batching == "padded"


@pytest.mark.parametrize(
    ("dataset", "tells"), [("text", True), ("notes.txt", True), ("gsm8k", False)]
)
def test_learnt_tokens_depend_on_the_share_held_out_of_text_without_a_published_split(
    dataset: str, tells: bool
) -> None:
    tenth, fifth = (
        FeedbackData(dataset=dataset, tokenizer="bpe", held_out=share) for share in (None, 0.2)
    )
    assert (tenth.identity != fifth.identity) == tells
    # A fine distinction where nothing is learnt from the text.
    assert FeedbackData(dataset=dataset, held_out=0.2).identity == "bytes"


def test_a_static_delta_is_the_same_model_under_both_of_its_names() -> None:
    assert config(**ADAPT, delta_mode="static").deltas == "static"
    assert config(**ADAPT | {"stage": "static"}).deltas == "static"
    assert not config(**ADAPT, delta_mode="static").dynamic


@pytest.mark.parametrize(
    ("values", "adapted"),
    [
        ({}, "all"),
        ({"stage": "fine_tune", "base": "a"}, "attn"),
        ({"stage": "fine_tune", "base": "a", "scope": "all"}, "all"),
        (ADAPT, "none"),
        (ADAPT | {"joint": True, "scope": "all"}, "all"),
    ],
)
def test_the_stage_says_which_feedforward_weights_train(
    values: dict[str, Any], adapted: str
) -> None:
    assert config(**values).adapted == adapted


def test_false_is_false_and_a_missing_feedback_reverse_is_true() -> None:
    assert config().feedback_reverse is True
    assert resolve("feedback", "feedback_reverse=False").feedback_reverse is False
    assert resolve("feedback", "model.feedback_reverse=false").feedback_reverse is False
    assert resolve("feedback", "model.feedback_reverse=null").feedback_reverse is True


def test_the_original_s_keys_are_understood() -> None:
    found = resolve(
        "feedback",
        "active_dataset=gsm8k",
        "model.n_layer=2",
        "model.lora_rank=8",
        "diffusion.eps=0.01",
        "diffusion.generation_steps=5",
        "training.batch_size=16",
        "training.learning_rate=1e-3",
        "training.warmup_ratio=0.2",
        "training.grad_clip=0.5",
        "training.dtype=bfloat16",
        "training.compile=true",
        "training.save_epoch_interval=10",
    )
    assert found.data.dataset == "gsm8k"
    assert (found.model.n_layer, found.lora_rank) == (2, 8)
    assert (found.diffusion.eps, found.diffusion.generation_steps) == (0.01, 5)
    assert (found.batch_size, found.optim.lr, found.schedule.warmup) == (16, 1e-3, 0.2)
    assert (found.clip.max_norm, found.checkpoint.keep_every) == (0.5, "10 epochs")
    assert (found.engine.precision, found.engine.compile) == ("bf16", True)


def test_a_rate_that_does_not_decay_is_constant() -> None:
    assert resolve("feedback", "training.decay_lr=false").schedule.kind == "constant"
    assert resolve("feedback", "training.decay_lr=true").schedule.kind == "warmup_cosine"


@pytest.mark.parametrize("name", preset_names(FAMILY))
def test_every_preset_is_valid(name: str) -> None:
    assert resolve(f"feedback/{name}").family == "feedback"


def test_a_preset_that_adapts_has_its_base_s_network_and_tokens() -> None:
    for name in ("text-feedback", "cpu-gsm8k"):
        child = resolve(f"feedback/{name}")
        parent = resolve(child.base)
        assert child.model == parent.model
        for key in ("tokenizer", "vocab_size", "tokenizer_corpora", "restrict_vocab"):
            assert getattr(child.data, key) == getattr(parent.data, key)


def test_claims_name_keys_and_values_that_a_config_takes() -> None:
    claims = {claim.id: claim for claim in load_claims(FAMILY.home / "claims.yaml")}
    assert len(claims) == 31
    assert claims["gsm8k-feedback-r4"].published == 2.990
    for claim in claims.values():
        words = [f"{key}={str(value).lower()}" for key, value in claim.config.items()]
        resolve("feedback/original", "base=runs/somewhere", *words)


def test_the_default_is_the_original_s_optimiser_and_schedule() -> None:
    default = config()
    assert (default.optim.kind, default.optim.lr, default.optim.weight_decay) == (
        "adamw",
        3e-4,
        0.01,
    )
    assert (default.clip.kind, default.clip.max_norm) == ("norm", 1.0)
    assert (default.batch_size, default.model.n_embd) == (64, 256)


def test_the_schedule_starts_at_0_peaks_after_warm_up_and_stays_at_its_floor() -> None:
    factor = WarmupCosineSchedule(WarmupCosine(warmup=0.1, min_lr=0.1), 1005).factor
    assert factor(0) == 0.0
    assert factor(50) == 0.5  # int(100.5) = 100 steps of warm-up
    assert factor(100) == 1.0
    assert factor(100 + 905 // 5) == pytest.approx(
        0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 5)), rel=1e-12
    )
    assert factor(1005) == pytest.approx(0.1, rel=1e-12)
    assert factor(1006) == factor(1005)


def test_the_middle_of_the_cosine_lies_between_peak_and_floor() -> None:
    factor = WarmupCosineSchedule(WarmupCosine(warmup=0.0, min_lr=0.1), 100).factor
    assert factor(0) == 1.0
    assert factor(50) == pytest.approx(0.55, rel=1e-12)


def test_the_config_imports_no_torch() -> None:
    code = "import sys, weft.families.feedback; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
