"""Checkpoints are atomic, verified, and the newest good one is found again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from weft.engine.checkpoint import Store, read
from weft.errors import CheckpointError


def _fill(store: Store, *steps: int, best: int | None = None) -> None:
    for step in steps:
        store.save({"w": torch.full((3,), float(step))}, step, best=step == best)


def test_retention_keeps_the_newest_the_best_and_every_nth(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=2, keep_every=30)
    _fill(store, 10, 20, 30, 40, 50, 60, 70, best=20)
    assert store.steps() == [20, 30, 60, 70]
    assert store.find("best").name == "step_00000020.pt"
    assert store.find("last").name == "step_00000070.pt"
    assert store.find("30").name == "step_00000030.pt"
    assert not list(tmp_path.glob("*10*"))


def test_the_checksum_is_one_that_sha256sum_accepts(tmp_path: Path) -> None:
    _fill(Store(tmp_path), 1)
    done = subprocess.run(["sha256sum", "-c", "step_00000001.pt.sha256"], cwd=tmp_path, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("damage", ["truncated", "tampered", "no checksum"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, damage: str
) -> None:
    warnings: list[str] = []
    store = Store(tmp_path, warn=warnings.append)
    _fill(store, 1, 2)
    newest = tmp_path / "step_00000002.pt"
    content = bytearray(newest.read_bytes())
    if damage == "truncated":
        newest.write_bytes(content[: len(content) // 2])
    elif damage == "tampered":
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
    else:
        (tmp_path / "step_00000002.pt.sha256").unlink()
    state = store.newest()
    assert state is not None
    assert state["w"].tolist() == [1.0] * 3
    assert len(warnings) == 1
    assert "step_00000002.pt" in warnings[0]


def test_when_all_are_damaged_nothing_is_guessed(tmp_path: Path) -> None:
    store = Store(tmp_path, warn=lambda _: None)
    _fill(store, 1)
    (tmp_path / "step_00000001.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="all 1 checkpoints are damaged"):
        store.newest()


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    import hashlib
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("boom",))

    path = tmp_path / "step_00000001.pt"
    torch.save({"format": 1, "w": Bomb()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    with pytest.raises(pickle.UnpicklingError):
        read(path)


def test_a_full_disk_leaves_the_older_checkpoint_and_no_debris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    _fill(store, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="No space left"):
        _fill(store, 2)
    assert store.steps() == [1]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step_00000001.pt",
        "step_00000001.pt.sha256",
    ]


def test_an_unknown_checkpoint_name_lists_those_there_are(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _fill(store, 1, 2)
    with pytest.raises(CheckpointError) as caught:
        store.find("3")
    assert "one of last, 1, 2" in str(caught.value)
