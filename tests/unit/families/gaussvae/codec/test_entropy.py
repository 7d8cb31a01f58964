"""Tables of latents and the range coder: exact, near the entropy, the same in every process."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from weft.errors import DataError, MissingExtra
from weft.families.gaussvae.codec.entropy import FINE, Tables

pytest.importorskip("constriction", reason="the extra `splats` is not installed")

DEVIATIONS = np.array([8.0, 3.0, 1.0, 0.1])


def drawn(count: int, seed: int) -> np.ndarray:
    """Normal latents (count, 4) of the deviations above, in units."""
    return np.random.default_rng(seed).normal(size=(count, 4)) * DEVIATIONS


TABLES = Tables.of(drawn(20_000, 0))


@pytest.mark.parametrize("step", [2, 6, 16, 40])
def test_what_is_encoded_is_decoded_in_as_many_bytes_as_the_tables_say(step: int) -> None:
    symbols = TABLES.quantised(drawn(500, 1), step)
    content = TABLES.encode(symbols, step)
    assert np.array_equal(TABLES.decode(content, 500, step), symbols)
    ideal = TABLES.bits(symbols, step).sum() / 8
    assert ideal - 1 <= len(content) <= ideal + 2


def test_a_single_latent_takes_no_more_than_a_byte_beside_its_information() -> None:
    symbols = TABLES.quantised(drawn(200, 2), FINE)
    spent = [len(TABLES.encode(row[None], FINE)) for row in symbols]
    ideal = TABLES.bits(symbols, FINE) / 8
    assert max(spent - ideal) < 1.5 and np.mean(spent - ideal) < 0.8


def test_bits_are_near_the_entropy_of_the_normal_distribution() -> None:
    step = FINE // 2
    bits = TABLES.bits(TABLES.quantised(drawn(5000, 3), step), step).mean()
    wide = DEVIATIONS[:3]
    expected = np.log2(wide * np.sqrt(2 * np.pi * np.e) * FINE / step).sum()
    assert bits == pytest.approx(expected, abs=0.15)


def test_probabilities_of_a_step_are_sums_of_whole_numbers() -> None:
    step = 6
    known = TABLES.alphabets(step)
    nearest = np.rint(drawn(20_000, 0) * FINE / step).astype(int)
    for latent in range(4):
        weights = known.weights[latent, : known.sizes[latent]]
        met = np.bincount(nearest[:, latent] - known.first[latent], minlength=len(weights))
        assert np.array_equal(weights, 2 * met + 1)
        assert weights[0] == weights[-1] == 1


def test_a_value_stands_for_the_mean_of_what_was_met_there() -> None:
    step = 2 * FINE
    latents = drawn(20_000, 0)
    symbols = TABLES.quantised(latents, step)
    values = TABLES.values(symbols, step)
    for symbol in (-1, 0, 1, 2):
        met = symbols[:, 1] == symbol
        assert values[met, 1][0] == pytest.approx(latents[met, 1].mean(), abs=0.5 / FINE)
    plain = np.square(symbols * step / FINE - latents).mean()
    assert np.square(values - latents).mean() < plain


def test_latents_beyond_all_that_was_met_are_taken_to_the_edge() -> None:
    far = np.array([[1e9, -1e9, 50.0, 0.0]])
    for step in (2, 16):
        symbols = TABLES.quantised(far, step)
        assert np.array_equal(TABLES.decode(TABLES.encode(symbols, step), 1, step), symbols)
        assert np.abs(TABLES.values(symbols, step)).max() < 60


def test_a_latent_hundreds_of_units_wide_is_not_cut_off() -> None:
    # As the first principal component of pictures is in a model that keeps it well.
    wide = np.random.default_rng(5).normal(size=(3000, 2)) * [300, 1]
    tables = Tables.of(wide)
    values = tables.values(tables.quantised(wide, FINE), FINE)
    assert np.abs(values - wide).max() <= 0.75


def test_a_latent_that_never_changes_is_coded_too() -> None:
    tables = Tables.of(np.zeros((10, 2)))
    symbols = tables.quantised(np.zeros((6, 2)), FINE)
    assert np.array_equal(tables.decode(tables.encode(symbols, FINE), 6, FINE), symbols)


def test_bytes_of_no_encoder_are_refused_or_stand_for_latents() -> None:
    random = np.random.default_rng(4)
    refused = 0
    for length in range(60):
        content = random.bytes(length) if length % 2 else b"\xff" * length
        try:
            symbols = TABLES.decode(content, 8, FINE, "a.lat")
        except DataError as error:
            refused += "a.lat" in str(error)
            continue
        assert np.isfinite(TABLES.values(symbols, FINE)).all()
    assert refused > 0


def test_without_the_coder_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(MissingExtra, match="needs the package `constriction`") as caught:
        Tables.of(drawn(10, 0)).encode(np.zeros((1, 4), np.int64), FINE)
    assert "pip install 'weft[splats]'" in str(caught.value)
