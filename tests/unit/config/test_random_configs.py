"""Whatever words, values and files a config is made of: a config, or one error, and soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from weft import families
from weft.config.load import load
from weft.config.recipe import recipe_class
from weft.config.yaml import read_value
from weft.errors import WeftError
from weft.run.resume import changed

LONGEST = 2.0
"""Seconds of CPU that a config may take."""

_RECIPES = ("cet", "cet/digits", "jepa", "jepa/combo", "warp", "feedback", "feedback/text",
            "gaussvae", "gaussvae/demo")  # fmt: skip
_ODD_RECIPES = ("nothing", "cet/nothing", "my.yaml", "", "a=", "\0")
_NINES = "9" * 5000
_VALUES = (
    "3", "-1", "0", "1e-3", "1e999", ".nan", ".inf", "true", "null", "", "~", "a", "'a'", '"', "[",
    "[1, 2]", "[[1]]", "{a: 1}", "{kind: adam}", "{kind: sgd, lr: 1}", "{kind: [sgd]}",
    "[a, {b: c}]", "!!set {a}", "[!!set {a}]", "[!!python/object:os.system x]", "&a [*a]",
    "[&a [*a]]", "[*a]", "{<<: 1}", "[# x\n]", "`x", "@x", "%YAML 1.1", "? x", "9" * 400, _NINES,
    f"-{_NINES}", f"[{_NINES}]", "0x" + "f" * 4000, "0o" + "7" * 4000, "1." + "1" * 5000,
    "[" * 3000, "{a: " * 3000, "\0", "\x1b[31m", "\udca4", '"\udca4', '"\\ud800"',
    '"\\U7fffffff"', "é", "x" * 9000, "1 epochs", "1 steps", "-1 epochs", "1e400 epochs",
    f"{_NINES} epochs", "9" * 21,
)  # fmt: skip
_KEYS = (
    "a", "family", "steps", "epochs", "batch_size", "seed", "run", "run.kind.kind", "optim",
    "optim.kind", "optim.kind.kind", "optim.lr", "optim.a.b", "schedule", "schedule.kind",
    "schedule.warmup", "clip.kind", "data", "data.dataset", "data.root", "data.a", "eval.every",
    "checkpoint.every", "log.tensorboard.a.b", "log.wandb.mode", "run.tags", "a" + ".a" * 900,
    "a" + ".a" * 20, ".", "a-b", "A", "model", "model_type", "training.dtype",
    "training.decay_lr", "dataset", "image_datasets", "optimizer", "wandb", "init",
    "engine.threads", "engine.device",
)  # fmt: skip
_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
_FILES = (
    "family: cet\n", "family: [cet]\n", "family: {a: b}\n", "family: 3\n", "steps: 3\n", "[1]\n",
    "", f"family: cet\n{_LAUGHS}", "family: cet\nb: &b {kind: adam}\noptim: {<<: *b}\n",
    "family: cet\n\0", "family: cet\n# \x1b[31m\n", "\ufefffamily: cet\n", "{" * 5000,
    '{"family": "jepa"}', "family: cet\n" + "x: [" * 4000, "family: cet\n" + "k: 1\n" * 3,
    "? [a]\n: b\n", "- " * 4000, "family: cet\n" + "".join(f"k{i}: {i}\n" for i in range(500)),
    "family: cet\n\tx: 1\n", "--- a\n--- b\n", "family: warp\na" + ".a" * 900 + ": 1\n",
    "family: cet\n" + "x" * 20_000,
)  # fmt: skip
_LARGEST = {
    "values": "family: cet\nx: [" + "x," * 100_000 + "]",
    "keys": "family: cet\n" + "".join(f"k{i}: {i}\n" for i in range(9_900)),
    "unknown values": "family: cet\nx: [" + "{a: b}," * 6_000 + "]",
    "items": "family: warp\ndata: {image_datasets: [" + "[1]," * 9_000 + "]}",
    "known keys": "family: cet\n" + "".join(f"k{i}: {i}\n" for i in range(490)),
    "text": 'family: cet\nx: "' + "x" * 260_000 + '"',
    "comment": "family: cet\n" + "#" * 260_000,
    "brackets": "[" * 200_000,
    "mappings": "{a: " * 60_000,
    "dashes": "- " * 100_000,
    "lines": "\n" * 260_000,
    "laughs": f"family: cet\n{_LAUGHS}",
    "too long": " " * 10_000_000,
}


def _keys(family: str) -> list[str]:
    recipe = recipe_class(families.find(family))
    fields = list(recipe.model_fields)
    return [*fields, *families.find(family).aliases]


FAMILIES = ("cet", "jepa", "warp", "feedback", "gaussvae")
KEYS = [*_KEYS, *(key for family in FAMILIES for key in _keys(family))]


def _text(random: Random) -> str:
    """A value: one of the list, two joined, or one with a character of it changed."""
    text = random.choice(_VALUES)
    match random.randrange(5):
        case 0:
            return text + random.choice(_VALUES)
        case 1 if text:
            place = random.randrange(len(text))
            return text[:place] + chr(random.randrange(256)) + text[place + 1 :]
    return text


def _words(random: Random) -> list[str]:
    overrides = [f"{random.choice(KEYS)}={_text(random)}" for _ in range(random.randrange(1, 5))]
    # An unknown recipe is compared with all there are, which takes a while.
    recipes = random.choices(_RECIPES, k=1 if random.random() < 0.8 else 2)
    return [random.choice(_ODD_RECIPES) if random.random() < 0.02 else recipes[0],
            *recipes[1:], *overrides]  # fmt: skip


def _file(random: Random) -> bytes:
    lines = [f"{random.choice(KEYS)}: {_text(random)}\n" for _ in range(random.randrange(4))]
    content = (random.choice(_FILES) + "".join(lines)).encode("utf-8", "surrogateescape")
    if random.random() < 0.3 and content:
        place = random.randrange(len(content))
        content = content[:place] + bytes([random.randrange(256)]) + content[place + 1 :]
    return content


def _change(values: dict[str, Any], key: str, text: str) -> None:
    changed(values, {key: read_value(text, "here")}, "config.yaml")


def raw(folder: Path, cases: int, seed: int) -> list[str]:
    """What escaped or took too long among `cases` random words, values, files and changes."""
    random, wrong = Random(seed), []
    whole = load(["cet"], families).config.plain()
    for case in range(cases):
        given: Any
        action: Callable[[], object]
        match random.randrange(4):
            case 0:
                given = _text(random)
                action = partial(read_value, given, "here")
            case 1:
                given = _file(random)
                (folder / "my.yaml").write_bytes(given)
                action = partial(load, [str(folder / "my.yaml")], families)
            case 2:
                key, given = random.choice(KEYS), _text(random)
                given = (f"log.{key}" if random.random() < 0.5 else key, given)
                action = partial(_change, whole, *given)
            case _:
                given = _words(random)
                action = partial(load, given, families)
        start = time.process_time()
        try:
            action()
        except WeftError as error:
            if error.exit_code != 2:
                wrong.append(f"{case}: exit code {error.exit_code}: {given!r:.200}")
        except Exception as error:
            wrong.append(f"{case}: {type(error).__name__}: {error!s:.200}: {given!r:.200}")
        if time.process_time() - start > LONGEST:
            wrong.append(f"{case}: {time.process_time() - start:.1f} s: {given!r:.200}")
    return wrong


def test_random_configs_are_read_or_refused_in_words(tmp_path: Path) -> None:
    assert raw(tmp_path, 240, seed=1) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_twenty_thousand_random_configs_are_read_or_refused_in_words(
    seed: int, tmp_path: Path
) -> None:
    assert raw(tmp_path, 5_000, seed) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", _LARGEST)
def test_the_largest_files_are_read_or_refused_soon(name: str, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(_LARGEST[name])
    start = time.process_time()
    with pytest.raises(WeftError) as caught:
        load([str(tmp_path / "my.yaml")], families)
    assert time.process_time() - start < LONGEST
    assert caught.value.exit_code == 2
