"""The laws of the house: small folders, no circles of files, rooms from one list, no dead hooks."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from tests.unit.test_layers import FAMILIES, HOME, MODULES, imports
from weft import families
from weft.config.family import Family
from weft.config.recipe import recipe_class
from weft.task.load import load_task
from weft.task.task import Task

MOST_MODULES = 20

FURNITURE = {
    "__init__", "aliases", "bench", "config", "data", "gallery", "model", "needs", "objective",
    "reference", "report", "sections", "task",
}  # fmt: skip
"""Modules that families may both have: each stands for one concern, the same everywhere."""

ROOMS = {
    "bench", "figures", "forms", "nets", "optim", "options", "presets", "reference", "score",
    "sets", "terms", "baselines", "cell", "codec", "control", "noise", "pictures", "splats",
    "trace", "transition",
}  # fmt: skip
"""Folders of a family: those of every family, then those of what only some have."""


def circles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of modules each of which imports, by way of others, every other one of its group."""
    reached: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        todo = list(edges[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo.extend(edges.get(name, ()))
        reached[start] = seen
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached.get(other, ())))
        for name in reached
        if name in reached[name]
    }
    return [list(group) for group in sorted(groups)]


def test_no_folder_holds_more_modules_than_one_can_survey() -> None:
    sizes = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    crowded = {str(folder.relative_to(HOME)): n for folder, n in sizes.items() if n > MOST_MODULES}
    assert crowded == {}


def test_no_files_import_each_other_in_a_circle() -> None:
    # Imports inside functions and for type checkers count: they too tie files together.
    edges = {
        name: {
            target
            for target in imports(name, path.read_text(), package=path.name == "__init__.py")
            if target != name and target in MODULES
        }
        for name, path in MODULES.items()
    }
    assert circles(edges) == []


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, []),
        ({"a": ["b"], "b": ["a"], "c": ["a"]}, [["a", "b"]]),
        ({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["d"]}, [["a", "b", "c"], ["d"]]),
    ],
)
def test_circles_are_found(edges: dict[str, list[str]], found: list[list[str]]) -> None:
    assert circles(edges) == found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_s_folders_are_rooms_of_the_house(family: str) -> None:
    home = HOME / "families" / family
    found = {path.name for path in home.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert found <= ROOMS


@pytest.mark.parametrize("family", FAMILIES)
def test_at_a_family_s_door_stands_its_furniture_and_its_component(family: str) -> None:
    package = import_module(f"weft.families.{family}")
    public = {getattr(package, name).__module__ for name in package.__all__ if name != "FAMILY"}
    component = {module.rpartition(".")[2] for module in public}
    doors = {path.stem for path in (HOME / "families" / family).glob("*.py")}
    assert doors <= FURNITURE | component


def test_two_families_share_a_module_s_name_only_where_it_is_furniture() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for name in MODULES:
        parts = name.split(".")
        if parts[1:2] == ["families"] and len(parts) > 3 and parts[-1] not in ROOMS:
            homes[parts[-1]].add(parts[2])
    shared = {name: sorted(found) for name, found in homes.items() if len(found) > 1}
    assert {name: found for name, found in shared.items() if name not in FURNITURE} == {}


@pytest.mark.parametrize("field", [field.name for field in fields(Family)])
def test_every_field_of_a_family_has_a_user(field: str) -> None:
    built_in = [families.find(name) for name in families.BUILT_IN]
    assert any(getattr(family, field) for family in built_in)


def _hooks() -> list[str]:
    return [name for name in vars(Task) if not name.startswith("_")]


@pytest.mark.parametrize("hook", _hooks())
def test_every_hook_of_a_task_has_a_user(hook: str) -> None:
    tasks = []
    for name in families.BUILT_IN:
        family = families.find(name)
        config = recipe_class(family).model_construct()
        tasks.append(type(load_task(family, config)))
    assert any(hook in vars(task) for task in tasks)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_file_says_what_it_is_in_one_sentence(family: str) -> None:
    for name, path in MODULES.items():
        if name.startswith(f"weft.families.{family}.") and path.stat().st_size:
            text = ast.get_docstring(ast.parse(path.read_text()))
            assert text and re.match(r"[^\n]+[.:]", text), name


def test_no_file_is_named_for_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "misc", "stuff"}
    assert [name for name in MODULES if Path(name.replace(".", "/")).name in empty] == []
