"""`weft data pack`: makes the npz file that families read of pictures or of a table of series."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weft.cli.output import emit, pairs
from weft.errors import DataError, UsageError
from weft.verbs.arguments import Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TABLES = (".csv", ".tsv")
_LARGEST = 3.4028234e38
"""The largest float32."""


def pack(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|TABLE", help="Pictures, a folder for each class; or a .csv or .tsv."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.npz", help="File to write.")],
    size: Annotated[int, typer.Option(min=4, help="Pictures: width and height in pixels.")] = 32,
    grey: Annotated[bool, typer.Option("--grey", help="Pictures: keep one channel.")] = False,
    steps: Annotated[int, typer.Option(min=2, help="Series: steps of a sequence.")] = 96,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1, help="Series: rows from one sequence to the next; by default --steps / 4."
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share to test on; the last rows of series.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed that chooses the pictures to test on.")] = 0,
    as_json: Json = False,
) -> None:
    """Make an npz file of your own pictures or series, to train on."""
    import numpy as np

    from weft.atomic import atomic_writer, destined

    if out.suffix != ".npz":
        raise UsageError(f"`{out}` is no npz file", where="--out", expected="a name ending in .npz")
    if source.is_dir():
        arrays, told = pictures(source, size, grey=grey, held_out=held_out, seed=seed)
    elif source.is_file() and source.suffix.lower() in TABLES:
        arrays, told = series(source, steps, stride or max(1, steps // 4), held_out)
    else:
        raise UsageError(
            f"`{source}` cannot be packed",
            expected=f"a folder of pictures, or a file ending in {' or '.join(TABLES)}",
        )
    with atomic_writer(destined(out)) as file:
        np.savez_compressed(file, **arrays)
    found = {"file": str(out), **told, **{name: list(each.shape) for name, each in arrays.items()}}
    emit(as_json, found, lambda: pairs({name: str(each) for name, each in found.items()}))


def pictures(
    folder: Path, size: int, *, grey: bool, held_out: float, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pictures of a folder, cut to the square about their middle and scaled, and their classes.

    Each folder inside that is not hidden is a class; without any, all pictures are one class. A
    share `held_out` of each class, at least one picture, becomes the test set.

    Returns: arrays `x_train` and `x_test`, uint8 (N, 3, size, size), or (N, size, size) if grey,
        `y_train` and `y_test`, class numbers (N,); and `classes`, their names.

    Raises:
        DataError: if a class has fewer than two pictures, or lies in another.
    """
    import numpy as np
    from PIL import Image, ImageOps

    from weft.data.albums import album
    from weft.data.remarks import remark

    below = sorted(
        each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")
    )
    _check_apart(below)
    parts: dict[str, list[NDArray[np.uint8]]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    seen: dict[str, list[str]] = {"train": [], "test": []}
    draw = np.random.default_rng(seed)
    for label, place in enumerate(below or [folder]):
        found = album([str(place)])
        if len(found) < 2:
            raise DataError("a single picture", where=str(place), expected="one more, to test on")
        tested = draw.permutation(len(found)) < min(max(1, held_out * len(found)), len(found) - 1)
        for each, held in zip(found, tested, strict=True):
            picture: Image.Image = Image.fromarray(each.pixels().transpose(1, 2, 0))
            picture = ImageOps.fit(picture.convert("L" if grey else "RGB"), (size, size))
            pixels = np.asarray(picture)
            split = "test" if held else "train"
            parts[split].append(pixels if grey else pixels.transpose(2, 0, 1))
            labels[split].append(label)
            seen[split].append(each.digest)
    known = set(seen["train"])
    if twice := sum(digest in known for digest in seen["test"]):
        remark(f"{twice} of {len(seen['test'])} pictures to test on are trained on, too: copies")
    arrays: dict[str, Any] = {f"x_{split}": np.stack(x) for split, x in parts.items()}
    arrays |= {f"y_{split}": np.array(y) for split, y in labels.items()}
    return arrays, {"classes": [each.name for each in below]}


def _check_apart(classes: Sequence[Path]) -> None:
    """Refuses classes that share pictures, as links to folders above or beside them make them: some
    would be trained on and tested on, under two labels."""
    homes = {each.resolve(): each for each in reversed(classes)}
    for each in classes:
        for home in (each.resolve(), *each.resolve().parents):
            other = homes.get(home, each)
            if other != each:
                raise DataError(
                    f"the class `{each.name}` is, or lies in, `{other.name}`",
                    where=f"{each} -> {each.resolve()}" if each.is_symlink() else str(each),
                    expected="classes that have no picture in common",
                )


def series(
    path: Path, steps: int, stride: int, held_out: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numeric columns of a table, one row a step, cut into sequences.

    The last share `held_out` of the rows becomes the test set.

    Returns: arrays `X_train` and `X_test`, float32 (N, steps, columns); and `columns`, their names.

    Raises:
        DataError: if no column holds numbers, a number is missing, or there are too few rows.
    """
    import numpy as np

    columns, rows = _numbers(path)
    cut = len(rows) - round(held_out * len(rows))
    parts = {"train": rows[:cut], "test": rows[cut:]}
    for split, part in parts.items():
        if len(part) < steps:
            raise DataError(
                f"{len(rows):,} rows leave {len(part):,} to {split} on",
                where=str(path),
                expected=f"{steps} at least, the steps of a sequence",
                hint="a smaller --steps, or another --held-out",
            )
    windows = np.lib.stride_tricks.sliding_window_view
    arrays = {
        f"X_{split}": windows(part, steps, axis=0)[::stride].transpose(0, 2, 1).copy()
        for split, part in parts.items()
    }
    return arrays, {"columns": columns}


def _numbers(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """The columns whose first entry is a number: their names, and their values (R, d)."""
    import numpy as np

    from weft.data.content import read_text
    from weft.data.guard import parsing

    table = "a table of text in UTF-8"
    with parsing(path, table):
        file = io.StringIO(read_text(path, table), newline="")
        read = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        rows = [(read.line_num, row) for row in read if row]
    named = bool(rows) and not any(map(_is_number, rows[0][1]))
    head = rows[0][1] if named else [str(n) for n in range(len(rows[0][1]) if rows else 0)]
    body = rows[1:] if named else rows
    kept = [place for place, entry in enumerate(body[0][1]) if _is_number(entry)] if body else []
    if body and (sign := _other_separator(body[0][1], read.dialect.delimiter)):
        raise DataError(
            f"entries seem to stand between {sign}",
            where=f"{path}:{body[0][0]}",
            expected="a comma between entries (in a .tsv a tabulator), and a point in decimals",
        )
    if not kept:
        raise DataError("there is no column of numbers", where=str(path))
    for place in {*range(len(head))} - {*kept}:
        _check_order(path, head[place], [(line, row[place : place + 1]) for line, row in body])
    values = np.array(list(_checked(path, head, body, kept)), np.float32)
    return [head[place] for place in kept], values


def _other_separator(entries: Sequence[str], own: str) -> str:
    """What would make more numbers of a row than the separator that it was read with; "" if none.

    Spreadsheets of many countries write `1,5;2,25`, of which commas make numbers, too: wrong ones.
    """
    line = own.join(entries)
    for sign, name in ((";", "semicolons"), ("\t", "tabulators"), (" ", "blanks"), (",", "commas")):
        pieces = [piece.strip() for piece in line.split(sign) if piece.strip()]
        numbers = [each for each in pieces if _is_number(each.replace(",", "."))]
        known = sum(map(_is_number, entries))
        # Blanks stand in dates and names, too.
        more = len(numbers) - known if sign != " " or not known else -1
        if (
            sign != own
            and len(pieces) > 1
            and (more > 0 or (more == 0 and "," in "".join(numbers)))
        ):
            return name
    return ""


def _checked(
    path: Path, head: Sequence[str], body: Sequence[tuple[int, list[str]]], kept: Sequence[int]
) -> Iterator[list[float]]:
    for line, row in body:
        if any(row[len(head) :]):
            raise DataError(
                f"{len(row)} entries stand here, and {len(head)} in the first row",
                where=f"{path}:{line}",
                expected="a comma between entries (in a .tsv a tabulator), and in none of them",
            )
        for place in kept:
            if place >= len(row) or not _is_number(row[place]):
                raise DataError(
                    f"column `{head[place]}` has no number here",
                    where=f"{path}:{line}",
                    expected="a number of 32 bits in each row of a column that begins with one",
                )
        yield [float(row[place]) for place in kept]


def _check_order(path: Path, name: str, column: Sequence[tuple[int, list[str]]]) -> None:
    """Refuses dates that go back: sequences would run the wrong way, or across times, and the last
    rows, which are tested on, would not be the latest. A column that holds no dates says nothing.
    """
    back: tuple[str, str] | None = None
    dates: list[datetime] = []
    for line, entry in column:
        try:
            date = datetime.fromisoformat("".join(entry).strip())
            if back is None and dates and date < dates[-1]:
                back = f"{path}:{line}", f"{date} after {dates[-1]}"
        except (ValueError, TypeError):
            return
        dates.append(date)
    if back is not None:
        raise DataError(
            f"the dates of column `{name}` go back: {back[1]}",
            where=back[0],
            expected="rows in the order of time, the earliest first",
        )


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) <= _LARGEST
    except ValueError:
        return False
