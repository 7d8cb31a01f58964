"""Finds a user's own files and folders, and turns their paths in a config into absolute ones."""

from __future__ import annotations

from os.path import isdir, isfile
from pathlib import Path

from weft.config.base import FamilyConfig
from weft.config.paths import map_paths
from weft.data import fetch
from weft.data.used import note
from weft.errors import DataError


def places(name: str, root: str | Path | None = None) -> tuple[Path, ...]:
    """The paths at which the file `name` is looked for: as given, then below each data folder."""
    given = Path(name).expanduser()
    return tuple(dict.fromkeys((given, *(folder / given for folder in fetch.places(root)))))


def own_file(
    name: str, *, root: str | Path | None, expected: str, where: str = "data.dataset"
) -> Path:
    """The path of a user's data file, which is also noted as used by the run.

    Args:
        name: a path, as given or below a data folder.
        root: folder to look in before $WEFT_DATA and the cache.
        expected: what it should hold, for the error.
        where: the option that names it.

    Raises:
        DataError: if there is no such file; lists every path that was tried.
    """
    looked = places(name, root)
    for path in looked:
        if isfile(path):
            note(path)
            return path
    raise DataError(
        f"there is no file `{name}`",
        where=where,
        expected=expected,
        hint=fetch.looked_for(looked),
    )


def settled(config: FamilyConfig) -> FamilyConfig:
    """The config with the paths of existing files and folders made absolute.

    The run then finds them from any working directory. Paths to nothing stay as they are; the
    reader will say that they are missing.
    """

    def settle(name: str) -> str:
        for path in places(name, config.data.root):
            if isfile(path) or isdir(path):
                return str(path.absolute())
        return name

    return map_paths(config, settle)
