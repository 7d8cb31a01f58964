"""Records the first losses of every preset: `python -m tests.golden.record [FAMILY/PRESET …]`.

Run it from the repository's root after a change of numbers, with the data sets at hand
(WEFT_DATA); without recipes, all of them are recorded anew. The commit that brings new numbers
says which changed and why.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tests.golden.losses import ALWAYS, first_losses
from weft import api, families
from weft.config.presets import preset_names
from weft.engine.parts import Parts
from weft.engine.profile import cost
from weft.errors import WeftError
from weft.machine import cpu_name, cpuinfo

FOLDER = Path(__file__).parent
STEPS, BUDGET = 20, 40e9
"""Steps of a preset, as long as they fit this many floating point operations; at least two."""
QUICK = 0.3


def machine() -> dict[str, str]:
    """What decides the last digits."""
    return {
        "cpu": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
    }


def _processor() -> str:
    """Name, family and model number: rented machines of several generations share one name."""
    info = cpuinfo()
    return " ".join([cpu_name(), *(info[key] for key in ("cpu family", "model") if key in info)])


def recorded(family: str) -> dict[str, Any]:
    """`machine` and, under `presets`, name -> `words`, `losses` and `seconds`."""
    path = FOLDER / f"{family}.json"
    known: dict[str, Any] = {"machine": {}, "presets": {}}
    return json.loads(path.read_text()) if path.is_file() else known


def is_quick(family: str, preset: str) -> bool:
    """Whether the preset's first losses are a test of the default suite: its family's default is,
    and whatever took at most QUICK seconds where it was recorded."""
    entry = recorded(family)["presets"].get(preset)
    return preset == families.find(family).default or entry is None or entry["seconds"] <= QUICK


def cut(recipe: str) -> tuple[list[str], int]:
    """Words that make the recipe's batch affordable, and how many of its steps then are."""
    flops, size = _cost(recipe)
    words = []
    if 2 * flops > BUDGET:
        words = [f"batch_size={max(2, int(size * BUDGET / (2 * flops)))}"]
        flops, _ = _cost(recipe, *words)
    return words, max(2, min(STEPS, int(BUDGET / max(1, flops))))


def _cost(recipe: str, *words: str) -> tuple[int, int]:
    config = api.configure(recipe, *ALWAYS, *words).config
    return cost(Parts.of(families.find(config.family), config)).flops_per_step, config.batch_size


def record(recipe: str) -> Mapping[str, Any]:
    """The recipe's words and first losses."""
    words, steps = cut(recipe)
    started = time.perf_counter()
    losses = first_losses(recipe, words, steps)
    return {
        "words": words,
        "losses": losses,
        "seconds": round(time.perf_counter() - started, 1),
    }


def main(asked: list[str]) -> None:
    """Records the recipes asked for, or all."""
    for name in families.names():
        content = recorded(name)
        family = families.find(name)
        for preset in preset_names(family):
            recipe = f"{name}/{preset}"
            if preset in family.generated or (asked and recipe not in asked):
                continue
            try:
                content["presets"][preset] = record(recipe)
            except WeftError as error:
                print(f"{recipe}: not recorded: {error.message}", file=sys.stderr)
                continue
            entry = content["presets"][preset]
            print(f"{recipe}: {len(entry['losses'])} steps in {entry['seconds']} s")
        content["machine"] = machine()
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
