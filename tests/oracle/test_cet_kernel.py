"""Kernels equal the numbers printed in the paper and a closed form; pairings equal their sums."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.families.cet.trace.kernel import (
    cascade_kernel,
    ideal_kernel,
    legendre,
    merit,
    pairing,
    readout_kernel,
    stages,
    trace_kernel,
)

DELAYS = (1, 2, 3, 5, 10, 20, 50, 600)


def erlang(order: int, x: float) -> float:
    """P(order, x) = 1 - exp(-x) sum_{j < order} x^j / j!, exact for integer orders."""
    return 1.0 - math.exp(-x) * sum(x**j / math.factorial(j) for j in range(order))


@pytest.mark.parametrize(
    ("degree", "delay", "tap", "printed"),
    [(5, 10, 10, 0.0921), (9, 50, 50, 0.0240), (9, 1, 1, 0.9846), (1, 3, 3, 0.1462),
     (0, 1, 1, 0.2325)],
)  # fmt: skip
def test_kernel_has_the_printed_values(degree: int, delay: int, tap: int, printed: float) -> None:
    assert float(cascade_kernel(delay, degree + 1, 128)[tap]) == pytest.approx(printed, abs=5e-5)


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("order", [2, 6, 10])
def test_cascade_sums_to_one_starts_at_zero_and_peaks_at_the_delay(delay: int, order: int) -> None:
    kernel = cascade_kernel(delay, order, 1300)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
    assert kernel[0] == 0
    assert int(kernel.argmax()) == delay


@pytest.mark.parametrize("delay", DELAYS)
def test_exponential_trace_sums_to_one_and_only_falls(delay: int) -> None:
    kernel = cascade_kernel(delay, 1, 128)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
    assert bool((kernel.diff() < 0).all())
    assert float(kernel[1] / kernel[0]) == pytest.approx(math.exp(-1 / delay), rel=1e-12)


@given(delay=st.integers(1, 40), order=st.integers(2, 12), length=st.integers(2, 64))
@settings(max_examples=25)
def test_cascade_is_the_binned_gamma_density(delay: int, order: int, length: int) -> None:
    rate = (order - 1) / (delay - 0.5)
    mass = [erlang(order, rate * t) - erlang(order, rate * max(t - 1, 0)) for t in range(length)]
    kernel = cascade_kernel(delay, order, length)
    if sum(mass) > 1e-9:  # below, the closed form has cancelled away
        torch.testing.assert_close(
            kernel, torch.tensor(mass, dtype=torch.float64) / sum(mass), rtol=0, atol=1e-7
        )


def test_stage_responses_are_those_of_a_chain_of_leaky_integrators() -> None:
    # exact step of ds1 = -a s1 + a x, dsj = -a sj + a s(j-1) under an input held for one step
    rate, order, length = 0.37, 5, 40
    chain = rate * (-torch.eye(order) + torch.diag(torch.ones(order - 1), -1)).double()
    held = torch.zeros(order + 1, order + 1, dtype=torch.float64)
    held[:order, :order], held[0, order] = chain, rate
    step = torch.matrix_exp(held)
    state, seen = torch.zeros(order, dtype=torch.float64), []
    for t in range(length):
        seen.append(state)  # read before writing
        state = step[:order, :order] @ state + step[:order, order] * (t == 0)
    expected = torch.stack(seen, dim=1)
    responses = stages(torch.tensor(rate, dtype=torch.float64), order, length)
    torch.testing.assert_close(responses, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("delay", "exponential", "last", "optimal"),
    [(10, 0.025, 0.177, 0.411), (20, 0.013, 0.086, 0.181), (50, 0.005, 0.034, 0.067)],
)
def test_merits_are_those_of_the_design(
    delay: int, exponential: float, last: float, optimal: float
) -> None:
    assert merit(cascade_kernel(delay, 1, 128), delay) == pytest.approx(exponential, abs=6e-4)
    assert merit(cascade_kernel(delay, 10, 128), delay) == pytest.approx(last, abs=6e-4)
    # the design's rates were tuned more coarsely
    assert merit(readout_kernel(delay, 10, 128), delay) == pytest.approx(optimal, rel=0.02)


@pytest.mark.parametrize("delay", [1, 2, 5, 10, 20, 50, 100])
def test_readout_beats_the_last_stage_and_gains_with_order(delay: int) -> None:
    merits = [merit(readout_kernel(delay, order, 128), delay) for order in (1, 2, 4, 6, 10)]
    assert all(more >= less - 1e-9 for less, more in pairwise(merits))
    assert merits[-1] > merit(cascade_kernel(delay, 10, 128), delay)


@pytest.mark.parametrize(("delay", "order"), [(1, 1), (3, 2), (10, 10), (50, 6), (100, 10)])
def test_readout_sums_to_one_and_reads_before_it_writes(delay: int, order: int) -> None:
    kernel = readout_kernel(delay, order, 128)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
    assert abs(float(kernel[0])) < 1e-12


@pytest.mark.parametrize("build", [cascade_kernel, readout_kernel])
@pytest.mark.parametrize("order", [1, 2, 10])
def test_no_delay_is_an_impulse_at_zero(build, order: int) -> None:  # type: ignore[no-untyped-def]
    assert torch.equal(build(0, order, 6), ideal_kernel(0, 6))
    assert ideal_kernel(0, 6).tolist() == [1, 0, 0, 0, 0, 0]


def test_a_delay_beyond_the_window_leaves_finite_kernels_and_no_pairs() -> None:
    assert bool(torch.isfinite(cascade_kernel(6000, 10, 8)).all())
    for readout in ("last", "optimal"):
        pairs = pairing(600, 10, 16, readout=readout)
        assert not pairs.matrix.any()
        assert not pairs.arrival.any()


@given(
    delay=st.integers(0, 9), order=st.integers(1, 5), length=st.integers(1, 9),
    kernel=st.sampled_from(["cascade", "ideal", "sideways"]),
    readout=st.sampled_from(["last", "optimal"]), error=st.sampled_from(["impulse", "smeared"]),
)  # fmt: skip
@settings(max_examples=40)
def test_pairing_is_the_sum_over_arrival_times(  # type: ignore[no-untyped-def]
    delay: int, order: int, length: int, kernel, readout, error
) -> None:
    pairs = pairing(delay, order, length, kernel=kernel, readout=readout, error=error)
    trace = {
        "cascade": (readout_kernel if readout == "optimal" else cascade_kernel)(
            delay, order, length
        ),
        "ideal": ideal_kernel(delay, length),
        "sideways": ideal_kernel(0, length),
    }[kernel]
    late = ideal_kernel(delay, length)
    if error == "smeared":
        late = cascade_kernel(delay, order, length)
    for u in range(length):
        arrival = sum(float(late[t - u]) for t in range(u, length))
        assert float(pairs.arrival[u]) == pytest.approx(arrival, abs=1e-12)
        for s in range(length):
            weight = sum(float(late[t - u] * trace[t - s]) for t in range(max(u, s), length))
            assert float(pairs.matrix[u, s]) == pytest.approx(weight, abs=1e-12)


def test_impulse_pairing_is_the_formula_of_the_paper() -> None:
    delay, order, length = 3, 4, 9
    kernel, pairs = cascade_kernel(delay, order, length), pairing(delay, order, length)
    for u in range(length):
        for s in range(length):
            lag = u + delay - s
            inside = u + delay < length and lag >= 0
            assert float(pairs.matrix[u, s]) == (float(kernel[lag]) if inside else 0.0)
    assert pairs.arrival.tolist() == [1.0] * 6 + [0.0] * 3
    assert pairs.arrived == 6


@pytest.mark.parametrize("error", ["impulse", "smeared"])
@pytest.mark.parametrize("kernel", ["cascade", "ideal", "sideways"])
def test_no_delay_is_the_identity(kernel, error) -> None:  # type: ignore[no-untyped-def]
    pairs = pairing(0, 5, 7, kernel=kernel, error=error)
    assert pairs.is_identity
    assert torch.equal(pairs.matrix, torch.eye(7, dtype=torch.float64))
    assert torch.equal(pairs.arrival, torch.ones(7, dtype=torch.float64))
    assert not pairing(1, 5, 7, kernel=kernel, error=error).is_identity


def test_kept_items_keep_the_weights_of_their_times_and_streams() -> None:
    whole = pairing(2, 3, 8)
    times, stream = torch.tensor([1, 3, 7, 3]), torch.tensor([0, 0, 0, 1])
    some = whole.at(times, stream)
    for u in range(4):
        assert some.arrival[u] == whole.arrival[times[u]]
        for s in range(4):
            same = bool(stream[u] == stream[s])
            assert some.matrix[u, s] == (whole.matrix[times[u], times[s]] if same else 0)
    assert torch.equal(whole.at(torch.arange(8)).matrix, whole.matrix)


@pytest.mark.parametrize(("delay", "merit_of"), [(10, 0.573), (20, 0.266), (50, 0.102)])
def test_the_legendre_read_out_keeps_what_the_design_promises(delay: int, merit_of: float) -> None:
    kernel = trace_kernel(delay, 10, 128, readout="legendre")
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
    assert kernel[0] == 0
    assert merit(kernel, delay) >= merit_of
    assert merit(kernel, delay) > merit(trace_kernel(delay, 10, 128, readout="optimal"), delay)


def test_legendre_states_hold_a_window_of_the_past() -> None:
    window, order = 30, 12
    step, drive = legendre(window, order)
    state = torch.zeros(order).double()
    wave = torch.sin(torch.arange(200) * 0.1).double()
    for value in wave:
        state = step @ state + drive * value
    # P_i(2 r - 1) read the input r w steps ago; r = 0 and r = 1, where they are ones up to signs
    assert float(state @ (1 - 2 * (torch.arange(order) % 2)).double()) == pytest.approx(
        float(wave[-1]), abs=0.06
    )
    assert float(state.sum()) == pytest.approx(float(wave[-1 - window]), abs=0.06)


@pytest.mark.parametrize("error", ["impulse", "smeared"])
def test_retrograde_errors_all_arrive_and_meet_what_was_before_them(error: str) -> None:
    delay, order, length, taps = 6, 4, 9, 30
    made = pairing(delay, order, length, error=error, taps=taps)
    kernel = cascade_kernel(delay, order, taps)
    for u in range(length):
        for s in range(length):
            lag = u + delay - s
            expected = float(kernel[lag]) if lag >= 0 else 0.0
            assert float(made.matrix[u, s]) == expected
            if error == "smeared":
                assert float(made.gate[u, s]) == expected
    assert bool((made.arrival == 1).all()) and made.arrived == length
    assert made.gain == float(kernel[delay]) == made.top
    times = torch.tensor([0, 5, 8])
    kept = made.at(times)
    assert torch.equal(kept.matrix, made.matrix[times][:, times])
    assert (kept.gate is None) == (error == "impulse")
