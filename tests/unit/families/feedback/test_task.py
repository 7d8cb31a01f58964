"""What feedback learns from a batch, and how a model of it is scored."""

from __future__ import annotations

import math
import os
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.unit.families.feedback.tiny import (
    COMPAT,
    FEEDBACK,
    PADDED,
    built,
    context,
    evaluated,
    task_of,
)
from weft import families
from weft.data.random import stream
from weft.engine.parts import Parts
from weft.engine.profile import _cost
from weft.families.feedback.model import LanguageModel
from weft.families.feedback.nets.rows import Rows
from weft.families.feedback.noise.process import fixed_noise
from weft.families.feedback.score.evaluation import score
from weft.families.feedback.task import FeedbackTask
from weft.task.context import Context

pytestmark = pytest.mark.usefixtures("kept_texts")


def loss_of(task: FeedbackTask, model: Any, batch: Any, ctx: Context) -> Any:
    """The loss of a whole batch, drawn as the loop draws it."""
    return task.loss(model, task.draw(batch, ctx), ctx)


def nats_of(model: LanguageModel, read: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy of each token among the ids that can be meant; 0 for [PAD], which is none."""
    shares = model.logits(read)[..., : model.used].log_softmax(-1)
    inside = tokens < shares.shape[-1]
    found = shares.gather(-1, tokens.where(inside, 0)[..., None])[..., 0]
    return (-found).where(inside, 0)


def test_scores_do_not_depend_on_the_batch_size() -> None:
    task, model = built()
    other = task_of("eval.batch_size=3")
    first, second = evaluated(task, model), evaluated(other, model)
    for name in ("loss_padded", "loss_original"):
        del first[name], second[name]
    assert first == pytest.approx(second, rel=1e-5)


def test_the_loss_is_the_weighted_sum_over_real_tokens_and_loss_padded_over_all_places() -> None:
    task, model = built(*PADDED)
    vocabulary = task.tokenizer.vocabulary
    tokens = next(task.data().val.batches(5))["tokens"]  # type: ignore[union-attr]
    real = tokens != vocabulary.pad_id
    assert not real.all()
    [noised] = fixed_noise(tokens, real, 0, vocabulary.mask_id, eps=1e-3, levels=1)
    with torch.no_grad():
        read = model(noised.tokens, Rows.of(noised.tokens, vocabulary.pad_id))
        nats = nats_of(model, read, tokens)
    total = float((nats * noised.weight)[noised.masked].sum())
    metrics = evaluated(task, model)
    assert metrics["loss"] == pytest.approx(total / int(real.sum()), rel=1e-5)
    assert metrics["loss_padded"] == pytest.approx(total / tokens.numel(), rel=1e-5)


def test_padding_that_counts_as_text_is_noised_and_counted_in_loss_padded_alone() -> None:
    task, model = built(*PADDED, "data.pad_is_text=true")
    vocabulary = task.tokenizer.vocabulary
    tokens = next(task.data().val.batches(5))["tokens"]  # type: ignore[union-attr]
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    [noised] = fixed_noise(tokens, everywhere, 0, vocabulary.mask_id, eps=1e-3, levels=1)
    assert noised.masked[tokens == vocabulary.pad_id].any()
    with torch.no_grad():
        read = model(noised.tokens, Rows())
        nats = nats_of(model, read, tokens)
    weighted = (nats * noised.weight).where(noised.masked, 0)
    real = tokens != vocabulary.pad_id
    metrics = evaluated(task, model)
    assert metrics["loss_padded"] == pytest.approx(float(weighted.mean()), rel=1e-5)
    assert metrics["loss"] == pytest.approx(float(weighted[real].sum() / real.sum()), rel=1e-5)


PROMPT = ("data.prompt_end=Answer:", "data.block_size=128", "diffusion.random_length=0.5")


@pytest.mark.parametrize("batching", ["packed", "buckets", "padded"])
def test_what_stands_before_the_end_of_a_prompt_is_read_and_never_noised_or_counted(
    batching: str,
) -> None:
    task = task_of(*PROMPT, f"data.batching={batching}")
    source, tokenizer = task.data().train, task.tokenizer
    prompts = 0
    for step, indices in enumerate(source.plan(0, 0)[:20]):
        drawn = task.draw(source.take(indices, stream(0, 0, "data")), context(step))
        given, real = drawn["given"], drawn["tokens"] != tokenizer.vocabulary.pad_id
        assert torch.equal(drawn["text"], real & ~given) and not (drawn["masked"] & given).any()
        assert int(drawn["count"][0]) == max(1, int((real & ~given).sum()))
        for row, its in zip(drawn["tokens"], given, strict=True):
            text = tokenizer.decode(row[its].tolist())
            prompts += text.count("Answer:")
            assert "<<" not in text and "####" not in text
    assert prompts > 5


def test_a_prompt_is_not_scored() -> None:
    words = ("data.batching=padded", "eval.levels=1", "eval.chunks=19", "eval.batch_size=19")
    task, model = built(*PROMPT, *words)
    vocabulary = task.tokenizer.vocabulary
    source = task.data().val
    batch = next(source.batches(19))  # type: ignore[union-attr]
    tokens, learnt = batch["tokens"], (batch["tokens"] != vocabulary.pad_id) & ~batch["given"]
    assert batch["given"].any()
    [noised] = fixed_noise(tokens, learnt, 0, vocabulary.mask_id, eps=1e-3, levels=1)
    with torch.no_grad():
        read = model(noised.tokens, Rows.of(noised.tokens, vocabulary.pad_id))
        nats = nats_of(model, read, tokens)
    total = float((nats * noised.weight)[noised.masked].sum())
    assert evaluated(task, model)["loss"] == pytest.approx(total / int(learnt.sum()), rel=1e-5)


def test_a_text_without_the_end_of_a_prompt_is_learnt_whole() -> None:
    task, model = built()
    other, same = built("data.prompt_end=No such words")
    same.load_state_dict(model.state_dict())
    assert evaluated(other, same) == evaluated(task, model)


@pytest.mark.parametrize("batching", ["packed", "buckets", "padded"])
def test_a_uniform_model_trains_at_the_log_of_the_vocabulary(batching: str) -> None:
    task, model = built(f"data.batching={batching}", "batch_size=8", "diffusion.random_length=0")
    with torch.no_grad():
        model.base.table.zero_()
    source = task.data().train
    losses = []
    for step, indices in enumerate(source.plan(0, 0)[:30] * 2):
        batch = source.take(indices, stream(0, 0, "data"))
        losses.append(loss_of(task, model, batch, context(step))[0].detach())
    mean, error = torch.stack(losses).mean(), torch.stack(losses).std() / len(losses) ** 0.5
    assert abs(float(mean) - math.log(257)) < 3 * float(error)


def test_ids_that_no_text_has_get_no_share_and_no_gradient_unless_published() -> None:
    losses = {}
    for kind in ("masked", "published"):
        task, model = built(f"model.unused_ids={kind}", "diffusion.random_length=0")
        source = task.data().train
        batch = source.take(source.plan(0, 0)[0], stream(0, 0, "data"))
        loss, _ = loss_of(task, model, batch, context())
        torch.autograd.backward(loss)
        gradient = cast(Tensor, model.base.table.grad)
        # Of [MASK] and beyond; [MASK] and [PAD] are read, too.
        assert bool(gradient[259:].any()) is (kind == "published")
        losses[kind] = float(loss.detach()), evaluated(task, model)["loss"]
    # Before training all ids are about as likely: 384 of them, or 257.
    for masked, published in zip(*losses.values(), strict=True):
        assert published / masked == pytest.approx(math.log(384) / math.log(257), rel=0.005)


def test_a_batch_without_a_masked_token_has_no_loss_and_does_not_crash() -> None:
    task, model = built("diffusion.random_length=1.0", "data.batching=padded", "batch_size=1")
    source, empty = task.data().train, 0
    model.train()
    tokens = source.take(source.plan(0, 0)[0], stream(0, 0, "data"))["tokens"]
    for step in range(40):
        batch = {"tokens": tokens[:, :1]}
        loss, _ = loss_of(task, model, batch, context(step))
        loss.backward()
        empty += loss.item() == 0.0
    assert empty > 5
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_shuffle_test_sees_what_depends_on_the_input_and_nothing_else() -> None:
    task, model = built(*COMPAT, "base=x")
    assert model.writer is not None and model.generator is not None
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.mul_(8)
    dependent = evaluated(task, model)
    assert abs(dependent["input_gain"]) > 1e-4
    assert dependent["shuffled_loss"] != dependent["loss"]
    task, model = built(*FEEDBACK, "base=x")
    assert model.writer is not None and model.generator is not None
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.zero_()
        for parameter in model.writer.static_B.values():
            parameter.normal_()
    same = evaluated(task, model)
    assert same["input_gain"] == 0.0
    assert abs(same["gain"]) > 1e-4


def test_a_chunk_without_another_in_its_batch_is_left_out_of_the_shuffle_test() -> None:
    task, model = built(*COMPAT, "base=x")
    with torch.no_grad():
        val = task.data().val
        assert val is not None
        scores = score(model, val, task.config, task.tokenizer.vocabulary)
    assert scores.partners.tolist() == [True] * 10 + [False]


def test_where_no_chunk_has_another_in_its_batch_nothing_is_said_of_shuffling() -> None:
    task, model = built(*COMPAT, "base=x", "eval.batch_size=1", "eval.chunks=2")
    metrics = evaluated(task, model)
    assert "gain" in metrics and all(map(math.isfinite, metrics.values()))
    assert not any("shuffled" in name or "input_gain" in name for name in metrics)


def test_a_static_model_has_no_shuffle_test_and_a_feedforward_one_no_base() -> None:
    task, model = built("stage=static", "lora_rank=2", "base=x")
    assert "shuffled_loss" not in evaluated(task, model)
    task, model = built()
    assert "base_loss" not in evaluated(task, model)


def test_self_conditioning_starts_at_the_model_without_it() -> None:
    plain, with_guess = built(), built("self_condition=true")
    with_guess[1].load_state_dict(plain[1].state_dict(), strict=False)
    assert evaluated(*with_guess) == pytest.approx(evaluated(*plain), rel=1e-6)
    with torch.no_grad():
        cast(Tensor, with_guess[1].condition).normal_()
    assert evaluated(*with_guess)["loss"] != evaluated(*plain)["loss"]


def test_every_trained_parameter_gets_a_gradient_whether_or_not_a_guess_is_seen() -> None:
    task, model = built("self_condition=true", "diffusion.random_length=0")
    source = task.data().train
    batch = source.take(source.plan(0, 0)[0], stream(0, 0, "data"))
    model.train()
    seen = set()
    for step in range(8):
        model.zero_grad()
        loss_of(task, model, batch, context(step))[0].backward()
        assert all(p.grad is not None for p in model.parameters())
        seen.add(bool(cast(Tensor, cast(Tensor, model.condition).grad).any()))
    assert seen == {False, True}


@pytest.mark.parametrize("words", [(), FEEDBACK, COMPAT, (*FEEDBACK, "joint=true")])
def test_the_cost_of_a_step_needs_no_content(words: tuple[str, ...]) -> None:
    task = task_of(*words, *(("base=x",) if words else ()))
    spend = _cost(Parts.of(families.find("feedback"), task.config), torch.device("meta"))
    assert spend.flops_per_step > 0
    assert spend.parameters == sum(
        p.numel() for p in task.model(task.spec()).parameters() if p.requires_grad
    )


@pytest.mark.skipif("WEFT_DATA" not in os.environ, reason="gsm8k: WEFT_DATA is not set")
def test_exact_match_asks_problems_of_gsm8k_and_a_perfect_model_gets_them_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("data.dataset=gsm8k", "data.block_size=512", "eval.exact_match=4", "eval.chunks=2")
    task, model = built(*words)
    assert evaluated(task, model)["exact_match"] == 0.0
    monkeypatch.setattr(
        "weft.families.feedback.score.generation.complete", lambda *parts, **_: parts[3]
    )
    assert evaluated(task, model)["exact_match"] == 1.0


def test_the_logits_of_inference_are_of_the_ids_that_the_loss_knows() -> None:
    task, model = built()
    assert model.used is not None
    inference = task.inference(model, task.spec())
    tokens = torch.randint(model.used, (3, 7))
    with torch.no_grad():
        found = inference.function(model, tokens)
        read = model(tokens, Rows(torch.ones_like(tokens, dtype=torch.bool)))
    assert isinstance(found, Tensor)
    shares = found.softmax(-1)
    assert shares[..., model.used :].eq(0).all() and found.shape[-1] > model.used
    nats = -shares.gather(-1, tokens[..., None])[..., 0].log()
    torch.testing.assert_close(nats, nats_of(model, read, tokens))
