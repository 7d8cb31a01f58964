"""A task of feedback on a small text, built or trained by a few words."""

from __future__ import annotations

from typing import Any, cast

import torch

from weft import api, families
from weft.config.load import load
from weft.families.feedback.config import Config
from weft.families.feedback.model import LanguageModel
from weft.families.feedback.task import FeedbackTask
from weft.run.registry import Run
from weft.task.context import Context

TINY = (
    "feedback/text", "model.n_layer=2", "model.n_head=2", "model.n_embd=16", "data.block_size=32",
    "batch_size=4", "steps=3", "eval.chunks=11", "eval.levels=2", "eval.batch_size=5",
    "eval.every=3 steps", "checkpoint.every=2 steps", "log.every=1", "log.tensorboard=false",
    "optim.lr=1e-2", "schedule.kind=constant", "diffusion.generation_steps=3",
)  # fmt: skip
FEEDBACK = ("stage=feedback", "lora_rank=2", "feedback_source=hidden", "generator=latent",
            "latents=2")  # fmt: skip
PADDED = ("data.batching=padded", "data.block_size=128", "eval.chunks=5", "eval.levels=1")
COMPAT = ("stage=feedback", "lora_rank=2", "mode=compat")


def task_of(*words: str) -> FeedbackTask:
    config = load([*TINY, *words], families).config
    return FeedbackTask(cast(Config, config))


def built(*words: str) -> tuple[FeedbackTask, LanguageModel]:
    """A task and its model as initialised, in eval mode."""
    task = task_of(*words)
    torch.manual_seed(0)
    return task, cast(LanguageModel, task.model(task.spec())).eval()


def context(step: int = 0) -> Context:
    return Context(0, step, 10, torch.device("cpu"))


@torch.no_grad()
def evaluated(task: FeedbackTask, model: LanguageModel) -> dict[str, float]:
    return task.evaluate(model, task.data().val, context())  # type: ignore[arg-type]


def train(*words: str, **values: Any) -> Run:
    run = api.train(*TINY, *words, report=False, **values)
    assert run is not None
    return run
