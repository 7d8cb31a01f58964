"""The 144 published configs in one table, as presets or written to files."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from weft.config.family import Preset
from weft.config.yaml import read_scalar, write
from weft.families.jepa.options.original import nested, translate

TABLE = Path(__file__).with_name("reproduce.csv")
_LABELS = ("noise_kind", "structure", "coefficient", "method", "sweep_index")


@cache
def published() -> Mapping[str, dict[str, Any]]:
    """The original's configs with its own keys, by file name without suffix; no empty cells."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        f"sweep_{row['noise_kind']}_{row['structure']}.({row['coefficient']}).{row['method']}.best":
        nested({key: read_scalar(text) for key, text in row.items() if text and key not in _LABELS})
        for row in rows
    }  # fmt: skip


@cache
def _translated(name: str) -> dict[str, Any]:
    return translate(published()[name], name)


class Presets(Mapping[str, Preset]):
    """The published configs as presets of weft, by name; each is translated on demand."""

    def __getitem__(self, name: str) -> Preset:
        return Preset(deepcopy(_translated(name)), about=about(name))

    def __iter__(self) -> Iterator[str]:
        return iter(published())

    def __len__(self) -> int:
        return len(published())


def presets() -> Mapping[str, Preset]:
    """The 144 presets."""
    return Presets()


def export(folder: Path) -> list[Path]:
    """Writes every preset as a file for `weft train`, and returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, preset in presets().items():
        path = folder / f"{name}.yaml"
        head = f"# {preset.about}\n#\n#   weft train 'jepa/{name}'\n"
        path.write_text(head + write(preset.values))
        paths.append(path)
    return paths


def about(name: str) -> str:
    """The description of a preset in one line."""
    noise, _, rest = name.removeprefix("sweep_").partition(".(")
    level, _, rest = rest.partition(")")
    method = rest.split(".")[1]
    return f"Published best {method} at {noise.replace('_', ' ')} noise of brightness {level}."


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m weft.families.jepa.options.table FOLDER` writes the presets there."""
    words = sys.argv[1:] if argv is None else argv
    if len(words) != 1:
        print("usage: python -m weft.families.jepa.options.table FOLDER", file=sys.stderr)
        return 2
    print(f"{len(export(Path(words[0])))} files in {words[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
