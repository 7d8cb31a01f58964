"""Configs of gaussvae: what must not be together, and sizes that come out even."""

from __future__ import annotations

from typing import Any

import pytest

from weft import api
from weft.errors import ConfigError
from weft.families.gaussvae.config import Config, parallel
from weft.families.gaussvae.options.sizes import sizes

DEMO = "gaussvae/demo"


def config(**values: Any) -> Config:
    return Config.model_validate({"epochs": 1, **values})


@pytest.mark.parametrize(
    ("words", "keys", "says"),
    [
        (["net.encoder_kernel_sizes=[5,5]"], "net.encoder_kernel_sizes", "has 2 entries for 3"),
        (["arch=resnet", "net.decoder_upsample_sizes=[2,2]"], "net.decoder_upsample_sizes",
         "has 2 entries for 5"),
        (["net.decoder_dense_units=[8,100]", "net.decoder_reshape_target=[16,16]"],
         "net.decoder_reshape_target", "holds 256 numbers"),
        (["monitor=psnr", "eval.pictures=0"], "eval.pictures", "needs rendered pictures"),
        (["kl.floor=6"], "kl.floor", "6 nats asks for"),
    ],
)  # fmt: skip
def test_what_must_not_be_together_is_refused_by_name(
    words: list[str], keys: str, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        api.configure(DEMO, *words)
    assert says in str(caught.value)
    assert keys in str(caught.value)


@pytest.mark.parametrize(
    ("values", "splats", "keys"),
    [
        ({"net": {"decoder_reshape_target": [100, 16]}}, 512, "net.decoder_reshape_target"),
        ({}, 66, "net.decoder_upsample_sizes"),
        ({"arch": "resnet"}, 8, "net.encoder_pool_sizes"),
        ({"net": {"decoder_dense_units": [8, 100]}}, 512, "net.decoder_dense_units"),
    ],
)
def test_sizes_that_do_not_come_out_even_name_the_option(
    values: dict[str, Any], splats: int, keys: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        sizes(config(**values), splats)
    assert keys in caught.value.where


def test_what_is_unset_follows_from_the_number_of_splats() -> None:
    assert sizes(config(), 512).start == (128, 16)
    assert sizes(config(), 64).start == (16, 16)
    assert sizes(config(arch="resnet"), 512).start == (32, 512)
    assert sizes(config(arch="resnet"), 512).units == (512, 16384)
    assert sizes(config(net={"decoder_dense_units": [8, 64]}), 64).start == (16, 4)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ({}, "none"),
        ({"arch": "resnet"}, "none"),
        ({"arch": "grid2d"}, "items"),
        ({"arch": "image", "loss": "render", "monitor": "psnr"}, "items"),
        ({"arch": "grid2d", "kl": {"free_bits": 0.1}}, "none"),
        ({"arch": "grid2d", "kl": {"capacity": 3.0}}, "none"),
    ],
)
def test_what_is_one_of_a_whole_batch_is_not_split(values: dict[str, Any], unit: str) -> None:
    assert parallel(config(**values)) == unit
