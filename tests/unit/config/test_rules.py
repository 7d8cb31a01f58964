"""Rules between options: told at once beside other mistakes, each with its origin and hint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from weft import api, families
from weft.config.base import FamilyConfig
from weft.config.check import check
from weft.config.explain import fields
from weft.config.family import Family
from weft.config.layer import Layer
from weft.config.recipe import recipe_class
from weft.config.rule import Rule
from weft.errors import ConfigError


class Pair(FamilyConfig):
    """Two options whose sum has a bound, and a list."""

    family: Literal["pair"] = Field("pair", description="Which family trains.")
    a: int = Field(1, ge=0, description="A number.")
    b: int = Field(1, ge=0, description="Another.")
    list: tuple[int, ...] = Field((), description="More numbers.")

    def rules(self) -> Iterator[Rule]:
        """The sum is below 10, and no list comes with an even b."""
        yield Rule(("a", "b"), self.a + self.b >= 10, "`a` + `b` is 10 or more", "lower one")
        yield Rule(("b", "list"), bool(self.list) and self.b % 2 == 0, "`b` is even", "make it odd")


PAIR = recipe_class(Family("pair", "Two numbers.", Pair, "", ""))


def mistakes(**values: object) -> list[str]:
    """What is said of values, each key set at its own name."""
    tree = Layer(values, {(key,): f"at {key}" for key in values})
    with pytest.raises(ConfigError) as caught:
        check(PAIR, tree.values, tree.origin)
    return [str(problem) for problem in caught.value.problems]


def test_each_broken_rule_is_an_error_with_its_origins_and_its_hint() -> None:
    assert mistakes(b=6, a=5, list=[1]) == [
        "config error: a run's length is exactly one of `steps` and `epochs`\n"
        "  set one of them, and leave out the other",
        "config error: `a` + `b` is 10 or more   (at b; at a)\n  lower one",
        "config error: `b` is even   (at b; at list)\n  make it odd",
    ]


def test_rules_that_depend_on_no_invalid_option_are_told_beside_it() -> None:
    invalid, rule = mistakes(steps=1, a=10, list=["x", 2])
    assert "`list` = [x, 2]" in invalid and "`a` + `b`" in rule
    unknown, rule = mistakes(steps=1, a=10, c=3)
    assert "unknown key `c`" in unknown and "`a` + `b`" in rule
    kind, length = mistakes(optim={"kind": "sdg", "lr": 1.0})
    assert "`optim.kind` = sdg" in kind and "length" in length


def test_rules_about_an_invalid_option_are_left_alone() -> None:
    assert len(mistakes(steps=1, a=10, b=-2, list=[1])) == 1
    assert len(mistakes(steps=0, epochs=2)) == 1


def test_a_config_made_in_python_keeps_the_rules_too() -> None:
    with pytest.raises(ValidationError, match=r"`a` \+ `b` is 10 or more: lower one") as caught:
        Pair(steps=1, a=5, b=6, list=(1,))
    assert caught.value.error_count() == 2


def test_what_was_laid_last_is_named_first(toy: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("family: toy\nwidth: 1\nseed: -1\n")
    with pytest.raises(ConfigError) as caught:
        api.configure(toy, str(path), "dropout=0.5", "steps=3", "epochs=2")
    assert [problem.where for problem in caught.value.problems] == [
        f"{path}:3",
        "command line, override 2; command line, override 3",
        f"command line, override 1; {path}:2",
    ]


@pytest.mark.parametrize("name", families.names())
def test_rules_name_keys_that_exist_and_say_what_to_do(name: str) -> None:
    family = families.find(name)
    config = api.configure(name).config
    known = {path[:n] for path, _ in fields(recipe_class(family)) for n in range(1, len(path) + 1)}
    rules = [*config.all_rules()]
    assert len(rules) > 1
    for rule in rules:
        assert not rule.broken and rule.keys
        assert {tuple(key.split(".")) for key in rule.keys} <= known, rule
        assert rule.says and rule.hint and not rule.says.endswith("."), rule
        assert any(f"`{key}`" in rule.says for key in rule.keys), rule


@pytest.mark.parametrize("name", families.names())
def test_a_rule_names_every_option_that_it_reads(name: str) -> None:
    config = api.configure(name).config
    read: set[str] = set()

    def watch(self: FamilyConfig, key: str) -> Any:
        read.update({key} & type(config).model_fields.keys())
        return object.__getattribute__(self, key)

    watched = type("Watched", (type(config),), {"__getattribute__": watch})
    for rule in watched.model_construct(**dict(config)).all_rules():
        assert read <= {key.partition(".")[0] for key in rule.keys}, rule
        read.clear()
