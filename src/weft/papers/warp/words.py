"""The language of the original's README: its flags, its names of options, and its config file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weft.config.layer import Layer, leaves, nest
from weft.config.yaml import read_file, write
from weft.errors import ConfigError, WeftError
from weft.families.warp.options.aliases import ALIASES, as_flag
from weft.papers import script

FLAGS = ("train", "full_matrix_A", "mean_tanh_activation", "use_mse_loss")
"""Flags that differ in meaning from an option of weft."""


def check_flags(path: Path, words: Sequence[str]) -> dict[str, bool]:
    """The flags that a config file sets, or the words of `--set`, which override it.

    Raises:
        ConfigError: if a value is neither true nor false, with or without quotes.
    """
    values, lines = read_file(path)
    given = {key: (values[key], f"{path}:{lines[(key,)]}") for key in FLAGS if key in values}
    for key, value in script.settings(words).items():
        if key in FLAGS:
            given[key] = (value, f"--set {key}")
    wrong: list[WeftError] = [
        ConfigError(f"`{key}` = {value} is not allowed", where=where, expected="True or False")
        for key, (value, where) in given.items()
        if not isinstance(as_flag(value), bool)
    ]
    if wrong:
        raise ConfigError(wrong)
    return {key: as_flag(value) for key, (value, _) in given.items()}


@contextmanager
def in_their_words(keys: Iterable[str]) -> Iterator[None]:
    """Inside this context config errors use the original's names of options.

    Args:
        keys: those that the file and `--set` have set.
    """
    names = {ALIASES[key][0]: key for key in keys if key in ALIASES}
    try:
        yield
    except ConfigError as error:
        for problem in error.problems or [error]:
            for ours, theirs in names.items():
                key = re.compile(rf"`{re.escape(ours)}(?=[`.])")
                if theirs in FLAGS:  # its values have other names
                    if key.search(problem.message + problem.hint):
                        problem.hint += f"\n`{theirs}` is what sets `{ours}`"
                    continue
                problem.message = key.sub(f"`{theirs}", problem.message)
                problem.hint = key.sub(f"`{theirs}", problem.hint)
                problem.where = theirs if problem.where == ours else problem.where
        raise


def keys_of(path: Path, words: Sequence[str]) -> list[str]:
    """The dotted keys that a config file and the words of `--set` set."""
    return [*map(".".join, leaves(read_file(path)[0])), *script.settings(words)]


def as_run(path: Path, words: Sequence[str]) -> str:
    """The config file's text with `train: False` and with the values of the `--set` words.

    Without such words the rest of the text is kept, comments included.
    """
    changes = {key: value for key, value in script.settings(words).items() if key != "train"}
    if not changes:
        return _untrained(path.read_text())
    layer = Layer(dict(read_file(path)[0]))
    for key, value in changes.items():
        _leave_out(layer.values, _target(key))
        _leave_out(layer.values, {"steps": "epochs", "epochs": "steps"}.get(_target(key), ""))
        layer.lay(Layer(nest(key, value)))
    told = " ".join(f"{key}={value}" for key, value in changes.items())
    return f"# {path.name} with --set {told}\n{write({**layer.values, 'train': False})}"


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Options that affect the result and differ in two dotted configs: key -> both values."""
    idle = ("run.", "data.root", "data.download", "train")
    return {
        key: (ours[key], theirs.get(key))
        for key in ours
        if not key.startswith(idle) and _plain(ours[key]) != _plain(theirs.get(key))
    }


def _plain(value: Any) -> Any:
    """A value for comparison: a tuple as a list, a file by its name."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return Path(value).name if isinstance(value, str) and value.endswith(".npz") else value


def _target(key: str) -> str:
    return ALIASES[key][0] if key in ALIASES else key


def _leave_out(values: dict[str, Any], target: str) -> None:
    """Drops entries that set the option `target` under another name."""
    for path in leaves(values):
        key = ".".join(path)
        if _target(key) == target and key != target:
            inner = values
            for part in path[:-1]:
                inner = inner[part]
            del inner[path[-1]]


def _untrained(text: str) -> str:
    changed, count = re.subn(r"(?m)^train:[ \t]*[^#\n]*", "train: False ", text)
    return changed if count else f"{text.rstrip()}\ntrain: False\n"
