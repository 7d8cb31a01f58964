"""Operations, traffic and memory of each form of the recurrence, forward and backward."""

# N batch, T steps, m drive channels, d data channels, D weights, C = 2^c or steps of a chunk

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from weft.families.warp.forms.cost import Machine, Problem, Work

FLOAT = 4
CHUNK = 2**25
"""Bytes of the weights of a chunk of steps, which are in memory at the same time."""
MEMORY = 2**32
"""Bytes above which a slower form that stores less is preferred."""
DECODE_CALLS = 40
"""Calls of a step that evaluates an MLP root, with its hand-written backward pass."""
GRAPH_CALLS = 120
"""Calls of a step of the literal loop under autograd."""


@dataclass(frozen=True)
class Estimate:
    """A form with its free numbers, and its cost.

    Attributes:
        form: its name.
        doublings: c, if it has giant steps of 2^c.
        chunk: number of steps whose weights are in memory at the same time, if it has chunks.
        work: all its calls.
        stored: bytes between forward and backward pass, with the largest temporaries.
    """

    form: str
    doublings: int
    chunk: int
    work: tuple[Work, ...]
    stored: float

    @property
    def flops(self) -> float:
        """Operations in all."""
        return sum(part.flops for part in self.work)

    @property
    def bytes(self) -> float:
        """Bytes moved in all."""
        return sum(part.bytes for part in self.work)

    def seconds(self, machine: Machine) -> float:
        """Time on `machine`."""
        return sum(part.seconds(machine) for part in self.work)

    def rank(self, machine: Machine) -> tuple[float, float]:
        """A key for sorting, smaller is better: memory beyond `MEMORY`, then time."""
        return max(0.0, self.stored - MEMORY), self.seconds(machine)


def estimates(problem: Problem, form: str) -> Iterator[Estimate]:
    """The costs of `form` for every choice of its free numbers.

    Args:
        problem: shapes and rule.
        form: one that can compute it, or `loop`.
    """
    levels = range(min(12, max(0, problem.steps - 1).bit_length()) + 1)
    if problem.closed and form in ("last_state", "history"):
        levels = range(1)
    if form == "loop":
        yield _loop(problem)
    elif form == "last_state":
        yield from (_last_state(problem, level) for level in levels)
    elif form == "chunked":
        yield from (_chunked(problem, level) for level in levels)
    elif form == "history":
        yield from (
            (_fed_history if problem.feedback else _history)(problem, level) for level in levels
        )
    elif form == "scan":
        yield _factors(problem) if problem.rank else _doubling(problem)
    else:
        yield _fed_steps(problem) if problem.feedback else _steps(problem)


def _moves(p: Problem, calls: float, rows: float) -> Work:
    """`calls` products of A with `rows` rows each."""
    traffic = p.numbers + 3 * rows * p.size
    return Work(calls, calls * rows * p.product, calls * FLOAT * traffic)


def _product(calls: float, rows: float, inner: float, columns: float) -> Work:
    """`calls` products (rows x inner) (inner x columns)."""
    traffic = rows * inner + inner * columns + rows * columns
    return Work(calls, 2 * calls * rows * inner * columns, FLOAT * calls * traffic)


def _reading(p: Problem, chunk: int) -> list[Work]:
    """Evaluating the root at all steps in chunks, again in the backward pass, and its gradient."""
    if p.last:
        return []
    chunks = math.ceil(p.steps / chunk)
    rows = p.batch * p.steps
    return [Work(DECODE_CALLS * chunks, 4 * rows * p.reading, 8 * FLOAT * rows * p.size)]


def _kernel(p: Problem, columns: int, level: int) -> list[Work]:
    """`kernel_of` T lags with its gradient."""
    if p.closed:
        numbers = p.steps * columns * p.size
        return [Work(24, 16 * numbers, 12 * FLOAT * numbers)]
    giants = math.ceil(p.steps / 2**level)
    baby = (2**level - 1) if level else 0
    return [
        *[Work(level, level * p.square, level * 3 * FLOAT * p.numbers)] * (level > 0),
        _moves(p, 2 * giants, columns),
        *[_moves(p, 3 * baby, giants * columns)] * (level > 0),
        _moves(p, 1, p.steps * columns),
    ]


def _last_state(p: Problem, level: int) -> Estimate:
    columns = p.drives + 1
    work = [*_kernel(p, columns, level), _product(2, p.batch, p.steps * columns, p.size)]
    kernel = FLOAT * p.steps * columns * p.size
    kept = p.numbers * (1 + (level > 0))
    return Estimate("last_state", level, 1, tuple(work), 3 * kernel + FLOAT * kept)


def _chunked(p: Problem, level: int) -> Estimate:
    size = 2**level
    chunks = math.ceil(p.steps / size)
    work = [
        Work(3 * level, 3 * level * p.square, 9 * level * FLOAT * p.numbers),
        _moves(p, 3 * level, size * p.drives / max(1, level)),
        _product(2, p.batch * chunks, size * p.drives, p.size),
        _moves(p, 3 * level, p.batch),
        _moves(p, 2 * chunks, p.batch),
        _moves(p, 1, p.batch * chunks),
    ]
    states = 3 * p.batch * chunks * p.size
    stored = states + (2 * level + 1) * p.numbers + 2 * p.drives * (size * p.size)
    return Estimate("chunked", level, 1, tuple(work), FLOAT * stored)


