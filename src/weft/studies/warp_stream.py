"""Feeds a trained warp model a sequence value by value, and draws its prediction as it goes.

Between two values only the state is kept, one vector of weights (or of modes) a sequence.
"""

# d channels, T steps

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weft.errors import DataError, UsageError
from weft.papers import script

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weft.families.warp.model import WarpModel

SHADES = " .:-=+*#%@"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study stream RUN [--sequence I | < data]`; returns the exit code.

    After each row of a picture, or each step of another sequence, the root network is queried at
    all T places; the values read so far are drawn as they are, the others as predicted.
    """
    return script.run(_stream, argv)


def _stream(words: list[str]) -> None:
    parser = argparse.ArgumentParser("weft study stream", description=__doc__)
    parser.add_argument("run", type=Path, help="directory of a run with read=query")
    parser.add_argument(
        "--sequence",
        type=script.at_least(0),
        metavar="I",
        help="of the test set; lines of standard input if unset",
    )
    flags = script.parsed(parser, words)

    from weft.families.warp.model import WarpModel
    from weft.families.warp.task import WarpTask
    from weft.run.named import named

    run = named(flags.run).load()
    task, model = run.parts.task, run.model
    if not isinstance(task, WarpTask) or not isinstance(model, WarpModel):
        raise UsageError(f"{flags.run} holds no weight-space model")
    waits = task.config.relative_period is not None or task.config.patch is not None
    if task.config.read != "query" or waits:
        raise UsageError(
            f"{flags.run} was not trained to be asked at any moment",
            expected="a run with read=query, without relative_period and patch",
        )
    spec = task.spec()
    data: Iterable[NDArray[np.float32]] = _typed(spec.channels)
    if flags.sequence is not None:
        data = _of(run.data.test, flags.sequence)
    row = 1 if spec.canvas is None else spec.canvas[1]
    for count, values in enumerate(told(model.eval(), data, spec.steps), start=1):
        if count % row == 0:
            print(drawn(values, count, spec.canvas), flush=True)


def told(
    model: WarpModel, data: Iterable[NDArray[np.float32]], steps: int
) -> Iterator[NDArray[np.float32]]:
    """Yields after each value all T values, (T, d): those read, then those predicted.

    Args:
        model: whose root network is queried (read=query).
        data: values (d,), at most T of them.
        steps: T.
    """
    import numpy as np
    import torch

    from weft.families.warp.score.streaming import Stream

    stream, place = Stream(model), torch.arange(steps)
    read: list[NDArray[np.float32]] = []
    for datum in data:
        if len(read) == steps:
            raise DataError(f"the model knows of {steps} steps, and more came")
        read.append(datum)
        stream.step(torch.from_numpy(datum)[None])
        with torch.no_grad():
            mean = model.query(stream.theta, place).mean
        assert mean is not None
        values = mean[0].numpy().copy()
        values[: len(read)] = np.stack(read)
        yield values


def drawn(values: NDArray[np.float32], count: int, canvas: tuple[int, int] | None) -> str:
    """A picture in characters, with a mark after the last pixel read; or a line of numbers.

    Args:
        values: (T, d).
        count: number of values read so far.
        canvas: (height, width) of the picture if the steps are pixels; None for other sequences.
    """
    if canvas is None:
        now = " ".join(f"{value:8.3f}" for value in values[count - 1])
        end = " ".join(f"{value:8.3f}" for value in values[-1])
        return f"step {count:4}  read {now}   told of the last step {end}"
    height, width = canvas
    light = (values.mean(-1).clip(-1, 1) + 1) / 2
    shades = [SHADES[round(float(value) * (len(SHADES) - 1))] * 2 for value in light]
    rows = ["".join(shades[y * width : (y + 1) * width]) for y in range(height)]
    rows[count // width - 1] += " <"
    return "\n".join(rows) + "\n"


def _typed(channels: int) -> Iterator[NDArray[np.float32]]:
    """The values (d,) in the lines of standard input, which must be scaled as the model's data."""
    import numpy as np

    for number, line in enumerate(sys.stdin, start=1):
        try:
            values = np.array([float(word) for word in line.replace(",", " ").split()], np.float32)
        except ValueError:
            raise DataError(
                f"`{line.strip()}` is no row of numbers", where=f"line {number}"
            ) from None
        if len(values) != channels:
            raise DataError(
                f"a row of {len(values)} numbers", where=f"line {number}", expected=f"{channels}"
            )
        yield values


def _of(source: object, index: int) -> Iterator[NDArray[np.float32]]:
    import torch

    from weft.families.warp.sets.source import SeriesSource

    if not isinstance(source, SeriesSource) or not 0 <= index < len(source):
        raise UsageError(f"the run has no test sequence {index}")
    x = source.take(torch.tensor([index]), torch.Generator())["x"][0]
    yield from x.cpu().numpy()
