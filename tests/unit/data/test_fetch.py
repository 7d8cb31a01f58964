"""Files are looked for in the stated order, verified, downloaded, and missed with a clear error."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from weft.data import fetch
from weft.data.cache import cache_folder
from weft.data.catalog import sets
from weft.data.catalog.entry import DataSet, File, Form
from weft.errors import DataError

CONTENT = {"train": b"images to learn from", "test": b"images to be tested on"}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """The address of a loopback server that has both files of `tiny`."""
    served = tmp_path / "served"
    served.mkdir()
    for split, content in CONTENT.items():
        (served / f"{split}.bin").write_bytes(content)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def _file(split: str, *mirrors: str) -> File:
    content = CONTENT[split]
    urls = tuple(f"{mirror}/{split}.bin" for mirror in mirrors)
    return File(f"tiny/raw/{split}.bin", len(content), hashlib.sha256(content).hexdigest(), urls)


def _register(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> DataSet:
    """Puts a set `tiny` of two files, on those mirrors, into the catalogue."""
    form = Form("Tiny", "idx", {split: (_file(split, *mirrors),) for split in CONTENT})
    refused = {"tiny.pkl": "it holds pickles"}
    sizes = {split: 1 for split in CONTENT}
    tiny = DataSet("tiny", (1, 1, 1), ("a",), sizes, (1,), (form,), "none", "nobody", refused)
    monkeypatch.setattr(sets, "SETS", {**sets.SETS, "tiny": tiny})
    return tiny


def _put(folder: Path, name: str = "tiny/raw/{split}.bin") -> Path:
    """Writes both files of `tiny` below `folder`."""
    for split, content in CONTENT.items():
        path = folder / name.format(split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_root_comes_before_weft_data_before_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register(monkeypatch)
    root, shared = tmp_path / "root", tmp_path / "shared"
    monkeypatch.setenv("WEFT_DATA", str(_put(shared)))
    _put(root)
    _put(cache)

    def found(**options: object) -> Path | None:
        return fetch.require("tiny", "train", **options)[1][0]  # type: ignore[arg-type]

    assert found(root=root) == root / "tiny/raw/train.bin"
    assert found() == shared / "tiny/raw/train.bin"
    monkeypatch.delenv("WEFT_DATA")
    assert found() == cache / "tiny/raw/train.bin"


@pytest.mark.parametrize(
    "name", ["tiny/raw/{split}.bin", "raw/{split}.bin", "tiny/{split}.bin", "{split}.bin"]
)
def test_files_may_lie_in_the_layout_in_the_set_s_folder_or_flat(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register(monkeypatch)
    root = _put(tmp_path / "root", name)
    location = fetch.check("tiny", root=root)
    assert location.intact
    assert [status.path for status in location.files] == [
        root / name.format(split=split) for split in CONTENT
    ]


def test_the_cache_is_the_system_s_unless_weft_cache_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("WEFT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder().name == "weft"


@pytest.mark.parametrize("origin", ["data.root", "$WEFT_DATA"])
def test_a_named_folder_that_does_not_exist_is_an_error(
    origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typo = tmp_path / "typo"
    if origin == "$WEFT_DATA":
        monkeypatch.setenv("WEFT_DATA", str(typo))
    with pytest.raises(DataError, match="is no folder") as caught:
        fetch.locate("mnist", root=typo if origin == "data.root" else None)
    assert caught.value.where == origin


def test_digits_are_found_whatever_the_folders() -> None:
    assert fetch.check("digits", root="/no/such/folder").intact


def test_a_missing_file_is_reported_with_every_place_its_checksum_and_the_command(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = _register(monkeypatch, "http://127.0.0.1:1")
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(DataError) as caught:
        fetch.require("tiny", "train", root=root, download=False)
    text = str(caught.value)
    for folder in (root, cache):
        for name in ("tiny/raw/train.bin", "raw/train.bin", "tiny/train.bin", "train.bin"):
            assert str(folder / name) in text
    assert tiny.forms[0].files[0].sha256 in text
    assert "data.download=false" in text
    assert "weft data get tiny" in text


def test_an_unreachable_mirror_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    _register(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(DataError, match=r"needs train\.bin") as caught:
        fetch.require("tiny", "train")
    assert "http://127.0.0.1:1/train.bin: " in caught.value.hint
    assert "weft data get tiny" in caught.value.hint


def test_a_file_in_a_refused_form_is_mentioned_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register(monkeypatch)
    (tmp_path / "tiny.pkl").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        fetch.require("tiny", "train", root=tmp_path)
    assert f"{tmp_path / 'tiny.pkl'} is not read: it holds pickles" in caught.value.hint


def test_cifar10_pickles_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"needs cifar-10-binary\.tar\.gz") as caught:
        fetch.require("cifar10", "train", root=tmp_path, download=False)
    assert "reading a pickle can run code" in caught.value.hint


def test_a_missing_file_is_downloaded_to_the_cache_once(
    mirror: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register(monkeypatch, mirror)
    _, [path] = fetch.require("tiny", "train")
    assert path == cache / "tiny/raw/train.bin"
    assert path.read_bytes() == CONTENT["train"]
    _register(monkeypatch, "http://127.0.0.1:1")
    assert fetch.require("tiny", "train")[1] == (path,)


def test_the_next_mirror_is_tried_when_one_fails(
    mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register(monkeypatch, "http://127.0.0.1:1", f"{mirror}/nowhere", mirror)
    assert fetch.require("tiny", "test")[1][0].read_bytes() == CONTENT["test"]


def test_a_download_with_a_wrong_checksum_is_refused_and_leaves_no_file(
    mirror: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register(monkeypatch, mirror)
    (tmp_path / "served/train.bin").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"needs train\.bin"):
        fetch.require("tiny", "train")
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_get_downloads_what_is_missing_reports_progress_and_verifies(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register(monkeypatch, mirror)
    root = tmp_path / "root"
    (root / "tiny/raw").mkdir(parents=True)
    (root / "tiny/raw/train.bin").write_bytes(CONTENT["train"])
    seen: list[tuple[str, int, int]] = []
    location = fetch.get("tiny", root=root, progress=lambda *call: seen.append(call))
    assert location.intact
    assert {name for name, _, _ in seen} == {"test.bin"}
    assert seen[-1] == ("test.bin", len(CONTENT["test"]), len(CONTENT["test"]))
    assert (root / "tiny/raw/test.bin").read_bytes() == CONTENT["test"]


def test_a_damaged_file_is_refused_with_both_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = _register(monkeypatch, "http://127.0.0.1:1")
    path = _put(tmp_path / "root") / "tiny/raw/train.bin"
    path.write_bytes(b"cut short")
    for use in (partial(fetch.require, "tiny", "train"), partial(fetch.get, "tiny")):
        with pytest.raises(DataError, match="is damaged") as caught:
            use(root=tmp_path / "root")
        assert str(path) in caught.value.message
        assert tiny.forms[0].files[0].sha256 in caught.value.expected
        assert hashlib.sha256(b"cut short").hexdigest() in caught.value.hint
        assert "weft data get tiny" in caught.value.hint


def test_check_tells_ok_damaged_and_missing_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register(monkeypatch)
    root = _put(tmp_path / "root")
    train, test = root / "tiny/raw/train.bin", root / "tiny/raw/test.bin"
    test.write_bytes(b"other")
    assert [s.state for s in fetch.locate("tiny", root=root).files] == ["present", "present"]
    assert [s.state for s in fetch.check("tiny", root=root).files] == ["ok", "damaged"]
    train.unlink()
    location = fetch.check("tiny", root=root)
    assert [s.state for s in location.files] == ["missing", "damaged"]
    assert not location.complete
    assert not location.intact


def test_a_complete_form_is_preferred_to_one_that_would_have_to_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_set = _register(monkeypatch, "http://127.0.0.1:1")
    far = Form(
        "Far", "idx", {split: (File("tiny/far", 1, "0" * 64, ("http://127.0.0.1:1/far",)),)
        for split in CONTENT}
    )  # fmt: skip
    object.__setattr__(data_set, "forms", (far, *data_set.forms))
    assert fetch.locate("tiny").form.title == "Far"
    assert fetch.locate("tiny", root=_put(tmp_path / "root")).form.title == "Tiny"


def test_a_split_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(DataError, match="no split `val`") as caught:
        fetch.require("digits", "val")
    assert caught.value.expected == "one of train, test"


def test_the_real_files_match_the_catalogue(real_data: Path) -> None:
    for name in ("mnist", "cifar10"):
        assert fetch.check(name, root=real_data).intact
