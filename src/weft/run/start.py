"""Starts a new run, or says what it would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from weft.config.base import FamilyConfig
from weft.config.load import Resolved
from weft.config.paths import as_name
from weft.data.own import settled
from weft.engine.device import using_threads
from weft.engine.isolation import isolated
from weft.engine.parts import Parts
from weft.engine.profile import mean_flops as counted
from weft.engine.profile import resolved as derived
from weft.engine.ranks import Ranks, joined
from weft.engine.step import Stepper
from weft.engine.threads import Threads, choose
from weft.families import find
from weft.run.directory import RunDirectory, create, free
from weft.run.environment import environment
from weft.run.model import Trained
from weft.run.parents import find_parents, recorded
from weft.run.recorder import Followers
from weft.run.session import Session
from weft.shell import words_of
from weft.task.parent import Parent


@isolated()
def dry_run(asked: Resolved) -> dict[str, Any]:
    """What a run would cost; nothing is trained or written.

    Returns: the values of resolved.yaml, `parents` if it starts from earlier runs, and `notes`, the
        lines of `Task.notes`.

    Raises:
        WeftError: if the run could not start.
    """
    config = settled(asked.config)
    free(config.run)
    parts = Parts.of(find(config.family), config)
    parents = find_parents(config, asked.origin)
    with using_threads(parts.threads):
        model = parts.model(parents)
        notes = parts.task.notes(model, parts.spec)
    return derived(parts, model) | recorded(parents) | {"notes": list(notes)}


@isolated()
def mean_flops(asked: Resolved) -> float:
    """Mean FLOPs of a step of a run; nothing is trained or written.

    Raises:
        WeftError: if the run could not start.
    """
    config = settled(asked.config)
    return counted(Parts.of(find(config.family), config))


@isolated()
def start(asked: Resolved, followers: Followers) -> Trained | None:
    """Trains a new run.

    Args:
        asked: the config and where it came from.
        followers: who follows the run.

    Returns:
        The trained model; None on all processes but the first of several.

    Raises:
        WeftError: before anything is written if the request cannot be carried out.
        Interrupted: if a signal stopped the run after its state was saved.
    """
    with joined(asked.config.engine.timeout) as ranks:
        # The session is bound to no name: what it holds must be freed before `joined` ends.
        return _session(asked, followers, ranks).run()


def _session(asked: Resolved, followers: Followers, ranks: Ranks) -> Session:
    """Builds a new run. Whatever can fail comes first; the run's directory is made last."""
    config = settled(asked.config)
    parts = Parts.of(find(config.family), config, ranks)
    parents = find_parents(config, asked.origin)
    data = parts.data()
    stepper = Stepper(parts, parts.model(parents, data))
    threads = choose(parts, stepper.model, data)
    parts = replace(parts, threads=threads.number)
    directory = None
    if ranks.first:
        directory = written(asked, config, described(parts, stepper.model, threads), parents)
    return Session(parts, stepper, data, directory, asked.recipe, followers, threads.told)


@dataclass(frozen=True)
class Described:
    """What is known of a run before it trains: `values` for resolved.yaml, `env` for env.json."""

    values: dict[str, Any]
    env: dict[str, Any]


def described(parts: Parts, model: nn.Module, threads: Threads) -> Described:
    """The run's lengths, sizes and costs, and the environment it runs in."""
    env = environment(parts.device)
    env["threads"] = threads.number or env["threads"]
    return Described(derived(parts, model) | threads.plain(), env)


def written(
    asked: Resolved, config: FamilyConfig, known: Described, parents: Mapping[str, Parent]
) -> RunDirectory:
    """Makes and locks the directory of a new run, and writes all that is known before training."""
    directory = create(config.run, config.family, name_for(asked.recipe))
    directory.write_yaml("config", config.plain(), f"weft train {asked.recipe}")
    directory.write_yaml("resolved", known.values | recorded(parents))
    directory.write_json("env", known.env)
    for notice in (*asked.notices, *map(str, parents.values())):
        directory.note(notice)
    return directory


def name_for(recipe: str) -> str:
    """The default name of a run: the preset of its last recipe, or the stem of its last file."""
    last = words_of(recipe)[-1]
    file = last.endswith((".yaml", ".yml", ".json"))
    return as_name(Path(last).stem if file else last.split("/")[-1])
