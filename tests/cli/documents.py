"""Commands of documents carried out in earnest, training made small."""

from __future__ import annotations

import shlex

from tests.cli.test_documents import Command
from weft.cli import main

SMALL = {
    "cet": ["batch_size=64", "hidden_dim=8"],
    "warp": ["batch_size=4", "mlp_hidden_size=4"],
    "jepa": ["batch_size=4", "val_dataset_size=8", "probe.size=8", "probe.batch_size=4"],
    "feedback": ["model.n_layer=1", "model.n_embd=8", "model.n_head=1", "eval.chunks=4"],
    "gaussvae": ["batch_size=4", "latent_dim=4", "eval.pictures=2"],
}
"""What makes a run of a family small, unless a command says otherwise."""

_SHORT = ["steps=2", "engine.threads=1", "log.tensorboard=false"]


def carried_out(command: Command, *smaller: str) -> int:
    """Runs a command of weft, its training runs small and short; its exit code.

    Args:
        smaller: what else a run of the family cet sets.
    """
    words = shlex.split(command.text, comments=True)[1:]
    if words[0] in ("train", "sweep"):
        words = [word for word in words if not word.startswith("steps=")]
        given = {word.partition("=")[0] for word in words}
        family = words[1].partition("/")[0]
        small = [*(smaller if family == "cet" else ()), *SMALL[family], *_SHORT]
        for word in small:
            if (key := word.partition("=")[0]) not in given:
                words.append(word)
                given.add(key)
        words += ["-q", "eval.batch_size=8"] if words[0] == "train" else []
    elif words[:2] == ["data", "fit"]:
        words = [*words, "--steps", "2"]
    return main(words)
