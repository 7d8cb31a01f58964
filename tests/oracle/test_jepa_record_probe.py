"""The published probe and the numbers logged of it, against what the original computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.oracle.jepa_records import Record, distance, record
from weft.families.jepa.nets.predictor import build_predictor
from weft.families.jepa.options.sections import ModelConfig
from weft.families.jepa.score import probe
from weft.families.jepa.score.probe import Pair, Probe, fit_adam, squared_errors
from weft.families.jepa.sets.scene import ONE_DOT, THREE_DOTS, Norm, Scene
from weft.papers.jepa.names import logged

BURNIN_AND_DOTS = [(1, 1), (1, 3), (3, 1), (3, 3)]


def _pairs(held: Record, burnin: int) -> list[Pair]:
    """Rollouts of the record's linear codes with its forward model."""
    kind = "rnn" if burnin == 1 else "rnn_burnin"
    model = build_predictor(ModelConfig(predictor=kind, rnn_burnin=burnin), 6, None).double()
    state = {
        name.replace("predictor.rnn.", "gru.").replace("predictor.output_projector.", "read."): w
        for name, w in held.group("param")
        if name.startswith("predictor.")
    }
    model.load_state_dict(state)
    pairs = []
    for states, action, location in zip(
        held["input/states"], held["input/action"], held["input/location"], strict=True
    ):
        weight, bias = held["param/code.weight"], held["param/code.bias"]
        codes = (states.transpose(0, 1).flatten(2) @ weight.T + bias)[:burnin]
        predicted = model(codes, action[:, :, 0].transpose(0, 1))
        pairs.append((torch.cat((codes[-1:], predicted)).detach(),
                      location.transpose(0, 1)[burnin - 1 :]))  # fmt: skip
    return pairs


def _first_frames(held: Record) -> list[Pair]:
    """The record's codes of the first frame, which the encoder's own probe reads."""
    codes = held["input/states"][:, :, 0].flatten(2) @ held["param/code.weight"].T
    return [
        ((z + held["param/code.bias"])[None], p[None])
        for z, p in zip(codes, held["input/location"][:, :, 0], strict=True)
    ]


def _begun_at(weight: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the next probes begin where the original's did."""

    def begun(code_dim: int, num_dots: int, hidden: str = "") -> Probe:
        made = Probe(code_dim, num_dots, hidden).double()
        made.load_state_dict({"read.0.weight": weight})
        return made

    monkeypatch.setattr(probe, "Probe", begun)


@pytest.mark.parametrize(("burnin", "dots"), BURNIN_AND_DOTS)
def test_the_published_probe_and_all_that_is_logged_of_it_are_the_original_s(
    burnin: int, dots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = record(f"probe_burnin{burnin}_dots{dots}")
    pairs = _pairs(held, burnin)
    for (codes, _), expected in zip(pairs, held["expect/codes"], strict=True):
        assert distance(codes, expected) <= 1e-12
    _begun_at(held["param/prober_start"], monkeypatch)
    every = fit_adam(pairs * 2, lr=0.01)
    _begun_at(held["param/prober_enc_start"], monkeypatch)
    starts = _first_frames(held)
    first = fit_adam(starts * 2, lr=0.01)
    assert distance(next(every.parameters()), held["expect/prober"]) <= 1e-8
    [errors], [of_first] = squared_errors([every], pairs), squared_errors([first], starts)
    scene = Scene(walks=ONE_DOT if dots == 1 else THREE_DOTS)
    norm = Norm.unit_variance(scene, torch.zeros(dots), torch.ones(dots))
    found = logged(errors, of_first[0], norm.location_scale)
    names = {name.replace("|", "/"): value for name, value in held.group("expect")}
    expected = {name[4:]: value for name, value in names.items() if name.startswith("log:")}
    assert expected.keys() - found.keys() == {"epoch", "sample_step", "custom_step"}
    assert found.keys() <= expected.keys()
    for name, value in found.items():
        assert value == pytest.approx(expected[name].item(), rel=1e-8), name


def test_hidden_layers_of_the_published_probe_are_normalised_over_the_rows() -> None:
    held = record("probe_mlp")
    made = Probe(6, 3, "10-8").double()
    state = {f"read.{name.removeprefix('prober.')}": w for name, w in held.group("param")}
    missing, unexpected = made.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("running" in name or "num_batches" in name for name in missing)
    assert distance(made(held["input/codes"]), held["expect/location"]) <= 1e-12
