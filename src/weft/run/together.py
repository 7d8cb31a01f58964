"""Trains runs as one stack; each keeps its own directory, checkpoints and end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weft.config.family import Stacking, resolve
from weft.config.layer import dotted
from weft.config.load import Resolved
from weft.data.own import settled
from weft.data.source import Splits
from weft.engine.checkpoint import State, Store
from weft.engine.identity import check
from weft.engine.isolation import isolated
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.engine.threads import Threads
from weft.engine.together import Member, Together, refuse_unstackable, train_together
from weft.errors import UsageError, asked_by
from weft.families import find
from weft.run.directory import RunDirectory
from weft.run.model import Trained
from weft.run.parents import find_parents, kept_parents
from weft.run.record import HEARTBEAT
from weft.run.recorder import Followers, store_of
from weft.run.registry import Run, open_run
from weft.run.session import Session, Work
from weft.run.start import described, written
from weft.task.parent import Parent

_ALWAYS = ("seed", "optim.lr", "optim.weight_decay", "run.dir")
"""Options in which the members of any stack may differ."""

_FLAG, _HINT = "--stack", "the same sweep without --stack trains its runs one by one"


@dataclass(frozen=True)
class Ending:
    """How a member ended: the `trained` model, or the `error` that ended it."""

    trained: Trained | None = None
    error: BaseException | None = None


@dataclass
class _Prepared:
    """A member before anything is written.

    Attributes:
        asked: its config.
        parts, data, stepper: as for any run.
        parents: earlier runs it starts from.
        directory: locked, if the run was begun before; else None.
        state: the checkpoint it resumes from, if any.
    """

    asked: Resolved
    parts: Parts
    data: Splits[Any]
    stepper: Stepper
    parents: dict[str, Parent]
    directory: RunDirectory | None
    state: State | None


def stackable(asked: Sequence[Resolved]) -> Stacking:
    """How the family of these configs stacks its models.

    Raises:
        UsageError: if it does not; if the configs differ in an option that members must share; or
            if they use one that a stack does not support.
    """
    family = find(asked[0].config.family)
    if family.stack is None:
        says = f"models of family `{family.name}` are not stacked"
        raise UsageError(says, where=_FLAG, hint=_HINT)
    vary = (*_ALWAYS, *family.stack.vary)
    configs = [dotted(each.config.plain()) for each in asked]
    differing = [
        key
        for key, value in configs[0].items()
        if key not in vary and any(config.get(key, value) != value for config in configs)
    ]
    differing += sorted({key for config in configs for key in config} - set(configs[0]) - set(vary))
    if differing:
        raise UsageError(
            f"members of a stack cannot differ in {', '.join(f'`{key}`' for key in differing)}",
            where=_FLAG,
            expected=f"axes among {', '.join((*_ALWAYS[:-1], *family.stack.vary))}",
            hint=_HINT,
        )
    with asked_by(_FLAG, _HINT):
        refuse_unstackable(asked[0].config)
    return family.stack


@isolated()
def start_together(asked: Sequence[Resolved]) -> list[Ending]:
    """Trains new and interrupted runs as one stack to their ends.

    Runs that have begun resume from the newest step that all of them have saved, or from step 0 if
    there is none. The numbers are those of separate runs, up to rounding.

    Args:
        asked: their configs, each with its own `run.dir`.

    Returns: how each ended, in the order of `asked`; a signal ends all of them as `Interrupted`.

    Raises:
        UsageError: before anything is written, if they cannot be stacked.
    """
    stacking = stackable(asked)
    # Members of equal rate and decay become neighbours: they form one parameter group.
    order = sorted(range(len(asked)), key=lambda number: _rates(asked[number]))
    begun = [_begun(asked[number]) for number in order]
    directories = [None if run is None else RunDirectory(run.path) for run in begun]
    threads = Threads(asked[0].config.engine.threads)
    try:
        for directory in filter(None, directories):
            directory.lock()
        step = _common_step(directories)
        loaded: dict[int, tuple[Parts, Splits[Any]]] = {}
        members = [
            _prepared(asked[number], threads, run, directory, step, loaded)
            for number, run, directory in zip(order, begun, directories, strict=True)
        ]
        with asked_by(_FLAG, _HINT):
            stack = resolve(stacking.build)(
                [member.stepper.model for member in members],
                [member.parts.task for member in members],
                [member.data.train for member in members],
            )
        # All members have the same shapes, and so the same cost.
        known = described(members[0].parts, members[0].stepper.model, threads)
        for member in members:
            if member.directory is None:
                config = member.parts.config
                member.directory = written(member.asked, config, known, member.parents)
    except BaseException:
        for directory in filter(None, directories):
            directory.unlock()
        raise
    endings = _trained(members, stack)
    by_place = dict(zip(order, endings, strict=True))
    return [by_place[number] for number in range(len(asked))]


def _trained(members: Sequence[_Prepared], stack: Any) -> list[Ending]:
    """Trains the members, and records the end of each one."""
    heartbeat = HEARTBEAT * len(members)
    contexts = [
        Session(
            member.parts, member.stepper, member.data, member.directory,
            member.asked.recipe, Followers(show=False), f"one of {len(members)} in a stack",
        ).recording(member.state, heartbeat)
        for member in members
    ]  # fmt: skip
    works: list[Work] = []
    taking: list[Member] = []
    failure: BaseException | None = None
    outcome = ""
    try:
        for context in contexts:
            works.append(context.__enter__())
        taking += [Member(work.trainer, work.progress) for work in works]
        outcome = train_together(Together(stack, taking))
    # Whatever it is, it goes into each member's record before it is raised again.
    except BaseException as error:
        failure = error
    endings = []
    for number, work in enumerate(works):
        work.outcome = outcome
        ended = failure or (taking[number].failure if taking else None)
        # Closed first: that sets `work.trained`.
        reported = _closed(contexts[number], ended)
        endings.append(Ending(work.trained, reported))
    for member in members[len(works) :]:
        assert member.directory is not None
        member.directory.unlock()
    if failure is not None and not isinstance(failure, KeyboardInterrupt | SystemExit):
        raise failure
    return endings


def _closed(
    context: AbstractContextManager[Work], error: BaseException | None
) -> BaseException | None:
    """Leaves a member's `recording` with the error it ended in; returns the error to report."""
    try:
        if error is None:
            context.__exit__(None, None, None)
        else:
            context.__exit__(type(error), error, error.__traceback__)
            return error
    except BaseException as raised:
        return raised
    return None


