"""The schema and the table come from the config classes and cover every option."""

from __future__ import annotations

import pytest

from weft import families
from weft.config.explain import fields
from weft.config.recipe import recipe_class
from weft.config.schema import json_schema, options_table


@pytest.mark.parametrize("name", families.names())
def test_every_option_has_a_description_and_a_row(name: str) -> None:
    model = recipe_class(families.find(name))
    table = options_table(model)
    for path, info in fields(model):
        if path[-1] == "kind":
            continue
        assert info.description, f"{'.'.join(path)} lacks a description"
        assert f"`{'.'.join(path)}`" in table


def test_schema_refuses_unknown_keys_and_names_every_optimiser() -> None:
    schema = json_schema(recipe_class(families.find("cet")))
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]["optim"]["discriminator"]["mapping"]) == {
        "sgd",
        "adam",
        "adamw",
    }
