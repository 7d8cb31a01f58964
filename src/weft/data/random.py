"""Named random streams: every draw is a pure function of (seed, step, name)."""

from __future__ import annotations

import hashlib

import torch


def derive(*parts: int | str) -> int:
    """A 63-bit seed from `parts`, the same on every machine and Python version."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def stream_seed(seed: int, step: int, name: str) -> int:
    """The seed of the stream `name` at `step` of the run with `seed`."""
    # The last part was once the process's rank; 0 keeps the numbers of earlier runs.
    return derive(seed, step, name, 0)


def stream(
    seed: int, step: int, name: str, *, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator on `device` for the stream `name` at `step` of the run with `seed`."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, step, name))
