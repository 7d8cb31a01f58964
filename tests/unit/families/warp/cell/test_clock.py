"""The clock: times, encodings, coordinates, and where a run that feeds back looks."""

from __future__ import annotations

import math

import pytest
import torch

from weft.errors import ConfigError, DataError
from weft.families.warp.cell.clock import Clock

STEPS = torch.arange(6.0)


def test_time_runs_from_zero_to_one() -> None:
    tau, dclock = Clock(6).ticks(STEPS)
    torch.testing.assert_close(tau, torch.linspace(0, 1, 6).unsqueeze(1))
    assert dclock.shape == (6, 0)


def test_a_free_run_has_no_time_step_before_its_first() -> None:
    dclock = Clock(6, time_as_channel=True).ticks(STEPS).dclock.squeeze(1)
    torch.testing.assert_close(dclock, torch.tensor([0, 0.2, 0.2, 0.2, 0.2, 0.2]))


@pytest.mark.parametrize("drive", ["diff", "true_diff"])
def test_feeding_back_looks_at_the_next_step_except_at_first(drive: str) -> None:
    tau, dclock = Clock(6, time_as_channel=True).ticks(STEPS, drive)  # type: ignore[arg-type]
    torch.testing.assert_close(tau.squeeze(1) * 5, torch.tensor([0.0, 2, 3, 4, 5, 6]))
    torch.testing.assert_close(dclock.squeeze(1) * 5, torch.tensor([0.0, 1, 1, 1, 1, 1]))


def test_innovation_starts_one_step_before_the_sequence() -> None:
    tau, dclock = Clock(6, time_as_channel=True).ticks(STEPS, "innovation")
    torch.testing.assert_close(tau.squeeze(1) * 5, torch.tensor([1.0, 2, 3, 4, 5, 6]))
    torch.testing.assert_close(dclock.squeeze(1) * 5, torch.ones(6))


def test_steps_that_were_left_out_lengthen_the_step_of_time() -> None:
    position = torch.tensor([0.0, 2, 3, 5])
    tau, dclock = Clock(6, time_as_channel=True).ticks(position, "diff")
    torch.testing.assert_close(tau.squeeze(1) * 5, torch.tensor([0.0, 4, 4, 7]))
    torch.testing.assert_close(dclock.squeeze(1) * 5, torch.tensor([0.0, 2, 1, 2]))


def test_positional_encoding_pairs_share_their_exponent() -> None:
    columns = Clock(6, encoding=(4, 100.0)).read(torch.tensor(3.0))
    assert columns.shape == (5,)
    expected = [0.6, math.sin(3), math.cos(3), math.sin(3 / 10), math.cos(3 / 10)]
    torch.testing.assert_close(columns, torch.tensor(expected))


def test_coordinates_run_along_rows() -> None:
    clock = Clock(6, picture=(2, 3))
    assert (clock.features, clock.channels) == (3, 3)
    tau, dclock = clock.ticks(STEPS)
    expected = torch.tensor([[0, 0], [0.5, 0], [1, 0], [0, 1], [0.5, 1], [1, 1]])
    torch.testing.assert_close(tau[:, 1:], expected)
    torch.testing.assert_close(dclock[3], torch.tensor([0.2, -1, 1]))


def test_a_sequence_of_one_step_has_a_clock() -> None:
    for drive in (None, "diff", "innovation"):
        tau, _ = Clock(1, time_as_channel=True).ticks(STEPS[:1], drive)  # type: ignore[arg-type]
        assert tau.isfinite().all()


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(DataError, match="no steps"):
        Clock(6).ticks(STEPS[:0])


def test_an_odd_number_of_encoding_columns_is_refused() -> None:
    with pytest.raises(ConfigError, match="pairs of columns, not 3"):
        Clock(6, encoding=(3, 10.0))
