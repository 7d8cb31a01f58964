"""The scripts of feedback's original README on a text of two batches an epoch, and their runs."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

import weft
from weft.papers.feedback.train import main
from weft.run.registry import Run

PAPER = Path(__file__).parents[4] / "papers" / "feedback"
# On a text that needs no download, with two batches an epoch.
SMALL = {
    "data.dataset": "mine.txt", "data.tokenizer": "bytes", "data.block_size": "16",
    "batch_size": "4", "epochs": "2", "model.n_layer": "1", "model.n_head": "1",
    "model.n_embd": "8", "engine.compile": "false", "engine.precision": "fp32",
    "eval.levels": "1", "eval.chunks": "4", "log.every": "1", "log.tensorboard": "false",
    "checkpoint.keep_every": "1 epoch",
}  # fmt: skip
SET = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
TEXT = "\n\n".join(f"Twelve {n}s" for n in "abcdefghij") + "\n"
FF = ["--active_dataset", "gsm8k"]


def feedforward(*words: str) -> int:
    return main("feedforward_train", [*FF, *SET, *words])


def adapted(name: str, base: Path, *words: str) -> int:
    place = ["--ff_checkpoint_dir", str(base), "--ff_checkpoint_name", "epoch_ckpt_gsm8k_1.pt"]
    return main(name, ["--active_dataset", "wikitext", *place, *words, *SET])


def runs(dataset: str = "gsm8k") -> list[Run]:
    return weft.runs(f".out/{dataset}")


def weights(run: Path, checkpoint: str) -> dict[str, torch.Tensor]:
    state = torch.load(run / checkpoint, weights_only=True)
    return dict(state["model"])


def table(run: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    with (run / name).open() as file:
        return list(csv.DictReader(file))
