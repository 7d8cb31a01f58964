"""Recipes, files and overrides resolve to one config, and every mistake is named."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from weft import api, families
from weft.config.load import load
from weft.config.yaml import write
from weft.errors import ConfigError, UsageError
from weft.run.start import name_for
from weft.sweeps.space import parse


def test_precedence_is_default_preset_file_override_argument(toy: str, tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.json"
    first.write_text("family: toy\nwidth: 5\nseed: 1\nnoise: 0.5\n")
    second.write_text(json.dumps({"family": "toy", "seed": 2, "noise": 0.25}))
    resolved = api.configure(toy, str(first), str(second), "noise=0.125", dropout=0.5)
    config = resolved.config.plain()
    assert (config["batch_size"], config["epochs"]) == (8, 4.0)
    assert (config["width"], config["seed"], config["noise"]) == (5, 2, 0.125)
    assert config["dropout"] == 0.5
    assert resolved.origin(("batch_size",)) == ""
    assert resolved.origin(("epochs",)) == "preset toy/small:2"
    assert resolved.origin(("width",)) == f"{first}:2"
    assert resolved.origin(("noise",)) == "command line, override 1"
    assert resolved.origin(("dropout",)) == "argument `dropout`"


def test_all_mistakes_are_reported_at_once_with_their_origin(toy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        api.configure(toy, "widht=10", "noise=-3", "optim.lr=fast")
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "unknown key `widht`   (command line, override 1)" in text
    assert "did you mean `width`?" in text
    assert "`noise` = -3 is not allowed   (command line, override 2)" in text
    assert "expected number >= 0" in text
    assert "`optim.lr` = fast is not allowed   (command line, override 3)" in text
    assert "optim.adam" not in text  # keys are shown as the user wrote them


def test_a_key_at_the_wrong_level_is_found_by_its_last_part(toy: str) -> None:
    with pytest.raises(ConfigError, match=r"did you mean `schedule.warmup`"):
        api.configure(toy, "warmup=0.1")


def test_override_of_a_union_keeps_its_kind_and_a_new_kind_replaces_the_branch(toy: str) -> None:
    kept = api.configure(toy, "optim.lr=3e-4").config
    assert kept.optim.model_dump()["kind"] == "adam"
    assert kept.optim.model_dump()["lr"] == 3e-4
    changed = api.configure(toy, "optim.momentum=0.9", "optim.kind=sgd").config
    assert changed.optim.model_dump() == {
        "kind": "sgd",
        "lr": 1e-2,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
    }
    with pytest.raises(ConfigError, match="sgd, adam, adamw or extra"):
        api.configure(toy, "optim.kind=sdg")


@pytest.mark.parametrize("word", ["optim.kind=extra:lion", "optim={kind: 'extra:lion', lr: 0.5}"])
def test_an_optimiser_of_the_extra_is_named_in_one_word(toy: str, word: str) -> None:
    resolved = api.configure(toy, word, "optim.lr=0.25")
    assert resolved.config.optim.model_dump() == {
        "kind": "extra", "name": "lion", "lr": 0.25, "weight_decay": 0.0, "options": {}
    }  # fmt: skip
    assert resolved.origin(("optim", "name")) == resolved.origin(("optim", "kind"))
    written = write(resolved.config.plain())
    assert "extra:" not in written and "name: lion" in written


def test_steps_take_back_epochs_and_both_at_once_are_refused(toy: str) -> None:
    config = api.configure(toy, "steps=7").config
    assert (config.steps, config.epochs) == (7, None)
    with pytest.raises(ConfigError, match="exactly one of `steps` and `epochs`"):
        api.configure(toy, "steps=7", "epochs=2")


def test_old_names_are_translated_with_their_converter_and_announced(toy: str) -> None:
    resolved = api.configure(toy, "old_width=3", "lr=0.5")
    assert resolved.config.plain()["width"] == 4
    assert resolved.config.plain()["optim"]["lr"] == 0.5
    assert resolved.notices == (
        "`old_width` is now `width` (command line, override 1)",
        "`lr` is now `optim.lr` (command line, override 2)",
    )
    assert resolved.origin(("width",)) == "command line, override 1"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("toy/smal", "did you mean `small`"),
        ("tyo/small", "did you mean `toy/small`"),
        ("nowhere.yaml", "there is no file `nowhere.yaml`"),
    ],
)
def test_a_recipe_that_does_not_exist_is_a_usage_error(toy: str, word: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        api.configure(word)
    assert hint in str(caught.value)
    assert caught.value.exit_code == 2


def test_files_report_line_numbers_and_must_name_their_family(toy: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("family: toy\n\nwidth: wide\n")
    with pytest.raises(ConfigError, match=rf"{path}:3"):
        api.configure(str(path))
    path.write_text("width: 3\n")
    with pytest.raises(ConfigError, match="does not say which family"):
        api.configure(str(path))
    path.write_text("family: toy\nwidth: 3\nwidth: 4\n")
    with pytest.raises(ConfigError, match="appears twice"):
        api.configure(str(path))
    path.write_text("family: [\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        api.configure(str(path))


def test_a_file_whose_name_looks_like_an_override_is_read_as_a_file(
    toy: str, workspace: Path
) -> None:
    Path("width=7").write_text("family: toy\nwidth: 3\n")
    assert load(["toy", "width=7"], families).config.plain()["width"] == 3


def test_a_path_is_a_word_and_a_value_like_its_text(toy: str, workspace: Path) -> None:
    Path("mine.yaml").write_text("family: toy\nwidth: 3\nsteps: 2\n")
    config = api.configure(Path("mine.yaml"), run={"dir": Path("a b"), "tags": ["x"]}).config
    assert config.plain()["width"] == 3 and config.run.dir == "a b"
    assert parse([Path("mine.yaml"), "seed=0,1"]).fixed == ["mine.yaml"]


@pytest.mark.parametrize("name", ["cet", "toy"])
def test_a_config_survives_being_written_and_read(toy: str, name: str, tmp_path: Path) -> None:

    config = api.configure(name).config
    path = tmp_path / "config.yaml"
    path.write_text(write(config.plain()))
    assert api.configure(str(path)).config == config


@pytest.mark.parametrize(
    ("words", "accepted"),
    [
        (("warp/digits", "data.resolution=[a,3]"), "list of 2 int >= 1 and <= 1024"),
        (("warp/digits", "data.resolution=[64]"), "list of 2 int >= 1 and <= 1024"),
        (("gaussvae/demo", "net.encoder_filters=[a,3.5,{b: 3}]"), "list of int >= 1 or null"),
        (("cet/digits", "run.tags=[[1,2],3]"), "list of text"),
        (("warp/digits", "positional_encoding=[1,2,3]"), "[int >= 1, number > 1] or null"),
        (("warp/digits", "root_final_activation=[1,b]"), "or list of 4 number or null"),
    ],
)
def test_a_wrong_item_is_told_once_as_a_mistake_of_its_option(
    words: tuple[str, str], accepted: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        api.configure(*words)
    (problem,) = caught.value.problems
    key, _, value = words[1].partition("=")
    assert f"`{key}` = {value[:2]}" in str(problem)
    assert accepted in str(problem)


def test_an_item_s_own_message_is_kept() -> None:
    with pytest.raises(ConfigError, match=r"`data.image_datasets`: there is no data set `foo`"):
        api.configure("warp/digits", "data.image_datasets=[digits,foo,bar]")


@pytest.mark.parametrize("stem", ["my first run", "it's", "plain"])
def test_a_run_is_named_by_the_whole_name_of_its_file(stem: str, toy: str, workspace: Path) -> None:
    Path(f"{stem}.yaml").write_text("family: toy\n")
    resolved = api.configure(f"{stem}.yaml", "steps=1")
    assert name_for(resolved.recipe) == stem
    assert shlex.split(resolved.recipe) == [f"{stem}.yaml"] == [resolved.named]
