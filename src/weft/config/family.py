"""`Family`: what is known of a family before it trains, without torch; presets and comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from weft.config.base import FamilyConfig
from weft.config.kinds import Kind
from weft.config.plugins import resolve as resolve
from weft.config.yaml import KeyPath
from weft.errors import WeftError

Parallel = Literal["items", "streams", "none"]
Converter = Callable[[Any], Any]


@dataclass(frozen=True)
class Preset:
    """A named starting point: a file of the family, or a row of a table it ships.

    Attributes:
        values: the values it sets, nested.
        lines: line of each key in its file; empty for a row of a table.
        about: what it is, in one line; for a file the first line of its opening comment.
    """

    values: Mapping[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    about: str = ""


@dataclass(frozen=True)
class Stacking:
    """How models of a family, of one shape, train as one: `weft sweep … --stack`.

    Args:
        build: "module:function" that makes a `weft.task.stack.Stack` of the members' models, their
            tasks, and the training source of each; it raises `UsageError` for what it cannot stack.
        vary: options in which members may differ, beside seed, learning rate and decay. Neither
            the shapes of models nor data may depend on them.
    """

    build: str
    vary: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arm:
    """One way to train on from a common base run.

    Attributes:
        words: `key=value` words beyond the recipe that all arms share.
        control: whether it is a control, which the other arms must beat.
        rates: its learning rates, if they are fixed and not searched for.
    """

    words: tuple[str, ...]
    control: bool = False
    rates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What `weft study controls` needs to know of a family.

    Attributes:
        arms: name -> arm, controls included.
        recipe: words that all arms share, unless the command line gives others.
        base: words of the base run.
        key: the config field that names the base run.
        loss: metric that the arms are judged by; lower is better.
        before: metric of an arm that holds this loss of the base alone, on the arms' data.
        trivial: metric of an arm that holds the loss of guessing by frequencies alone; a base that
            has learnt from the data must beat it.
        shown: further metric -> heading of its column in the table.
    """

    arms: Mapping[str, Arm]
    recipe: tuple[str, ...]
    base: tuple[str, ...]
    key: str = "base"
    loss: str = "loss"
    before: str = "base_loss"
    trivial: str = "unigram"
    shown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """A family as the registry, the config loader and the command line see it; imports no torch.

    Args:
        name: the word users type, e.g. `cet`.
        summary: one sentence for `weft recipes`.
        config: the family's config class.
        task: "module:Class" of its `Task`, imported when something trains; or "module:function" of
            the config that gives the class, where configs ask for tasks that share little.
        default: preset used when a recipe names none, e.g. `digits`.
        parallel: what torchrun and accumulation may split along dimension 0 of an index batch:
            `items`, `streams` (whole streams in time), or `none`; or a function of the config
            that says so, where some of the family's models can be split and others cannot.
        table: "module:function" giving further presets by name, for families that ship a table of
            them rather than a file each; or "".
        bench: "module:function" giving the benchmark cases, or "" if there are none.
        comparison: "module:function" that draws many runs together, for the page of a sweep: from
            (config, metrics) of finished runs it yields (name, caption, Figure); or "". Metrics
            are those of the last evaluation, and the last of every scalar that was logged.
        compared: arms and controls that `weft study controls` trains on one budget, if any.
        aliases: old key -> (new key, converter of the value).
        kinds: section -> tag -> kinds this family adds to the engine's own, as in
            `{"optim": {"lars": Kind(Lars, "module:lars")}}`.
        studies: name -> "module:main" of a study that `weft study NAME` runs.
        stack: how models train as one, or None where they do not.
        verbs: command -> "module:function" of a function with typer's annotations that becomes
            `weft COMMAND`: a word, or `data` and a word. Its module imports nothing heavy, for
            `weft --help` shows the first line of the function's docstring.
        exports: NAME -> "module:function" of (run, checkpoint, file) that writes the file for
            `weft export RUN FILE --to NAME`, beside the forms that weft writes for every family.
    """

    name: str
    summary: str
    config: type[FamilyConfig]
    task: str
    default: str
    parallel: Parallel | Callable[[Any], Parallel] = "items"
    table: str = ""
    bench: str = ""
    comparison: str = ""
    compared: Comparison | None = None
    aliases: Mapping[str, tuple[str, Converter]] = field(default_factory=dict)
    kinds: Mapping[str, Mapping[str, Kind]] = field(default_factory=dict)
    studies: Mapping[str, str] = field(default_factory=dict)
    stack: Stacking | None = None
    verbs: Mapping[str, str] = field(default_factory=dict)
    exports: Mapping[str, str] = field(default_factory=dict)

    def split(self, config: FamilyConfig) -> Parallel:
        """What several processes may split in a run of this config."""
        return self.parallel(config) if callable(self.parallel) else self.parallel

    @property
    def home(self) -> Path:
        """The family's folder: presets/, claims.yaml and README.md lie in it."""
        module = import_module(self.config.__module__)
        return Path(str(module.__file__)).parent

    @property
    def generated(self) -> Mapping[str, Preset]:
        """Presets that are rows of a table, by name."""
        presets: Mapping[str, Preset] = (
            resolve(self.table, f"presets of family `{self.name}`")() if self.table else {}
        )
        return presets


class Registry(Protocol):
    """Where families are found by name."""

    def names(self) -> list[str]:
        """The names of all families, including those that do not load."""
        ...

    def survey(self) -> tuple[dict[str, dict[str, Preset]], dict[str, WeftError]]:
        """By family: the presets of those that load, and the errors of the others."""
        ...

    def find(self, name: str) -> Family:
        """The family of this name."""
        ...
