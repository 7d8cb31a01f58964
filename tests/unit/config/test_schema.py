"""The schema and the table come from the config classes and cover every option."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft import api, families
from weft.cli import main
from weft.config.explain import fields
from weft.config.recipe import recipe_class
from weft.config.schema import json_schema, options_page, options_table
from weft.errors import ConfigError


@pytest.mark.parametrize("name", families.names())
def test_every_option_has_a_description_and_a_row(name: str) -> None:
    model = recipe_class(families.find(name))
    table = options_table(model)
    for path, info in fields(model):
        if path[-1] == "kind":
            continue
        assert info.description, f"{'.'.join(path)} lacks a description"
        assert f"`{'.'.join(path)}`" in table


def test_the_page_of_all_options_is_what_the_command_at_its_head_writes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = Path(__file__).parents[3] / "docs" / "config.md"
    command = page.read_text().partition("`weft ")[2].partition(" > docs/config.md`")[0]
    assert main(command.split()) == 0
    assert page.read_text() == capsys.readouterr().out


def test_the_page_tells_a_shared_option_once_and_again_where_a_family_starts_elsewhere() -> None:
    page = options_page([families.find("cet"), families.find("jepa")])
    every, cet, jepa = page.split("\n## ")[1:]
    assert "| `seed` |" in every and "`seed`" not in cet + jepa
    assert "| `log.every` | int >= 1 | default 50:" in every and "`log.every`" not in cet
    assert "| `log.every` | int >= 1 | default 100:" in jepa
    assert "| `optim.kind` | one of sgd, adam, adamw, extra | default sgd:" in cet
    assert "`clip.max_norm` (norm) | number > 0 | default 0.5:" in cet
    assert cet.index("`delay`") < cet.index("`eval.every`")


def test_a_wrong_value_is_told_the_default_of_its_family() -> None:
    with pytest.raises(ConfigError, match="default 100: Steps between rows"):
        api.configure("jepa", "log.every=0")
    with pytest.raises(ConfigError, match=r"number > 0\n  default 0.01: Peak"):
        api.configure("jepa", "optim.kind=sgd", "optim.lr=0")


def test_schema_refuses_unknown_keys_and_names_every_optimiser() -> None:
    schema = json_schema(recipe_class(families.find("cet")))
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]["optim"]["discriminator"]["mapping"]) == {
        "sgd",
        "adam",
        "adamw",
        "extra",
    }
