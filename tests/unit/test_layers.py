"""Imports follow the layers, the engine names no family, and families do not know each other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import weft

HOME = Path(str(weft.__file__)).parent

# From left to right; a module imports only what stands to its left, or in its own layer.
LAYERS = (
    ("weft.shell",),
    ("weft.errors", "weft.lazy", "weft.machine", "weft.stopping", "weft.terminal", "weft.version"),
    ("weft.system",),
    ("weft.atomic",),
    ("weft.config",),
    ("weft.data",),
    ("weft.nn", "weft.plots"),
    ("weft.task",),
    ("weft.families", "weft.template.newcomer"),
    ("weft.engine",),
    ("weft.run",),
    ("weft.reports",),
    ("weft.sweeps",),
    ("weft.api",),
    ("weft.testing",),
    ("weft.template",),
    ("weft.papers",),
    ("weft.verbs",),
    ("weft.studies", "weft.adapters"),
    ("weft", "weft.cli"),
    ("weft.__main__",),
)


def _modules() -> dict[str, Path]:
    """Module name -> file, for all of weft."""
    found = {}
    for path in HOME.rglob("*.py"):
        parts = ("weft", *path.relative_to(HOME).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()
FAMILIES = sorted(
    path.name for path in (HOME / "families").iterdir() if (path / "__init__.py").is_file()
)


def part(module: str) -> str:
    """The longest prefix of `module` that stands in the layers."""
    names = module.split(".")
    prefixes = (".".join(names[:length]) for length in range(len(names), 0, -1))
    known = {name for layer in LAYERS for name in layer}
    found = next(prefix for prefix in prefixes if prefix in known)
    assert found != "weft" or module == "weft", f"{module} stands in no layer"
    return found


def layer(module: str) -> int:
    """How far to the right `module` stands."""
    return next(place for place, names in enumerate(LAYERS) if part(module) in names)


def imports(module: str, source: str, *, package: bool) -> Iterator[str]:
    """The modules of weft that `source` imports anywhere, inside functions too.

    Args:
        module: its name.
        package: whether it is an `__init__`, which relative imports start from.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                start = module.split(".")
                start = start[: len(start) - node.level + package]
                base = ".".join([*start, *([base] if base else [])])
            # `from weft.data import fetch` imports the module weft.data.fetch.
            full = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else base for name in full]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "weft")


def violations(module: str, source: str, *, package: bool = False) -> list[str]:
    """What `source`, as the module called `module`, imports that it may not."""
    wrong = []
    for name in imports(module, source, package=package):
        own = part(name) == part(module)
        if not own and layer(name) >= layer(module):
            wrong.append(f"{module} imports {name}, which does not stand to its left")
        if module.startswith("weft.families.") and name.startswith("weft.families"):
            home = ".".join(module.split(".")[:3])
            if not f"{name}.".startswith(f"{home}."):
                wrong.append(f"{module} imports {name}, which is not its own family")
        if module.startswith("weft.engine") and name.startswith("weft.families"):
            wrong.append(f"{module} imports {name}: the engine sees the protocol alone")
    return wrong


def family_names(source: str) -> list[str]:
    """The words of `source`, comments and docstrings included, that name a family."""
    return re.findall(rf"\b({'|'.join(FAMILIES)})\b", source, re.IGNORECASE)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_stands_to_its_left(module: str) -> None:
    path = MODULES[module]
    assert violations(module, path.read_text(), package=path.name == "__init__.py") == []


@pytest.mark.parametrize("module", sorted(name for name in MODULES if "weft.engine" in name))
def test_the_engine_names_no_family(module: str) -> None:
    assert family_names(MODULES[module].read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("weft.errors", "import weft.config"),
        ("weft.data.fetch", "from weft.engine import loop"),
        ("weft.data.fetch", "def f():\n    from weft.cli import main"),
        ("weft.data.fetch", "from ..engine.atomic import write_text"),
        ("weft.data.fetch", "from .. import engine"),
        ("weft.engine.loop", "from weft.run.record import Record"),
        ("weft.engine.loop", "from weft.families.cet.config import Config"),
        ("weft.engine.loop", "from weft import families"),
        ("weft.engine.loop", "import weft"),
        ("weft.families.cet.task", "from weft.engine.loop import Trainer"),
        ("weft.families.cet.task", "from weft.families.warp import model"),
        ("weft.families.cet.task", "from ..warp.model import Model"),
        ("weft.families.cet.task", "from weft.families import find"),
        ("weft.reports.tables", "from weft.sweeps.grid import Grid"),
        ("weft.reports.html", "if TYPE_CHECKING:\n    from weft.api import train"),
    ],
)
def test_the_rules_find_what_is_forbidden(module: str, source: str) -> None:
    assert violations(module, source)


@pytest.mark.parametrize(
    ("module", "source", "package"),
    [
        ("weft.data.fetch", "from weft.errors import DataError\nimport torch", False),
        ("weft.data.fetch", "from . import catalog", False),
        ("weft.data", "from . import catalog", True),
        ("weft.families.cet", "from .config import Config", True),
        ("weft.families.cet.task", "from weft.families.cet import model", False),
        ("weft.families.cet.task", "from weft.task.task import Task", False),
        ("weft.cli", "from weft import api", False),
        ("weft", "from weft.api import train", True),
    ],
)
def test_the_rules_allow_what_stands_to_the_left(module: str, source: str, package: bool) -> None:
    assert violations(module, source, package=package) == []


def test_a_family_s_name_is_found_as_a_word_only() -> None:
    assert family_names('if family == "cet":') == ["cet"]
    assert family_names("facet of a concept") == []


def test_no_error_left_of_the_runs_says_that_it_stands_at_a_flag() -> None:
    # A command in a hint is for everybody; a flag is only known to those who read the words.
    found = [
        f"{module}: {node.value}"
        for module, path in MODULES.items()
        if layer(module) <= layer("weft.engine")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.keyword) and call.arg == "where"
        for node in ast.walk(call)
        if isinstance(node, ast.Constant) and re.search("--[a-z]{2,}", str(node.value))
    ]
    assert found == []
