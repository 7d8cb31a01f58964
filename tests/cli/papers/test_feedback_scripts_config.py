"""Every key of the feedback original's config.json: what it becomes, and how it is refused."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from weft import api
from weft.config.layer import leaves
from weft.errors import ConfigError, UsageError
from weft.papers.feedback.config_file import DEFAULTS, IDLE, OldConfig
from weft.papers.feedback.flags import SCRIPTS
from weft.papers.feedback.train import RECIPE, main

PAPER = Path(__file__).parents[3] / "papers" / "feedback"
SHIPPED = json.loads((PAPER / "config.json").read_text())
# The keys of the original's file, from the design document.
DESIGN = {
    "datasets.gsm8k": "name config_name tokenizer_name block_size max_seq_length",
    "datasets.wikitext": "name config_name tokenizer_name block_size max_seq_length",
    "model": "n_layer n_head n_embd dropout lora_rank feedback_reverse",
    "diffusion": "generation_steps eps",
    "training.epochs": "wikitext gsm8k",
    "training": """batch_size learning_rate decay_lr warmup_ratio min_lr grad_clip device dtype
        compile eval_interval eval_save_multiple log_interval save_best_ckpt
        save_multiple_eval_interval save_epoch save_epoch_interval out_dir ff_run_name fb_run_name
        ft_run_name fb_rec_run_name log_file_name csv_file_name""",
}


def changed(key: str, value: Any, folder: Path) -> Path:
    """The shipped config.json with one key set otherwise."""
    tree = copy.deepcopy(SHIPPED)
    *path, last = key.split(".")
    node = tree
    for part in path:
        node = node[part]
    node[last] = value
    file = folder / "config.json"
    file.write_text(json.dumps(tree, indent=1))
    return file


def read(key: str, value: Any, folder: Path, dataset: str = "gsm8k") -> OldConfig:
    return OldConfig(changed(key, value, folder), dataset)


def test_the_shipped_file_has_the_original_s_keys_and_any_device() -> None:
    expected = {f"{at}.{key}" for at, keys in DESIGN.items() for key in keys.split()}
    assert {".".join(leaf) for leaf in leaves(SHIPPED)} == expected
    assert SHIPPED["training"]["device"] == "auto"
    old = OldConfig(PAPER / "config.json", "gsm8k")
    assert {key: old.setting(key) for key in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("dataset", ["gsm8k", "wikitext"])
def test_as_shipped_it_says_what_the_preset_of_the_original_says(dataset: str) -> None:
    old = OldConfig(PAPER / "config.json", dataset)
    ours = api.configure(RECIPE, **old.values).config.plain()
    preset = api.configure(RECIPE, **{"data.dataset": dataset}).config.plain()
    assert ours.pop("eval") == {**preset.pop("eval"), "chunks": 3200}
    assert ours == preset


@pytest.mark.parametrize(
    ("key", "value", "new", "expected"),
    [
        ("datasets.gsm8k", {"name": "mine.txt"}, "data.dataset", "mine.txt"),
        ("datasets.gsm8k.name", "openai/gsm8k", "data.dataset", "gsm8k"),
        ("datasets.gsm8k.tokenizer_name", "bytes", "data.tokenizer", "bytes"),
        ("datasets.gsm8k.block_size", 128, "data.block_size", 128),
        ("datasets.gsm8k.max_seq_length", 999, "model.max_seq_length", 999),
        ("model.n_layer", 3, "model.n_layer", 3),
        ("model.n_head", 2, "model.n_head", 2),
        ("model.n_embd", 64, "model.n_embd", 64),
        ("model.dropout", 0, "model.dropout", 0),
        ("model.feedback_reverse", False, "feedback_reverse", False),
        ("diffusion.generation_steps", 3, "diffusion.generation_steps", 3),
        ("diffusion.eps", 0.01, "diffusion.eps", 0.01),
        ("training.epochs", {"gsm8k": 7, "wikitext": 8}, "epochs", 7),
        ("training.epochs", 9, "epochs", 9),
        ("training.batch_size", 8, "batch_size", 8),
        ("training.batch_size", 8, "eval.batch_size", 8),
        ("training.batch_size", 8, "eval.chunks", 400),
        ("training.learning_rate", 1e-3, "optim.lr", 1e-3),
        ("training.decay_lr", False, "schedule", {"kind": "constant", "warmup": 0}),
        ("training.warmup_ratio", 0.2, "schedule.warmup", 0.2),
        ("training.min_lr", 6e-5, "schedule.min_lr", 0.2),
        ("training.grad_clip", 0.5, "clip.max_norm", 0.5),
        ("training.grad_clip", 0, "clip.kind", "none"),
        ("training.device", "cpu", "engine.device", "cpu"),
        ("training.dtype", "float32", "engine.precision", "fp32"),
        ("training.compile", False, "engine.compile", False),
        ("training.save_epoch_interval", 5, "checkpoint.keep_every", "5 epochs"),
        ("training.save_epoch", False, "checkpoint.keep_every", None),
    ],
)
def test_a_key_reaches_weft_s(
    key: str, value: Any, new: str, expected: Any, tmp_path: Path
) -> None:
    values = read(key, value, tmp_path).values
    found: Any = api.configure(RECIPE, **values).config.plain()
    for part in new.split("."):
        found = found[part]
    assert found == expected


@pytest.mark.parametrize("key", IDLE)
def test_what_the_original_never_read_changes_nothing_and_is_named(
    key: str, tmp_path: Path
) -> None:
    old, shipped = read(f"training.{key}", 7, tmp_path), OldConfig(PAPER / "config.json", "gsm8k")
    assert old.values == shipped.values
    [note] = old.notes
    assert key in note and "no effect" in note


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.n_layers", 3, "unknown key `model.n_layers`"),
        ("training.learning_rat", 3, "did you mean `training.learning_rate`"),
        ("datasets.gsm8k.blok_size", 3, "did you mean `datasets.gsm8k.block_size`"),
        ("training.epochs", {"wikitext": 1}, "does not say how many for `gsm8k`"),
        ("training.min_lr", 1.0, "a number from 0 to training.learning_rate"),
        ("training.min_lr", None, "a number from 0 to training.learning_rate"),
        ("training.decay_lr", "False", "true or false"),
        ("training.save_epoch", "False", "true or false"),
        ("training.save_epoch_interval", 0, "a whole number above 0"),
        ("training.dtype", "float16", "bfloat16 or float32"),
        ("training.out_dir", 3, "text"),
        ("training.ff_run_name", "a/b", "without a folder"),
        ("training.csv_file_name", "status.json", "a name of its own"),
        ("training.csv_file_name", "log.txt", "another name than the log's"),
        ("datasets.gsm8k.config_name", "socratic", "main or null"),
    ],
)
def test_a_mistake_is_refused_with_its_line(
    key: str, value: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(key, value, tmp_path)
    assert message in str(caught.value)
    lines = (tmp_path / "config.json").read_text().splitlines()
    if value != {"wikitext": 1}:
        number = next(i for i, line in enumerate(lines, 1) if f'"{key.split(".")[-1]}"' in line)
        assert f"config.json:{number}" in str(caught.value)


def test_all_unknown_keys_are_named_at_once(tmp_path: Path) -> None:
    file = changed("training.a", 1, tmp_path)
    tree = json.loads(file.read_text()) | {"b": 2}
    file.write_text(json.dumps(tree))
    with pytest.raises(ConfigError) as caught:
        OldConfig(file, "gsm8k")
    assert "`training.a`" in str(caught.value) and "`b`" in str(caught.value)


def test_an_unknown_data_set_names_the_closest() -> None:
    with pytest.raises(UsageError, match="not among the `datasets`") as caught:
        OldConfig(PAPER / "config.json", "gsm8")
    assert "did you mean `gsm8k`" in caught.value.hint


def test_a_data_set_that_cannot_name_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name files"):
        read("datasets.a/b", {"name": "mine.txt"}, tmp_path, "a/b")


def test_the_edition_of_wikitext_is_told() -> None:
    notes = OldConfig(PAPER / "config.json", "wikitext").notes
    assert any("<unk>" in note for note in notes)
    assert not any("<unk>" in note for note in OldConfig(PAPER / "config.json", "gsm8k").notes)


def test_weft_s_own_checks_point_into_the_file(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(changed("model.n_layer", 0, workspace), "mine.json")
    Path("config.json").unlink()
    words = ["--config", "mine.json", "--active_dataset", "gsm8k"]
    assert main("feedforward_train", [*words, "--set", "data.block_size=x"]) == 2
    error = capsys.readouterr().err
    line = next(
        i for i, text in enumerate(Path("mine.json").read_text().splitlines(), 1)
        if "n_layer" in text
    )  # fmt: skip
    assert f"`model.n_layer` = 0 is not allowed   (mine.json:{line})" in error
    assert "`data.block_size` = x is not allowed   (--set data.block_size=x)" in error
    assert [each.name for each in workspace.iterdir()] == ["mine.json"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_launchers_name_their_script(name: str) -> None:
    text = (PAPER / f"{name}.py").read_text()
    assert f'main("{name}")' in text
    assert len(text.splitlines()) <= 5
