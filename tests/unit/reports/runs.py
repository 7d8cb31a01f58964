"""Runs as their files would tell them, without training any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weft.run.registry import Run

CONFIG: dict[str, Any] = {
    "family": "cet",
    "seed": 0,
    "delay": 20,
    "order": 10,
    "sparse_inputs": True,
    "optim": {"kind": "adam", "lr": 1e-3},
    "data": {"dataset": "mnist", "root": None},
    "engine": {"device": "auto", "precision": "fp32"},
    "run": {"dir": None, "tags": ["a"]},
}


def run(
    path: Path = Path("runs/cet/mnist"),
    *,
    metrics: dict[str, float | None] | None = None,
    steps: int = 8460,
    status: dict[str, Any] | None = None,
    resolved: dict[str, Any] | None = None,
    env: dict[str, Any] | None = None,
    **config: Any,
) -> Run:
    """A finished run; keywords change its config."""
    return Run(
        path,
        {**CONFIG, **config},
        {"total_steps": steps, "parameters": 669706, "bytes_weights": 2**24, **(resolved or {})},
        {
            "state": "finished",
            "recipe": "cet/mnist",
            "step": steps,
            "total_steps": steps,
            "started": "2026-11-20T14:03:11Z",
            "seconds": 161.2,
            "declared": [
                {"name": "accuracy", "better": "higher", "unit": "", "about": ""},
                {"name": "loss", "better": "lower", "unit": "nats", "about": ""},
            ],
            "metrics": metrics or {"test/loss": 0.0587, "test/accuracy": 0.9742},
            "best": None,
            "message": "",
            **(status or {}),
        },
        {
            "torch": "2.13.0",
            "device_name": "a small CPU",
            "git": {"commit": "3f9c2b1e", "dirty": True},
            "command": ["/opt/bin/weft", "train", "cet/mnist", "run.tags=[a b]"],
            **(env or {}),
        },
    )
