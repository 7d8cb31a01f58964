"""What an option needs to have an effect: stated once, true, and told to who sets it in vain."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt

from weft import api, families
from weft.cli import main
from weft.config.explain import fields
from weft.config.presets import preset_names
from weft.config.recipe import recipe_class
from weft.config.rule import needs_at, needs_of
from weft.config.schema import options_table
from weft.data.random import stream
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.errors import WeftError

HERE = ("engine.device=cpu", "data.download=false", "steps=4", "log.every=1")
SMALL = {
    "cet": "cet/digits hidden_dim=8 track_sim=false sparse_inputs=false",
    "feedback": "feedback/text model.n_layer=1 model.n_head=2 model.n_embd=16 data.block_size=32 "
    "batch_size=4 eval.chunks=4",
    "gaussvae": "gaussvae/demo data.items=40 batch_size=8",
    "jepa": "jepa/clean batch_size=8 dataset_size=16 val_dataset_size=16 probe.size=16 n_steps=4 "
    "val_n_steps=4 model.embedding_size=16 model.arch=lenet5 dataset_normalize=false",
    "warp": "warp/digits mlp_hidden_size=4 data.train_size=40 data.test_size=8 batch_size=8",
}


@pytest.mark.parametrize("name", families.names())
def test_needs_name_options_and_values_there_are(name: str) -> None:
    model = recipe_class(families.find(name))
    known = {".".join(path): info for path, info in fields(model)}
    for key, words in model.all_needs().items():
        assert any(each == key or each.startswith(f"{key}.") for each in known), key
        for need in needs_of(words):
            for other in need.keys:
                assert other in known, f"{key} needs `{other}`, which is no option"
                allowed = _literals(known[other].annotation)
                assert not need.values or set(need.values) <= allowed, (key, need)


def _literals(annotation: Any) -> set[str]:
    if get_origin(annotation) is Literal:
        return {str(each) for each in get_args(annotation)}
    if annotation is str:  # A name: one that is not listed.
        return {"celeba", "icl", "id"}
    return {word for each in get_args(annotation) for word in _literals(each)}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("cet/digits p_drop=.1", "`p_drop` has no effect here, only where `arch` is cnn   (comm"),
        ("cet/digits p_drop=.1 arch=cnn", ""),
        ("cet/digits p_drop=0", ""),
        ("gaussvae/demo picture.width=3", "only where `arch` is image"),
        ("feedback/text latents=3", "only where `stage` is feedback"),
        ("gaussvae/demo kl.capacity_share=.1", "only where `kl.capacity` is set"),
        ("gaussvae/demo kl.capacity_share=.1 kl.capacity=2", ""),
        ("jepa/clean simclr.loss_temp=2", "only where `objective` is simclr or combo"),
        ("warp/digits-query forcing_prob=.2", "only where `read` is steps"),
        ("jepa/clean noise_level=.2", "only where `noise` is set"),
        ("jepa/clean noise_level=.2 noise=fixed_uniform", ""),
        ("jepa/clean noise=fixed_uniform dataset_static_noise_speed=1", ""),
        ("jepa/clean noise_scale=batch", "only where `dataset_noise` or `dataset_static_noise` is"),
        ("jepa/clean model.random_projector=true", "only where `model.projector` is not id"),
        ("jepa/clean model.random_projector=true model.projector=8", ""),
    ],
)
def test_an_option_set_in_vain_is_told_with_what_it_needs(words: str, told: str) -> None:
    notices = api.configure(*words.split()).notices
    assert bool(notices) == bool(told)
    assert told in "".join(notices)


def test_what_a_preset_sets_is_not_told_but_what_a_file_sets_is(workspace: Path) -> None:
    Path("mine.yaml").write_text("family: cet\nsteps: 2\np_drop: 0.1\n")
    assert "(mine.yaml:3)" in "".join(api.configure("mine.yaml").notices)
    for name in families.names():
        for preset in preset_names(families.find(name)):
            assert "no effect" not in "".join(api.configure(f"{name}/{preset}").notices)


def test_a_sweep_tells_once_of_an_axis_without_effect(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["cet/digits", "steps=1", "hidden_dim=4", "p_drop=.1,.2", "log.tensorboard=false"]
    assert main(["sweep", *words, "--workers", "1"]) == 0
    assert capsys.readouterr().err.count("note: `p_drop` has no effect here") == 1


def test_the_table_says_what_an_option_needs() -> None:
    table = options_table(recipe_class(families.find("gaussvae")))
    assert "Nets and error of arch=image. Only where `arch` is image. |" in table
    row = next(line for line in table.splitlines() if line.startswith("| `net.queries`"))
    assert row.endswith("Only where `pool` is attn. |")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL))
def test_an_option_whose_needs_are_not_met_changes_no_loss_and_no_weight(name: str) -> None:
    words = (*SMALL[name].split(), *HERE)
    plain = api.configure(*words).config
    usual, tried = _two_steps(*words), 0
    for path, info in fields(recipe_class(families.find(name))):
        key = ".".join(path)
        needs = needs_at(plain.all_needs(), key)
        if all(need.is_met(plain) for need in needs) or path[-1] == "kind":
            continue
        for value in _others(info.annotation, info.metadata, _at(plain, path)):
            try:
                found = _two_steps(*words, f"{key}={value}")
            except WeftError:
                continue  # Refused, which is telling, too.
            assert found == usual, f"{key}={value} has an effect, though {needs[0]} does not hold"
            tried += 1
            break
    assert tried > 2


def _at(config: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        config = getattr(config, key)
    return config


def _others(annotation: Any, metadata: Any, value: Any) -> Iterator[str]:
    """Values of an option other than `value`, in YAML."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _others(arguments[0], [*metadata, *arguments[1:]], value)
    elif origin is Literal:
        yield from (str(each).lower() for each in arguments if each != value)
    elif annotation is bool:
        yield str(not value).lower()
    elif annotation in (int, float):
        low = max((m.ge if isinstance(m, Ge) else m.gt for m in metadata
                   if isinstance(m, Ge | Gt)), default=0)  # fmt: skip
        high = min((m.le if isinstance(m, Le) else m.lt for m in metadata
                    if isinstance(m, Le | Lt)), default=low + 8)  # fmt: skip
        middle = (low + high) / 2
        for each in (middle, middle / 2 + low / 2, low + 1):
            if (number := annotation(each)) != value:
                yield str(number)
    elif origin is typing.Union or arguments:
        for each in arguments:
            yield from _others(each, metadata, value)


def _two_steps(*words: str) -> tuple[Any, ...]:
    """Losses of the first two steps, and sums of all weights after them."""
    config = api.configure(*words).config
    parts = Parts.of(families.find(config.family), config)
    data = parts.data()
    stepper = Stepper(parts, parts.model(data=data))
    source, losses = data.train, []
    for step, indices in enumerate(list(source.plan(0, 0))[:2]):
        batch = source.take(indices, stream(0, step, "data"))
        ctx = parts.context(step, log=True)
        torch.manual_seed(step)
        losses.append(float(stepper([parts.task.draw(batch, ctx)], ctx)["loss"]))
    weights = stepper.model.state_dict().items()
    return losses, {name: float(value.double().abs().sum()) for name, value in weights}
