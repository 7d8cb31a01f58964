"""What a caller has set in torch neither reaches a run nor is changed by it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weft import api
from weft.engine.isolation import isolated
from weft.errors import NonFiniteError
from weft.run.registry import Run

WORDS = ("steps=4", "dropout=0.5", "noise=0.1", "log.tensorboard=false", "engine.threads=1")

Surroundings = Callable[[], AbstractContextManager[Any]]


@contextmanager
def _set(setter: Callable[[Any], Any], value: object, afterwards: object) -> Iterator[None]:
    setter(value)
    try:
        yield
    finally:
        setter(afterwards)


@contextmanager
def _attention_without_cudnn() -> Iterator[None]:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(not before)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


@contextmanager
def _errors() -> Iterator[None]:
    with warnings.catch_warnings(action="error"):
        yield


SURROUNDINGS: dict[str, Surroundings] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: _set(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": lambda: _set(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "device meta": lambda: _set(torch.set_default_device, "meta", None),
    "with device meta": lambda: torch.device("meta"),
    "medium products": lambda: _set(torch.set_float32_matmul_precision, "medium", "highest"),
    "attention": _attention_without_cudnn,
    "warnings are errors": _errors,
    "three threads": lambda: _set(torch.set_num_threads, 3, torch.get_num_threads()),
}


def state() -> dict[str, Any]:
    """What a process has set in torch, and where its generators are."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index]
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "products": torch.get_float32_matmul_precision(),
        "attention": torch.backends.cuda.cudnn_sdp_enabled(),
        "filters": list(warnings.filters),
    }


@pytest.fixture
def alone(toy: str, workspace: Path) -> Run:
    run = api.train(toy, *WORDS, report=False)
    assert run is not None
    return run


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_caller_s_torch_neither_reaches_a_run_nor_is_changed(
    name: str, alone: Run, toy: str, tmp_path: Path
) -> None:
    verbs: dict[str, Callable[[], Any]] = {
        "train": lambda: api.train(toy, *WORDS),
        "dry_run": lambda: api.dry_run(toy, *WORDS),
        "evaluate": lambda: api.evaluate(alone.path),
        "sample": lambda: api.sample(alone.path),
        "report": lambda: api.report(alone.path),
        "load": lambda: api.load(alone.path),
        "load_weights": lambda: api.load(alone.path / "model.safetensors"),
        "resume": lambda: api.resume(alone.path, "steps=5"),
    }
    found, changed = {}, []
    with SURROUNDINGS[name]():
        for verb, call in verbs.items():
            before = state()
            found[verb] = call()
            after = state()
            changed += [(verb, key) for key in before if before[key] != after[key]]
    assert changed == []
    assert found["train"].metrics == alone.metrics == found["evaluate"]
    weights = alone.load_model("4").state_dict()
    for verb in ("load", "load_weights"):
        assert all(not tensor.is_inference() for tensor in found[verb].parameters())
        assert all(torch.equal(weights[k], v) for k, v in found[verb].state_dict().items())


def test_products_that_each_place_was_told_of_by_itself_stay_so() -> None:
    place = torch.backends.mkldnn.matmul
    torch.set_float32_matmul_precision("highest")
    before = place.fp32_precision
    a = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    whole = a @ a
    try:
        place.fp32_precision = "bf16"
        with isolated():
            assert torch.get_float32_matmul_precision() == "highest"
            assert torch.equal(a @ a, whole)
        assert place.fp32_precision == "bf16"
    finally:
        place.fp32_precision = before


def test_the_ground_is_left_as_it_was_found_when_a_run_fails(toy: str, workspace: Path) -> None:
    before = state()
    with pytest.raises(NonFiniteError):
        api.train(toy, *WORDS, "poison=2", report=False)
    assert state() == before


def test_two_threads_train_what_each_would_alone(alone: Run, toy: str) -> None:
    # Slow enough that the steps of both would fall between each other.
    words = (*WORDS, "pause=0.02")
    with ThreadPoolExecutor(2) as both:
        asked = [both.submit(api.train, toy, *words, f"run.dir=of-{n}", report=False) for n in "ab"]
        runs = [each.result() for each in asked]
    assert [run.metrics for run in runs if run is not None] == [alone.metrics] * 2


def test_a_run_may_be_evaluated_from_within_another(
    alone: Run, toy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(step: int, numbers: Any) -> None:
        torch.randn(3)
        seen.append(api.evaluate(alone.path))

    run = api.train(toy, *WORDS, "log.every=1", report=False, on_step=look)
    assert run is not None
    assert run.metrics == alone.metrics and seen == [alone.metrics] * 4


FORKED = """
import multiprocessing, torch
from weft import api
from weft.errors import DeviceError

def one(threads):
    more = {} if threads is None else {"engine": {"threads": threads}}
    try:
        return api.train("cet/digits", steps=2, report=False, **more).metrics["test/accuracy"]
    except DeviceError as error:
        return str(error)

torch.set_num_threads(2)
torch.randn(600, 600) @ torch.randn(600, 600)
known = one(1)
with multiprocessing.get_context("fork").Pool(1) as pool:
    found = pool.map_async(one, [None, 2]).get(timeout=100)
print(found[0] == known, "engine.threads" in found[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_run_in_a_forked_process_does_not_wait_for_threads_that_are_not_there(
    workspace: Path,
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["True", "True"], done.stderr
