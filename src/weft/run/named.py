"""Finds the run that a word names: a run's directory, or the family/name of one below a root."""

from __future__ import annotations

import os
from pathlib import Path

from weft.config.explain import suggest
from weft.errors import WrongRun
from weft.run.registry import Run, find_runs, is_run, open_run

ROOT = "runs"
"""Where names are looked for if nobody says otherwise."""


def folder_named(word: str | Path, root: str | Path = ROOT) -> Path:
    """The folder that `word` names, here or else below `root`; `word` itself if there is none."""
    below = Path(root) / word
    return below if not os.path.exists(word) and below.is_dir() else Path(word)


def named(word: str | Path, root: str | Path = ROOT) -> Run:
    """The run that `word` names.

    Raises:
        WrongRun: if there is none, or more than one.
        RunError: if its files cannot be read.
    """
    if os.path.exists(word):
        return open_run(word)
    family, _, last = str(word).rpartition("/")
    found = [run for run in find_runs(root, last) if run.family in (family, "")]
    if len(found) == 1:
        # Opened once more, so that a damaged one says what is wrong with it.
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
    listing = "weft runs" if str(root) == ROOT else f"weft runs --root {root}"
    raise WrongRun(
        f"there is no such run, here or below {root}",
        where=str(word),
        expected=f"a run's directory, or the family/name of one below {root}",
        hint="\n".join(filter(None, (_guess(str(word), Path(root)), f"`{listing}` lists them"))),
    )


def _guess(word: str, root: Path) -> str:
    """A did-you-mean line, in the way that the user writes: as a path, a name or its last part."""
    names = [
        str(Path(path).relative_to(root)) for path, below, _ in os.walk(root) if _leaf(path, below)
    ]
    if word.startswith(f"{root}/"):
        return suggest(word, [str(root / name) for name in names], "")
    if "/" in word:
        return suggest(word, names, "")
    last = {name.rpartition("/")[2]: name for name in names}
    guess = suggest(word, list(last), "")
    for short, name in last.items():
        guess = guess.replace(f"`{short}`", f"`{name}`")
    return guess


def _leaf(path: str, below: list[str]) -> bool:
    """Whether a run lies at `path`, below which none is looked for then."""
    if found := is_run(path):
        below.clear()
    return found
