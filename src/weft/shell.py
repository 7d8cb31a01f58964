"""Commands as a shell takes them: what weft prints to be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path


def quoted(word: str | Path) -> str:
    """A word of a command. A path that begins with a dash would be taken for an option, quoted or
    not, so that it is told from here."""
    text = str(word)
    return shlex.quote(f"./{text}" if isinstance(word, Path) and text.startswith("-") else text)


def spelt(*words: str | Path) -> str:
    """The command `weft` with `words`."""
    return " ".join(map(quoted, ("weft", *words)))


def words_of(line: str) -> list[str]:
    """The words of what `quoted` joined. A line of before it was quoted, which may hold half a
    quotation, is split at blanks."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