def _prepared(
    asked: Resolved,
    threads: Threads,
    begun: Run | None,
    directory: RunDirectory | None,
    step: int,
    loaded: dict[int, tuple[Parts, Splits[Any]]],
) -> _Prepared:
    """Builds a member, with its initial weights or those of the step that all resume from."""
    config = settled(asked.config)
    parts = replace(Parts.of(find(config.family), config), threads=threads.number)
    if config.seed not in loaded:
        loaded[config.seed] = parts, parts.data()
    first, data = loaded[config.seed]
    # Members of one seed share their data, and so the record of what was read.
    parts.files.update(first.files)
    parts.remarks[:] = first.remarks
    state = None
    parents: dict[str, Parent] = {}
    if directory is not None:
        store = store_of(parts, directory, directory.note)
        store.forget(step)
        if step:
            state = store.load(str(step))
            check(state.get("identity", {}), parts.identity(), (), directory.note)
    if state is None:
        parents = kept_parents(begun) if begun else find_parents(config, asked.origin)
    stepper = Stepper(parts, parts.model(parents, None if state else data))
    if state is not None:
        stepper.load(state)
    return _Prepared(asked, parts, data, stepper, parents, directory, state)


def _begun(asked: Resolved) -> Run | None:
    """The run in a member's directory, if one has begun there."""
    path = Path(str(asked.config.run.dir))
    return open_run(path) if (path / "status.json").is_file() else None


def _common_step(directories: Sequence[RunDirectory | None]) -> int:
    """The newest step that all members have saved; 0 if there is none."""
    saved = [
        {0} if directory is None else {0, *Store(directory.checkpoints).steps()}
        for directory in directories
    ]
    return max(set.intersection(*saved))


def _rates(asked: Resolved) -> tuple[float, float]:
    optim = asked.config.optim
    return getattr(optim, "lr", 0.0), getattr(optim, "weight_decay", 0.0)
