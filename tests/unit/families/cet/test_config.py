"""Options of cet: defaults, bounds, and combinations that cannot work."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from weft import families
from weft.config.load import load
from weft.families.cet import FAMILY
from weft.families.cet.config import Config
from weft.reports.claims import load_claims

PRESETS = sorted(path.stem for path in (FAMILY.home / "presets").glob("*.yaml"))
ACTING: dict[str, Any] = {"control": {"environment": "CartPole-v1"}}


def config(**values: Any) -> Config:
    return Config(**{"steps": 1, **values})


def resolve(*words: str) -> Any:
    return load(words, families).config


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"threshold": 0.1, "binary": 0.5}, ("threshold", "binary")),
        ({"batch_size": 128, "data": {"n_groups": 3}}, ("batch_size", "multiple", "3")),
        ({"data": {"n_groups": 3, "interp_factor": 3}}, ("9",)),
        ({"batch_size": 16, "delay": 16}, ("delay", "16")),
        ({"batch_size": 16, "top_quantile": 0.95}, ("top_quantile", "one item")),
        ({"carry": True, "top_quantile": 0.5}, ("carry", "top_quantile", "every item")),
        (
            {"carry": True, "streams": 2, "engine": {"accumulation": 2}},
            ("carry", "accumulation` 1"),
        ),
        ({"carry": True, "engine": {"nonfinite": "skip"}}, ("carry", "nonfinite` stop")),
        ({"carry": True, "timescale": "retrograde"}, ("carry", "no error is lost")),
        ({"theta_threshold": 0.1}, ("theta_threshold", "retrograde")),
        ({"effective_batch": 9}, ("effective_batch", "retrograde")),
        ({"random_times": True}, ("random_times", "top_quantile")),
        ({"input_accumulation": 2}, ("input_accumulation", "top_quantile")),
        ({"input_accumulation": 3, "top_quantile": 0.5}, ("128", "3", "divisor")),
        ({"bn_from": "full", "top_quantile": 0.5}, ("bn_from", "cnn")),
        ({"control": {"discount": 0.5}}, ("control", "no environment to act in")),
        (
            {**ACTING, "arch": "cnn", "data": {"dataset": "mnist", "n_groups": 2}},
            ("control.environment", "only: arch, data.dataset, data.n_groups"),
        ),
        ({**ACTING, "timescale": "retrograde"}, ("control.environment", "only: timescale")),
    ],
)
def test_combinations_that_cannot_work_are_refused(
    values: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        config(**values)
    assert all(word in str(caught.value) for word in words)


def test_only_a_stream_that_is_carried_on_may_have_a_delay_longer_than_a_batch() -> None:
    assert not config().carry
    assert config(batch_size=16, delay=40, carry=True).delay == 40


def test_all_bad_combinations_are_named_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        config(batch_size=16, delay=20, threshold=0.1, binary=0.5)
    assert "`delay`" in str(caught.value) and "`binary`" in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [{"delay": -1}, {"order": 0}, {"gate": "none"}, {"top_quantile": 1.0}, {"p_drop": 1.0},
     {"streams": 0}, {"sparse_threshold": -1.0}, {"data": {"flip": "never"}}],
)  # fmt: skip
def test_values_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**values)


@pytest.mark.parametrize(
    ("batch_size", "quantile", "kept"),
    [(128, 0.0, 128), (1280, 0.9875, 16), (11, 0.9, 2), (10, 0.5, 5), (128, 0.5, 64)],
)
def test_kept_items_are_those_from_the_quantile_upwards(
    batch_size: int, quantile: float, kept: int
) -> None:
    assert config(batch_size=batch_size, top_quantile=quantile).kept_items == kept


def test_parts_of_a_stream_keep_their_own_share() -> None:
    assert config(batch_size=128, top_quantile=0.5, input_accumulation=4).kept_items == 4 * 16
    assert config(batch_size=1280, top_quantile=0.9875, input_accumulation=2).kept_items == 2 * 8


@pytest.mark.parametrize(
    ("values", "taps"),
    [({"timescale": "behavioural"}, None), ({"arch": "mlp"}, 1280 + 2 * 600 + 5),
     ({"arch": "cnn"}, 1280 + 4 * 600 + 5), ({"effective_batch": 40}, 40 + 2 * 600 + 5)],
)  # fmt: skip
def test_a_retrograde_kernel_is_as_long_as_the_original_s(
    values: dict[str, Any], taps: int | None
) -> None:
    usual = {"batch_size": 1280, "delay": 600, "timescale": "retrograde"}
    assert config(**{**usual, **values}).taps == taps


def test_a_relative_sparse_threshold_is_in_units_of_one_item_of_the_mean_loss() -> None:
    assert config().sparse is None
    assert config(sparse_inputs=True).sparse == 1e-8
    relative = {"sparse_inputs": True, "sparse_relative": True, "sparse_threshold": 0.5}
    assert config(batch_size=64, **relative).sparse == pytest.approx(0.5 / 64**2)
    gated = config(batch_size=1280, top_quantile=0.9875, **relative)
    assert gated.sparse == pytest.approx(0.5 / 16**2)


def test_every_field_says_what_it_is() -> None:
    def undescribed(model: type[BaseModel]) -> list[str]:
        return [name for name, f in model.model_fields.items() if not f.description]

    sections = [Config.model_fields[name].annotation for name in ("data", "control")]
    assert [undescribed(model) for model in (Config, *sections)] == [[], [], []]


@pytest.mark.parametrize(
    ("old", "key", "value"),
    [
        ("ssm_degree=5", "order", 6),
        ("delay_factor=7", "delay", 7),
        ("cnn=true", "arch", "cnn"),
        ("e_trace_impulse=true", "kernel", "ideal"),
        ("sideways=true", "kernel", "sideways"),
        ("grad_impulse=false", "error", "smeared"),
        ("training_steps=9", "steps", 9),
        ("sorted=true", "data.ordered", True),
        ("n_groups=4", "data.n_groups", 4),
        ("lr=0.5", "optim.lr", 0.5),
        ("weight_decay=0.25", "optim.weight_decay", 0.25),
        ("adam=false", "optim.kind", "sgd"),
        ("warmup=0.3", "schedule.warmup", 0.3),
        ("min_lr=0.2", "schedule.min_lr", 0.2),
        ("val_steps=100", "eval.every", "100 steps"),
        ("val_batch=7", "eval.batch_size", 7),
        ("use_val=true", "data.use_val", True),
        ("run_name=x", "run.name", "x"),
        ("cpu=true", "engine.device", "cpu"),
    ],
)
def test_the_readmes_flags_are_understood(old: str, key: str, value: Any) -> None:
    found = resolve("cet/digits", old)
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_and_open_with_a_comment(preset: str) -> None:
    text = (FAMILY.home / "presets" / f"{preset}.yaml").read_text()
    assert text.startswith("# ") and f"weft train cet/{preset}" in text
    assert resolve(f"cet/{preset}").family == "cet"


def test_the_mnist_preset_is_the_readmes_command() -> None:
    mnist = resolve("cet/mnist")
    assert (mnist.steps, mnist.batch_size, mnist.hidden_dim) == (84600, 128, 512)
    assert (mnist.optim.kind, mnist.optim.weight_decay) == ("adamw", 1e-3)
    assert (mnist.schedule.warmup, mnist.schedule.min_lr) == (0.1, 0.1)
    assert mnist.sparse_inputs and mnist.track_sim and mnist.clip.max_norm == 0.5
    assert mnist.eval.every == "390 steps"


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_the_retrograde_presets_are_the_readmes_commands(dataset: str) -> None:
    found = resolve(f"cet/{dataset}-retrograde")
    assert (found.timescale, found.batch_size, found.hidden_dim) == ("retrograde", 1280, 512)
    assert (found.kept_items, found.schedule.warmup, found.schedule.min_lr) == (16, 0.2, 0.1)
    assert (found.optim.kind, found.data.dataset) == ("adamw", dataset)
    assert found.eval.every == {"mnist": "100 steps", "cifar10": "3125 steps"}[dataset]


def test_the_claims_are_the_papers_table() -> None:
    claims = {claim.id: claim for claim in load_claims(FAMILY.home / "claims.yaml")}
    assert len(claims) == 18
    assert claims["mnist-delay50-order10"].published == 0.97
    assert claims["cifar10-delay10-order1"].config["arch"] == "cnn"


def test_claims_name_keys_and_values_that_a_config_takes() -> None:
    for claim in load_claims(FAMILY.home / "claims.yaml"):
        words = [f"{key}={str(value).lower()}" for key, value in claim.config.items()]
        found = resolve(f"cet/{claim.config['data.dataset']}", *words).plain()
        for key, pinned in claim.pins.items():  # the preset itself is comparable
            value = found
            for part in key.split("."):
                value = value[part]
            assert value == pinned, key


def test_finding_the_family_imports_no_torch() -> None:
    code = "import sys, weft.families.cet as c; c.FAMILY.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_convert_and_revert_are_functions_of_the_package() -> None:
    from weft.families.cet import convert, revert, task

    assert task and callable(convert) and callable(revert)
