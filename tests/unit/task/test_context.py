"""Streams are told apart by their names, and tensors without content draw nothing."""

from __future__ import annotations

from dataclasses import replace

import torch

from weft.task.context import Context

CTX = Context(seed=1, step=2, total_steps=10, device=torch.device("cpu"))


def draw(ctx: Context, name: str) -> float:
    return torch.rand((), generator=ctx.generator(name)).item()


def test_a_stream_is_a_function_of_seed_step_and_name() -> None:
    assert draw(CTX, "a") == draw(CTX, "a")
    others = [draw(CTX, "b"), draw(replace(CTX, seed=2), "a"), draw(replace(CTX, step=3), "a")]
    assert len({draw(CTX, "a"), *others}) == 4


def test_a_stream_may_draw_elsewhere_than_where_the_batch_lives() -> None:
    made = CTX.generator("a", device="cpu")
    assert made is not None and made.device.type == "cpu"


def test_there_is_no_stream_where_tensors_have_no_content() -> None:
    meta = replace(CTX, device=torch.device("meta"))
    assert meta.generator("a") is None
    assert meta.generator("a", device="cpu") is None


def test_progress_is_the_share_of_steps_done() -> None:
    assert (CTX.progress, replace(CTX, step=0, total_steps=0).progress) == (0.2, 0.0)
