"""The original's configs, the table of 144 and the aliases mean here what they meant there."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from weft import api
from weft.config.recipe import defaults_of
from weft.config.yaml import read_file, write
from weft.errors import ConfigError
from weft.families.jepa.config import Config
from weft.families.jepa.options.aliases import ALIASES
from weft.families.jepa.options.original import DEFAULTS, flat, translate
from weft.families.jepa.options.sections import Lars
from weft.families.jepa.options.table import TABLE, about, export, main, presets, published

README = "sweep_fixed_uniform.(1.25).vicreg.best"


def of(name: str, *words: str, **values: Any) -> Config:
    """The config of a preset of the table."""
    config = api.configure(f"jepa/{name}", *words, **values).config
    assert isinstance(config, Config)
    return config


def written(tree: dict[str, Any], path: Path) -> Config:
    """The config of a tree, by way of a file."""
    path.write_text(write(tree))
    config = api.configure(str(path)).config
    assert isinstance(config, Config)
    return config


def test_the_table_holds_144_presets_with_the_readme_s_names() -> None:
    assert len(presets()) == 144
    assert README in presets()
    assert "sweep_changing_structured.(0.5).idm.best" in presets()
    assert about(README) == "Published best vicreg at fixed uniform noise of brightness 1.25."


def test_every_preset_is_a_valid_config_of_its_name_s_noise() -> None:
    for name in presets():
        config = of(name)
        assert config.objective == name.split(".")[-2], name
        place, kind = name.split(".(")[0].split("_")[1:]
        level = float(name.partition("(")[2].partition(")")[0])
        fixed, changing = (level, 0.0) if place == "fixed" else (0.0, level)
        assert (config.dataset_static_noise, config.dataset_noise) == (fixed, changing), name
        assert config.dataset_structured_noise == (kind == "structured"), name


def test_every_cell_of_the_table_reaches_its_preset() -> None:
    """Each filled cell, by an independent reading of the CSV."""
    with TABLE.open() as file:
        rows = list(csv.DictReader(file))
    places = {
        "rssm.learning_rate": "optim.lr",
        "vicreg.base_lr": "optim.base_lr",
        "simclr.base_lr": "optim.base_lr",
        "probing_cfg.lr": "optim.lr",
        "vicreg.action_coeff": "idm.action_coeff",
        "rssm.min_var": "rssm.min_var",
        "vicreg.sim_coeff": "vicreg.sim_coeff",
        "simclr.loss_temp": "simclr.loss_temp",
        "simclr.embedding_size": "model.embedding_size",
        "simclr.backbone_width_factor": "model.backbone_width_factor",
        "simclr.rnn_layers": "model.rnn_layers",
        "dataset_batch_size": "batch_size",
    }
    seen = dict.fromkeys(places, 0)
    for row in rows:
        stem = f"sweep_{row['noise_kind']}_{row['structure']}.({row['coefficient']})"
        preset = flat(presets()[f"{stem}.{row['method']}.best"].values)
        for old, new in places.items():
            overruled = old == "dataset_batch_size" and row["probing_cfg.batch_size"]
            if row[old] and not overruled:
                assert preset[new] == float(row[old]), (stem, old)
                seen[old] += 1
    assert all(seen.values())


def test_the_readme_s_preset_in_full() -> None:
    preset = flat(presets()[README].values)
    expected = {
        "objective": "vicreg", "batch_size": 32, "epochs": 100, "seed": 1,
        "dataset_static_noise": 1.25, "dataset_noise": 0.0, "dataset_normalize": True,
        "model.arch": "menet5", "model.embedding_size": 512, "model.backbone_width_factor": 2,
        "model.predictor": "rnn", "model.projector": "id", "vicreg.sim_coeff": 52.716066589901025,
        "vicreg.std_coeff": 118.40386631129034, "vicreg.cov_coeff": 1.0,
        "vicreg.repr_loss_after_projector": False, "vicreg.skip_first_step_vc": True,
        "optim.kind": "lars", "optim.base_lr": 0.00040127270559498, "schedule.kind": "published",
        "schedule.warmup": 0.1, "schedule.start": 0.01, "eval.every": "100 epochs",
        "probe.epochs": 30, "noise_scale": "batch",
    }  # fmt: skip
    assert {key: preset[key] for key in expected} == expected


def test_supervised_rows_train_as_their_probe_did() -> None:
    leaky = flat(presets()["sweep_fixed_uniform.(1.25).supervised.best"].values)
    expected = {"objective": "supervised", "supervised.backgrounds": "test", "epochs": 200,
                "batch_size": 64, "optim.kind": "adam", "schedule.kind": "constant",
                "model.embedding_size": 64, "model.backbone_width_factor": 3,
                "model.backbone_mlp": 512, "model.rnn_layers": 2}  # fmt: skip
    assert {key: leaky[key] for key in expected} == expected
    assert of("sweep_fixed_uniform.(1.25).supervised.best").model.backbone_mlp == "512"


def test_rssm_rows_keep_the_published_behaviour() -> None:
    preset = flat(presets()["sweep_fixed_uniform.(1).rssm.best"].values)
    expected = {"rssm.compat": True, "clip.kind": "norm", "clip.max_norm": 1000.0,
                "optim.kind": "adam", "optim.eps": 1e-8, "schedule.kind": "constant"}  # fmt: skip
    assert {key: preset[key] for key in expected} == expected


def test_the_original_s_defaults_are_its_own(tmp_path: Path) -> None:
    config = written(translate({"model_type": "VICReg"}), tmp_path / "original.yaml")
    model = config.model
    assert (model.arch, model.embedding_size, model.predictor) == ("resnet18", 64, "515-512-512")
    assert (model.projector, model.backbone_width_factor) == ("512-512-512", 1)
    assert config.vicreg.repr_loss_after_projector and not config.vicreg.skip_first_step_vc
    assert not config.dataset_normalize
    assert config.seed == 42
    assert config.log.wandb.mode == "disabled"


def test_settings_that_were_objectives_in_disguise() -> None:
    actions = {"sim_coeff": 0, "std_coeff": 0, "cov_coeff": 0, "action_coeff": 2.0}
    idm = translate({"model_type": "VICReg", "vicreg": actions})
    assert (idm["objective"], idm["idm"]) == ("idm", {"action_coeff": 2.0})
    assert translate({"model_type": "VICReg", "vicreg.action_coeff": 1})["objective"] == "vicreg"
    probe = {"full_finetune": True, "epochs": 7, "lr": 0.5, "batch_size": 16}
    floor = translate({"model_type": "SimCLR", "eval_only": True, "probing_cfg": probe})
    assert (floor["objective"], floor["epochs"], floor["batch_size"]) == ("supervised", 7, 16)
    assert translate({"model_type": "SimCLR", "eval_only": True})["objective"] == "random"


@pytest.mark.parametrize("epochs", [1, 10])
def test_runs_no_longer_than_the_warm_up_get_the_clean_schedule(epochs: int) -> None:
    tree = translate({"model_type": "SimCLR", "simclr.epochs": epochs})
    assert tree["epochs"] == epochs
    assert tree["schedule"] == {"kind": "clean"}


def test_sections_of_other_models_have_no_say() -> None:
    with_foreign = {"model_type": "SimCLR", "vicreg.embedding_size": 7, "rssm.epochs": 3}
    assert translate(with_foreign) == translate({"model_type": "SimCLR"})


def test_quick_debug_is_one_step_and_one_probe_batch(tmp_path: Path) -> None:
    quick = {"model_type": "VICReg", "quick_debug": True, "dataset_batch_size": 4}
    config = written(translate(quick), tmp_path / "quick.yaml")
    assert (config.steps, config.epochs) == (1, None)
    assert config.probe.size == config.val_dataset_size == 4


def test_mistakes_are_listed_together_and_named() -> None:
    with pytest.raises(ConfigError) as caught:
        translate({"model_type": "Vicreg", "vicreg.base_lrr": 1, "datset_noise": 1})
    text = str(caught.value)
    assert "did you mean `vicreg.base_lr`?" in text
    assert "did you mean `dataset_noise`?" in text
    assert "`model_type` = Vicreg is not a model" in text


def test_exported_files_hold_the_presets(tmp_path: Path) -> None:
    assert len(export(tmp_path / "reproduce_configs")) == 144
    values, _ = read_file(tmp_path / "reproduce_configs" / f"{README}.yaml")
    assert values == presets()[README].values
    assert main([]) == 2


def test_aliases_lead_to_real_keys_from_real_keys() -> None:
    real = flat(defaults_of(Config)) | flat(Lars().model_dump(), "optim")
    sections = {key.rpartition(".")[0] for key in real}
    old = flat(DEFAULTS)
    for name, (target, _) in ALIASES.items():
        assert name in old or name == "model_type"
        assert target in real or target in sections or target in ("epochs", "run.dir"), name


def test_a_published_row_keeps_its_blanks_as_the_original_s_defaults() -> None:
    name = "sweep_fixed_uniform.(1.25).supervised.best"
    assert "embedding_size" not in published()[name]["simclr"]
    assert flat(presets()[name].values)["model.embedding_size"] == 64


def test_noise_in_one_word_stands_for_three_keys() -> None:
    shorthand = {"noise": "changing_structured", "noise_level": 2.5}
    config = of(README, "dataset_static_noise=0", **shorthand)
    assert (config.dataset_noise, config.dataset_static_noise) == (2.5, 0.0)
    assert config.dataset_structured_noise and config.uses_backgrounds
    assert config.noise is None
    assert api.configure(f"jepa/{README}", **config.plain()).config == config
    with pytest.raises(ValueError, match="already sets"):
        Config(epochs=1, noise="changing_uniform", dataset_noise=1.0)


def test_the_readme_s_old_keys_are_translated_and_announced() -> None:
    words = ("vicreg.base_lr=42", "dataset_batch_size=64", "model_type=SimCLR", "wandb=True")
    resolved = api.configure(f"jepa/{README}", *words)
    values = flat(resolved.config.plain())
    assert values["optim.base_lr"] == 42
    assert (values["batch_size"], values["objective"]) == (64, "simclr")
    assert values["log.wandb.mode"] == "online"
    assert len(resolved.notices) == 4