def _steps(p: Problem) -> Estimate:
    chunk = max(1, min(round((p.steps / 4) ** 0.5), _fitting(p, 1)))
    chunks = math.ceil(p.steps / chunk)
    rows = p.batch * chunk
    work = [
        _moves(p, 3 * p.steps, p.batch),
        _moves(p, chunks, rows),
        _product(3 * chunks, rows, p.drives, p.size),
        Work(12 * p.steps, 0, 4 * FLOAT * p.batch * p.steps * p.size),
        *_reading(p, chunk),
    ]
    stored = FLOAT * p.batch * p.size * (chunks + 5 * chunk)
    return Estimate("sequential", 0, chunk, tuple(work), stored)


def _history(p: Problem, level: int) -> Estimate:
    columns = p.drives + (not p.second_order)
    chunk = _fitting(p, p.steps * p.drives / p.size)
    chunks = math.ceil(p.steps / chunk)
    inner = p.steps * p.drives / 2
    work = [
        *_kernel(p, columns, level),
        _product(3 * chunks, p.batch * chunk, inner, p.size),
        *_reading(p, chunk),
    ]
    kernel = p.steps * columns * p.size
    chunked = p.batch * chunk * (3 * p.size + 2 * p.steps * p.drives)
    return Estimate("history", level, chunk, tuple(work), FLOAT * (4 * kernel + chunked))


def _doubling(p: Problem) -> Estimate:
    chunk = _fitting(p, 1)
    chunks, passes = math.ceil(p.steps / chunk), max(1, (chunk - 1).bit_length())
    rows = p.batch * chunk
    work = [
        Work(8 * passes, 3 * passes * p.square, 9 * passes * FLOAT * p.numbers),
        Work(12 * chunks * passes, 4 * passes * p.batch * p.steps * p.product,
             24 * FLOAT * passes * p.batch * p.steps * p.size),
        _product(3 * chunks, rows, p.drives, p.size),
        *_reading(p, chunk),
    ]  # fmt: skip
    stored = FLOAT * p.size * (p.batch * chunks + rows * (4 + 3 * passes))
    return Estimate("scan", 0, chunk, tuple(work), stored)


def _factors(p: Problem) -> Estimate:
    chunk = _fitting(p, 0)
    chunks, width = math.ceil(p.steps / chunk), p.rank + p.drives
    rows = p.batch * (1 if p.last else chunk)
    work = [
        _product(2 * p.steps, p.batch, p.rank, p.rank),
        _product(3 * (1 if p.last else chunks), rows, width, p.size),
        *_reading(p, chunk),
    ]
    stored = FLOAT * (6 * p.batch * p.steps * width + 3 * rows * p.size)
    return Estimate("scan", 0, chunk, tuple(work), stored)


def _fed_steps(p: Problem) -> Estimate:
    """F4: weights of all steps are stored if they fit into 2^28 bytes, else computed again."""
    every = FLOAT * p.batch * p.steps * p.size
    again = every > 2**28
    rows = p.batch * p.steps
    work = [
        _moves(p, (2 + again) * p.steps, p.batch),
        _moves(p, max(1, rows // 2048), min(rows, 2048)),
        _product(3 * p.steps, p.batch, p.drives, p.size),
        Work(DECODE_CALLS * p.steps, 4 * rows * p.reading, 8 * FLOAT * rows * p.size),
    ]
    kept = every / max(1, p.steps) * 3 * p.steps**0.5 if again else every
    return Estimate("sequential", 0, 1, tuple(work), kept + FLOAT * 2 * p.numbers)


def _fed_history(p: Problem, level: int) -> Estimate:
    """F3: the kernel of the drives and the paths of the starts; one step's weights."""
    columns = p.drives + (0 if p.second_order else p.starts)
    kernel = p.steps * p.size * columns
    rows, ticks = p.batch * p.steps, p.drives - p.channels
    work = [
        *_kernel(p, columns, level),
        *[_product(3, p.steps, p.steps * ticks, p.size)] * (ticks > 0),
        _product(3 * p.steps, p.batch, p.steps * p.channels / 2, p.size),
        _product(max(1, rows // 1024), p.steps * p.channels / 2, min(rows, 1024), p.size),
        Work(DECODE_CALLS * p.steps, 4 * rows * p.reading, 8 * FLOAT * rows * p.size),
    ]
    return Estimate("history", level, 1, tuple(work), FLOAT * (4 * kernel + 2**10 * p.size))


def _loop(p: Problem) -> Estimate:
    """The literal loop: the graph has all weights, and dA is written at every step."""
    rows = p.batch * p.steps
    work = [
        _moves(p, 3 * p.steps, p.batch),
        Work(p.steps, 0, 3 * FLOAT * p.steps * p.numbers),
        _product(3 * p.steps, p.batch, p.drives, p.size),
        Work(GRAPH_CALLS * p.steps, 0 if p.last else 3 * rows * p.reading,
             (6 if p.last else 30) * FLOAT * rows * p.size),
    ]  # fmt: skip
    return Estimate("loop", 0, 1, tuple(work), FLOAT * (2 * rows * p.size + 2 * p.numbers))


def _fitting(p: Problem, extra: float) -> int:
    """Number of steps whose weights, times 1 + `extra`, fit into a chunk."""
    each = FLOAT * p.batch * ((p.span or p.size) + p.size * extra)
    return max(1, min(p.steps, int(CHUNK / each)))
