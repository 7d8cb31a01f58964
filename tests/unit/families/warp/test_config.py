"""Options of warp: defaults, old names, and combinations that cannot work."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from weft import families
from weft.config.load import load, validate
from weft.config.sections import Cosine, NormClip, Plateau, ValueClip
from weft.errors import ConfigError
from weft.families.warp import FAMILY
from weft.families.warp.config import Config
from weft.families.warp.options.aliases import ALIASES
from weft.families.warp.options.data_sets import SETS
from weft.families.warp.options.sections import LiteralPlateau, Reference, WarpData

PRESETS = sorted(path.stem for path in (FAMILY.home / "presets").glob("*.yaml"))


def config(**values: Any) -> Config:
    return Config(**{"steps": 1, **values})


def resolve(*words: str) -> Any:
    return load(words, families).config


def labelled(**values: Any) -> dict[str, Any]:
    return {"supervision_task": "classification", **values}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"train": False}, ("`train`", "weft evaluate", "papers/warp/train.py")),
        ({"stochastic": True}, ("`stochastic`", "nll")),
        ({"stochastic": True, "loss": "nll", "autoregressive": False}, ("`autoregressive` true",)),
        ({"stochastic": True, "loss": "nll", **labelled()}, ("`stochastic`", "reconstruction")),
        ({"drive": "innovation", "autoregressive": False}, ("`drive` innovation",)),
        ({"conv_embedding": (4, 3, 1)}, ("`conv_embedding`", "`autoregressive` false")),
        ({"output_smoothing": True}, ("`output_smoothing`", "`autoregressive` false")),
        ({"weights_lim": 0.5, "form": "history"}, ("`form` history", "`weights_lim`")),
        ({"weights_lim": 0.5, "form": "last_state", **labelled()}, ("`form` last_state",)),
        ({"rnn_inner_dims": (4,), "form": "sequential"}, ("`form` sequential", "one layer")),
        ({"form": "scan", "autoregressive": False}, ("`form` scan", "not full")),
        ({"form": "chunked"}, ("`form` chunked", "classification")),
        ({"model_type": "gru", "root": "physics:sine"}, ("`model_type` gru", "`root`")),
        ({"model_type": "lstm", "use_theta_prev": True}, ("`model_type` lstm",)),
        ({"root": "physics:oscillator", "drive": "true_diff"}, ("`target` next",)),
        ({"weights_lim_gradient": "half"}, ("`weights_lim_gradient` half", "`weights_lim`")),
        ({"weights_lim_products": "bfloat16"}, ("`weights_lim_products` bfloat16", "`transition`")),
        ({"encoding_ahead": "vector"}, ("`encoding_ahead` vector", "`positional_encoding`")),
        ({"convolutions": "original"}, ("`convolutions` original", "`conv_embedding`")),
        ({"init_state_bias": False}, ("`init_state_bias`", "`init_state_layers`")),
        ({"root": "physics:msd", **labelled()}, ("`root` physics:msd", "reconstruction")),
        ({"data": {"dataset": "sine"}, **labelled()}, ("`data.dataset` sine", "no labels")),
        (
            {"data": {"dataset": "trends"}, "include_canonical_coords": True},
            ("`include_canonical_coords`", "trends", "image_datasets"),
        ),
        ({"data": {"dataset": "uea"}}, ("`data.dataset` uea", "data.subset")),
        ({"val_criterion": "nll"}, ("`val_criterion` nll", "`loss` nll")),
        ({"val_criterion": "cce"}, ("`val_criterion` cce", "reconstruction")),
        ({"val_criterion": "mse", **labelled()}, ("`val_criterion` mse", "classification")),
        ({"optim": Reference()}, ("`optim.kind` reference", "`gradient_lim`")),
        ({"gradient_lim": 1e-2, "clip": NormClip(max_norm=0.5)}, ("`gradient_lim`", "not both")),
        (
            {"lr_decrease_factor": 0.3, "schedule": Plateau(factor=0.2)},
            ("`lr_decrease_factor`", "one of them"),
        ),
        ({"nb_recons_loss_steps": 0}, ("-1 for all",)),
        ({"data": {"dataset": "mnits"}}, ("there is no data set `mnits`", "mnist")),
        ({"root": "physics"}, ("root",)),
        ({"positional_encoding": (0, 100.0)}, ("positional_encoding",)),
    ],
)
def test_what_cannot_work_is_refused_and_named(
    values: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        config(**values)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"val_criterion": "f1_score", "supervision_task": "both"},
        {"val_criterion": "mae", "supervision_task": "both"},
        {"conv_embedding": (4, 3, 0), "autoregressive": False},
        {"conv_embedding": (4, 3, 0), **labelled()},
        {"form": "scan", "transition": "diag", "autoregressive": False},
        {"rnn_inner_dims": (4, 2), "form": "loop"},
        {"data": {"dataset": "mine.npz", "image_datasets": ["mine.npz"]},
         "include_canonical_coords": True},
        {"optim": Reference(), "gradient_lim": 1e-7, "schedule": LiteralPlateau()},
        {"root_final_activation": 38.0},
        {"root_final_activation": [1.0, 0.0, 1.0, 0.0]},
        {"root_final_activation": None},
    ],
)  # fmt: skip
def test_what_can_work_is_accepted(values: dict[str, Any]) -> None:
    config(**values)


def test_the_default_is_the_honest_modern_one() -> None:
    made = config()
    assert (made.drive, made.target, made.loss) == ("diff", "same", "mse")
    assert (made.optim.kind, made.optim.lr) == ("adamw", 1e-3)  # type: ignore[attr-defined]
    assert (made.optim.beta1, made.optim.beta2) == (0.9, 0.99)  # type: ignore[attr-defined]
    assert made.clip == NormClip(max_norm=1.0)
    assert isinstance(made.schedule, Cosine)
    assert made.data.val_share == 0.1
    assert made.noise_theta_test is False


def test_old_names_do_not_bring_the_old_era_back() -> None:
    words = ("init_lr=1e-5", "nb_epochs=3", "gradients_lim=1e-7", "use_mse_loss=False")
    made = resolve("warp/digits", *words)
    assert (made.optim.kind, made.optim.lr, made.drive) == ("adamw", 1e-5, "diff")
    assert (made.epochs, made.steps, made.loss) == (3, None, "nll")
    assert made.clip == ValueClip(limit=1e-7)
    assert made.schedule.kind == "cosine"


def test_the_whole_original_chain_can_be_asked_for_word_by_word() -> None:
    words = ("optimizer=reference", "gradient_lim=1e-7", "schedule.kind=literal")
    made = resolve("warp/mnist", *words, "lr_decrease_factor=0.25", "on_plateau.patience=7")
    assert made.optim == Reference(lr=1e-5, beta1=0.9, beta2=0.999, eps=1e-16, eps_root=1e-16)
    assert made.clip == ValueClip(limit=1e-7)
    assert made.schedule == LiteralPlateau(
        factor=0.25, patience=7, window=50, rtol=1e-4, min_lr=0.01
    )


def test_the_learning_rate_factor_has_no_effect_on_a_schedule_that_does_not_react() -> None:
    assert config(lr_decrease_factor=0.1).schedule == config().schedule


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("mlp_hiden_size=3", "mlp_hidden_size"),
        ("data.grounding_length=3", "grounding_length"),
        ("optim.gradient_lim=1", "gradient_lim"),
        ("schedule.patience=3", "plateau, held_out or literal"),
        ("transition=diagonal", "diag"),
    ],
)
def test_unknown_and_misplaced_keys_are_refused_with_a_suggestion(word: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("warp/digits", word)
    assert word.partition("=")[0] in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_resolve_and_survive_their_own_file(name: str) -> None:
    made = resolve(f"warp/{name}")
    assert validate(made.plain(), FAMILY, name) == made
    head = (FAMILY.home / "presets" / f"{name}.yaml").read_text().split("family:")[0]
    assert f"weft train warp/{name}" in head
    assert "Expected:" in head


def test_the_original_preset_is_the_seed_readme() -> None:
    made = resolve("warp/original")
    assert (made.optim.kind, made.schedule.kind, made.clip.limit) == ("reference", "literal", 1e-2)
    assert (made.drive, made.time_as_channel, made.input_init_std) == ("innovation", True, 1e-2)
    assert (made.seed, made.epochs, made.batch_size) == (2024, 500, 6400)
    assert made.nb_recons_loss_steps == 400


def test_every_alias_leads_to_a_key() -> None:
    sections = {"data": WarpData, "optim": Reference, "schedule": LiteralPlateau}
    for new, _ in ALIASES.values():
        section, _, key = new.rpartition(".")
        known = {**{name: Config.model_fields[name].default for name in Config.model_fields}}
        if section in sections:
            assert key in sections[section].model_fields, new
        elif section:
            assert key in type(known[section]).model_fields, new
        else:
            assert key in known, new


def test_cautions_say_what_a_protocol_gives_away() -> None:
    assert any("x_t" in caution for caution in config().cautions)
    assert config(target="next").cautions == ()
    free = config(autoregressive=False, output_smoothing=True)
    assert len(free.cautions) == 2
    causal = config(autoregressive=False, conv_embedding=(4, 3, 1), target="next")
    assert causal.cautions == ()
    assert config(autoregressive=False, data={"dataset": "icl"}).cautions == ()
    assert config(data={"dataset": "icl"}).cautions == ()
    # Not fed back, the input of a forecast ends where the forecast begins.
    assert config(autoregressive=False, data={"dataset": "ett", "subset": "h1"}).cautions == ()
    assert config(**labelled()).cautions == ()


def test_the_tanh_of_the_mean_follows_the_scale_of_the_data() -> None:
    assert config().mean_activation == "tanh"
    assert config(unit_normalise=True).mean_activation == "sigmoid"
    assert config(unit_normalise=True, root_final_activation=None).mean_activation is None


def test_every_option_has_a_sentence() -> None:
    for model in (Config, WarpData, Reference, LiteralPlateau):
        for name, info in model.model_fields.items():
            assert name == "kind" or (info.description or "").rstrip().endswith("."), name
    description = WarpData.model_fields["dataset"].description or ""
    assert all(name in description for name in SETS)


def test_options_load_without_torch() -> None:
    code = "import sys, weft.families.warp; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
