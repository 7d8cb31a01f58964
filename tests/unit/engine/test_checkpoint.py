"""Checkpoints are atomic, verified, and the newest good one is found again."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from weft.engine.checkpoint import Store, read
from weft.errors import CheckpointError


def _fill(store: Store, *steps: int, best: int | None = None) -> None:
    """Saves the steps; from `best` on each checkpoint says that this one is the best."""
    for step in steps:
        progress = {"best_step": best if best is not None and step >= best else None}
        store.save({"w": torch.full((3,), float(step)), "progress": progress}, step)


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


def test_a_step_that_is_saved_anew_can_be_read_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, replace, found = Store(tmp_path), Path.replace, []

    def watched(self: Path, target: Path) -> Path:
        """As a process that is killed before or after a file takes its place would leave it."""
        found.append(int(read(tmp_path / "step_00000007.pt")["w"]))
        done = replace(self, target)
        found.append(int(read(tmp_path / "step_00000007.pt")["w"]))
        return done

    store.save({"w": torch.tensor(1), "progress": {}}, 7)
    monkeypatch.setattr(Path, "replace", watched)
    store.save({"w": torch.tensor(2), "progress": {}}, 7)
    assert found == [1, 1, 1, 2, 2, 2]
    (sum_file,) = tmp_path.glob("*.sha256")
    assert len(sum_file.read_text().splitlines()) == 1


@pytest.mark.parametrize(("owner", "name"), [(Path, "read_text"), (torch, "load")])
def test_a_checkpoint_that_its_run_replaces_while_it_is_read_gives_way_to_the_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    writer, warnings = Store(tmp_path, keep=1), list[str]()
    _fill(writer, 1)
    original = getattr(owner, name)

    def replaced(*words: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, original)
        _fill(writer, 2)
        return original(*words, **options)

    monkeypatch.setattr(owner, name, replaced)
    state = Store(tmp_path, warn=warnings.append).newest()
    assert state is not None and state["w"].tolist() == [2.0] * 3
    assert warnings == []


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


def _sealed(path: Path, content: object) -> Path:
    """Writes `content` as a checkpoint whose checksum is right."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    return path


def test_code_in_a_checkpoint_is_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("boom",))

    path = _sealed(tmp_path / "step_00000001.pt", {"format": 1, "w": Bomb()})
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x80\x02.", "text", [1, 2], {"format": 99}, None]
)
def test_what_is_no_checkpoint_is_told_as_one_error(tmp_path: Path, content: object) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(_sealed(tmp_path / "step_00000001.pt", content))
    assert caught.value.where.endswith("step_00000001.pt")


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"  \n", b"not a sum"])
def test_a_damaged_sum_is_told_like_a_damaged_checkpoint(tmp_path: Path, text: bytes) -> None:
    path = _sealed(tmp_path / "step_00000001.pt", {"format": 1})
    path.with_name(path.name + ".sha256").write_bytes(text)
    with pytest.raises(CheckpointError, match="its checksum differs"):
        read(path)


def test_the_best_is_what_the_newest_good_checkpoint_says(tmp_path: Path) -> None:
    # Killed right after a new best was saved, before anything else was written.
    store = Store(tmp_path, keep=3, warn=lambda _: None)
    _fill(store, 1, 2, best=1)
    _fill(store, 3, best=3)
    assert store.best() == 3
    (tmp_path / "step_00000003.pt").write_bytes(b"cut short")
    assert store.best() == 1


def test_a_damaged_best_gives_way_to_the_newest_good_one_unless_it_was_named(
    tmp_path: Path,
) -> None:
    warnings: list[str] = []
    store = Store(tmp_path, keep=3, warn=warnings.append)
    _fill(store, 1, 2, 3, best=1)
    assert store.load()["w"].tolist() == [1.0] * 3
    (tmp_path / "step_00000001.pt").write_bytes(b"")
    assert store.load()["w"].tolist() == [3.0] * 3
    assert "step_00000001.pt" in warnings[0]
    with pytest.raises(CheckpointError, match="damaged"):
        store.load("best")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _fill(store, 1)
    left = {".step_00000002.pt.0a1b2c3d.tmp", "step_00000002.pt.sha256"}
    for name in left:
        (tmp_path / name).write_text("half")
    (tmp_path / "notes.txt").write_text("mine")
    store.tidy()
    assert {path.name for path in tmp_path.iterdir()} == {
        "notes.txt", "step_00000001.pt", "step_00000001.pt.sha256",
    }  # fmt: skip


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
