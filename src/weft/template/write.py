"""Writes a new family from the template, into this repository or as a package of its own."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from weft import families
from weft.atomic import write_text
from weft.errors import UsageError

TEMPLATE = Path(__file__).parent
WEFT = TEMPLATE.parent
_NAME = "newcomer"
_MEANT = {
    "all": "every family, as in `weft reproduce all`",
    "loop": "the training loop, as in `weft bench loop`",
    "reproduce": "the folder of papers' runs below runs/",
    "sweeps": "the folder of sweeps below runs/",
}
"""Words that stand where families' names do."""

_LONGEST = 30


@dataclass(frozen=True)
class Written:
    """A family that was written.

    Attributes:
        home: its folder, or that of the project that holds it.
        files: all that was written or changed.
        before: command to run once before the others, or "".
        commands: verb (train, resume, sweep, test) -> command.
        after: what is left to do by hand.
    """

    home: Path
    files: tuple[Path, ...]
    before: str
    commands: dict[str, str]
    after: tuple[str, ...]


def write_outside(name: str, here: Path) -> Written:
    """Writes the project `here`/NAME with the package weft_NAME, found by its entry point.

    Raises:
        UsageError: if the name is not allowed, or its place is taken; nothing is written then.
    """
    _check(name)
    package, home = f"weft_{name}", here / name
    if find_spec(package) is not None:
        raise UsageError(
            f"there is a package `{package}` already",
            expected="a name that is free",
            hint=f"python -c 'import {package}; print({package}.__file__)' says where",
        )
    texts = {home / package / path: text for path, text in _package(name, package)}
    for path, text in _texts(name, package, "tests"):
        texts[home / "tests" / path] = text
    project = (TEMPLATE / "project.toml").read_text()
    texts[home / "pyproject.toml"] = _named(project, name, package)
    texts[home / "README.md"] = texts.pop(home / package / "README.md")
    _write(home, texts)
    return Written(
        home,
        tuple(texts),
        f"cd {name} && pip install -e '.[dev]'",
        _commands(name, "python -m pytest"),
        (),
    )


def write_inside(name: str) -> Written:
    """Writes the folder families/NAME, its oracle test, and its line in the registry.

    Raises:
        UsageError: if the name is not allowed, its place is taken, or weft is not a checkout of its
            repository; nothing is written then.
    """
    _check(name)
    root, registry = WEFT.parents[1], WEFT / "families" / "__init__.py"
    if WEFT.parent.name != "src" or not (root / "tests").is_dir():
        raise UsageError(
            "weft is installed here, not checked out",
            where=str(WEFT),
            expected="a checkout of its repository",
            hint=f"`weft new-family {name} --outside` writes a package of its own",
        )
    package, home = f"weft.families.{name}", WEFT / "families" / name
    texts = {home / path: text for path, text in _package(name, package)}
    # The contract is run on every family of the registry, so the oracle test is all there is.
    oracle = root / "tests" / "oracle" / f"test_{name}_reference.py"
    texts[oracle] = dict(_texts(name, package, "tests"))[Path("test_reference.py")]
    _write(home, texts)
    write_text(registry, _registered(registry.read_text(), name))
    return Written(
        home,
        (*texts, registry),
        "",
        _commands(name, f"python -m pytest tests/contract {oracle.relative_to(root)} -k {name}"),
        (
            f"python -m tests.golden.record {name}/small",
            f"a line for `{name}` in the table of README.md",
        ),
    )


def _check(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        proposal = re.sub(r"\W+", "_", name.strip().lower()).strip("_")
        usable = re.fullmatch(r"[a-z][a-z0-9_]*", proposal) and not keyword.iskeyword(proposal)
        raise UsageError(
            f"`{name}` cannot be the name of a family",
            expected="lower-case letters, digits and underscores, a letter first, as `my_model`",
            hint=f"weft new-family {proposal}" if usable else "",
        )
    if name in _MEANT:
        raise UsageError(
            f"`{name}` means something else: {_MEANT[name]}", expected="another name for a family"
        )
    if len(name) > _LONGEST:
        raise UsageError(
            f"`{name}` is too long for a name that is typed often",
            expected=f"at most {_LONGEST} letters",
        )
    if name in families.names():
        raise UsageError(
            f"there is a family `{name}` already",
            expected=f"none of {', '.join(families.names())}",
            hint=f"`weft recipes {name}` lists what it trains",
        )


def _package(name: str, package: str) -> Iterator[tuple[Path, str]]:
    return _texts(name, package, _NAME)


def _texts(name: str, package: str, folder: str) -> Iterator[tuple[Path, str]]:
    """The files below a folder of the template, their paths relative to it, in the new name."""
    for path in sorted((TEMPLATE / folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(TEMPLATE / folder), _named(path.read_text(), name, package)


def _named(text: str, name: str, package: str) -> str:
    """The template's text about the family called `name`."""
    text = text.replace(f"weft.template.{_NAME}", package).replace(f"weft_{_NAME}", package)
    title = "".join(part.capitalize() for part in name.split("_"))
    return text.replace(_NAME.capitalize(), title).replace(_NAME, name)


def _registered(text: str, name: str) -> str:
    """The registry's source with a line for `name`, in alphabetical order."""
    head, opening, rest = text.partition("BUILT_IN = {\n")
    lines, closing, tail = rest.partition("}\n")
    assert opening and closing, "the registry has another form"
    entries = sorted([*lines.splitlines(), f'    "{name}": "weft.families.{name}",'])
    return head + opening + "\n".join(entries) + "\n" + closing + tail


def _commands(name: str, test: str) -> dict[str, str]:
    return {
        "train": f"weft train {name}/small",
        "resume": f"weft resume runs/{name}/small",
        "sweep": f"weft sweep {name}/small width=4,32 seed=0..2 steps=300",
        "test": test,
    }


def _write(home: Path, texts: dict[Path, str]) -> None:
    for path in (home, *texts):
        if path.exists():
            raise UsageError(
                f"`{path}` is there already",
                expected="a place that is free",
                hint="move it away, or take another name",
            )
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
