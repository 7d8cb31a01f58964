"""Finds the run that a word names, by its directory or by its family/name below a root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

from weft import families
from weft.config.explain import suggest
from weft.config.load import is_override
from weft.config.presets import preset_names
from weft.errors import UsageError, WrongRun
from weft.run.registry import Run, counted, find_runs, is_run, open_run
from weft.shell import spelt

ROOT = "runs"
"""The root that is searched by default."""


Which = str | PathLike[str]
"""What names a run: text, a path, or the run itself."""


def as_word(word: object) -> str:
    """What names a run, as text: text, a path, or a run itself.

    Raises:
        UsageError: if it is anything else.
    """
    text = fspath(word) if isinstance(word, PathLike) else word
    if not isinstance(text, str):
        raise UsageError(
            f"{text!r} names no run",
            expected="a run, its directory, or the `family/name` of one below runs/",
        )
    return text


def folder_named(word: Which) -> Path:
    """The folder that `word` names: `word` itself if it exists, or else the one below runs/.

    If neither exists, it is `word` itself.
    """
    word = as_word(word)
    below = Path(ROOT) / word
    return below if not os.path.exists(word) and below.is_dir() else Path(word)


def named(word: Which, root: str | Path = ROOT) -> Run:
    """The run that `word` names.

    Raises:
        WrongRun: if there is none, or more than one.
        RunError: if its files cannot be read.
    """
    word = as_word(word)
    if os.path.exists(word):
        return open_run(word)
    family, _, last = str(word).rpartition("/")
    found = [run for run in find_runs(root, last) if run.family in (family, "")]
    if len(found) == 1:
        # Opening a damaged one raises the error that says what is wrong with it.
        return open_run(found[0].path) if found[0].damage else found[0]
    if found:
        raise WrongRun(
            f"{len(found)} runs below {root} have this name",
            where=str(word),
            expected="the directory of one of them",
            hint="\n".join(str(run.path) for run in found),
        )
    if is_run(Path(root) / word):
        return open_run(Path(root) / word)
    listing = spelt("runs") if str(root) == ROOT else spelt("runs", "--root", Path(root))
    raise WrongRun(
        f"there is no such run, here or below {root}",
        where=str(word),
        expected=f"a run's directory, or the family/name of one below {root}",
        hint="\n".join(filter(None, (_guess(str(word), Path(root)), f"`{listing}` lists them"))),
    )


def every(words: Sequence[Which]) -> list[Run]:
    """The runs that `words` name, each once: runs, or folders of them, damaged ones left out.

    Raises:
        UsageError: if there are not two.
    """
    found: list[Run] = []
    for word in words:
        folder = folder_named(word)
        many = folder.is_dir() and not is_run(folder)
        found += [r for r in find_runs(folder) if not r.damage] if many else [named(word)]
    apart = {run.path.resolve(): run for run in found}
    if len(apart) < 2:
        raise UsageError(
            f"these words name {len(apart)} run(s)", expected="two, or a folder of them"
        )
    return list(apart.values())


def continued(words: Sequence[Which]) -> Run | None:
    """The run that `words` name in place of a recipe, to be continued; None if they name none.

    It is named by its directory, or by family/name below runs/ if no recipe has that name.

    Raises:
        UsageError: if recipes or files are named beside it.
    """
    bases = [word for word in map(_text, words) if not is_override(word)]
    for word in bases:
        run = _in_place_of_a_recipe(word)
        if run is not None and len(bases) > 1:
            raise UsageError(
                f"`{word}` is a run, which goes on with its own config",
                where=", ".join(other for other in bases if other != word),
                expected="nothing beside it but `key=value`",
            )
        if run is not None:
            return run
    return None


def _text(word: object) -> str:
    return fspath(word) if isinstance(word, PathLike) else str(word)


def _guess(word: str, root: Path) -> str:
    """A did-you-mean line for `word`, which may be a path, a family/name or only a name."""
    names = [
        str(Path(path).relative_to(root)) for path, below, _ in os.walk(root) if _leaf(path, below)
    ]
    if word.startswith(f"{root}/"):
        return suggest(word, [str(root / name) for name in names], "")
    if "/" in word:
        return suggest(word, names, "")
    last: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: counted(Path(name))):
        last.setdefault(name.rpartition("/")[2], []).append(f"`{name}`")
    guess = suggest(word, list(last), "")
    for short, whole in last.items():
        guess = guess.replace(f"`{short}`", " or ".join(whole))
    return guess


def _leaf(path: str, below: list[str]) -> bool:
    """Whether `path` is a run; empties `below` then, so that the walk does not enter it."""
    if found := is_run(path):
        below.clear()
    return found


def _in_place_of_a_recipe(word: str) -> Run | None:
    if is_run(word):
        return open_run(word)
    family, _, last = word.rpartition("/")
    if (
        os.path.isfile(word)
        or family not in families.names()
        or last in preset_names(families.find(family))
    ):
        return None
    return named(word) if any(run.family == family for run in find_runs(ROOT, last)) else None
