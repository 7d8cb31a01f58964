"""Weights go to the hub and come back; a hub that is not there is one error."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from weft import api
from weft.cli import main
from weft.run.exchange.hub import _hub
from weft.run.registry import Run

constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub is missing")

NOWHERE = "http://127.0.0.1:9"


class FakeHub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as making, filling and reading a repository takes."""

    files: dict[str, bytes]

    def log_message(self, *words: object) -> None:
        """Says nothing."""

    def answer(self, body: bytes, **heads: str) -> None:
        self.send_response(200)
        for name, value in {**heads, "Content-Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers["Content-Length"])).decode()
        address = f"http://{self.headers['Host']}/me/tiny"
        answer: object = {"url": address, "commitOid": "c" * 40, "commitUrl": f"{address}/commit/c"}
        if self.path.endswith("/preupload/main"):
            told = [{"path": each["path"], "uploadMode": "regular"} for each in
                    json.loads(said)["files"]]  # fmt: skip
            answer = {"files": [{**each, "shouldIgnore": False} for each in told]}
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, said.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.files[value["path"]] = base64.b64decode(value["content"])
        self.answer(json.dumps(answer).encode(), Content_Type="application/json")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if self.path == "/api/models/me/tiny":
            self.answer(json.dumps({"id": "me/tiny", "sha": "c" * 40}).encode())
            return
        if "/resolve/" in self.path and name in self.files:
            self.answer(self.files[name], ETag='"tag"', X_Repo_Commit="c" * 40)
            return
        code = "EntryNotFound" if "me/tiny" in self.path else "RepoNotFound"
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A hub on this machine, and the files it holds."""
    FakeHub.files = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_fake")
    yield FakeHub.files
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(toy: str, workspace: Path, without_pictures: None) -> Run:
    done = api.train("toy/small", "steps=4", "log.tensorboard=false")
    assert done is not None
    return done


def test_what_is_pushed_can_be_pulled_and_loaded(
    server: dict[str, bytes], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(run.path), "me/tiny"]) == 0
    assert "/me/tiny" in capsys.readouterr().out
    assert sorted(server) == ["README.md", "config.yaml", "model.safetensors"]
    card = server["README.md"].decode()
    assert "weft pull me/tiny" in card and "| test/loss | " in card
    assert main(["pull", "me/tiny", "here"]) == 0
    file = Path("here/model.safetensors")
    assert str(file) in capsys.readouterr().out
    assert file.read_bytes() == (run.path / "model.safetensors").read_bytes()
    one, other = api.load(file).state_dict(), api.load(run.path).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    again = api.train("toy/small", f"init={file}", "steps=1", "log.tensorboard=false")
    assert again is not None and "init" in again.parents


def test_what_weft_did_not_write_is_refused(
    server: dict[str, bytes], toy: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save

    server["model.safetensors"] = save({"w": torch.zeros(2)}, {"format": "pt"})
    assert main(["pull", "me/tiny"]) == 1
    assert "weft did not write this file" in capsys.readouterr().err


@pytest.mark.parametrize("repository", ["me/tiny", "me/none"])
def test_what_is_not_there_is_told(
    server: dict[str, bytes], workspace: Path, capsys: pytest.CaptureFixture[str], repository: str
) -> None:
    assert main(["pull", repository]) == 2
    assert "usage error: the hub has no such thing" in capsys.readouterr().err


def test_a_run_without_weights_is_not_pushed(
    server: dict[str, bytes], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.path / "model.safetensors").unlink()
    assert main(["push", str(run.path), "me/tiny"]) == 2
    assert "the run has no weights to give away" in capsys.readouterr().err
    assert server == {}


@pytest.mark.parametrize("command", ["push", "pull"])
def test_a_hub_out_of_reach_is_one_error(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    words = {"push": ["push", str(run.path), "me/tiny"], "pull": ["pull", "me/tiny"]}[command]
    assert main(words) == 1
    message = capsys.readouterr().err
    assert message.startswith("system error: the Hugging Face hub cannot be reached")
    assert f"({NOWHERE})" in message and "Traceback" not in message


@pytest.mark.slow
def test_a_hub_out_of_reach_is_one_error_from_the_shell(workspace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "weft", "pull", "me/tiny"],
        capture_output=True, text=True, check=False, env={**os.environ, "HF_ENDPOINT": NOWHERE},
    )  # fmt: skip
    assert done.returncode == 1
    assert "the Hugging Face hub cannot be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 3


def test_a_full_disk_is_not_the_hub_s_fault() -> None:
    with pytest.raises(OSError, match="No space left"), _hub(), open("/dev/full", "w") as full:
        full.write("x")


def test_without_the_package_the_install_command_is_told(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["push", str(run.path), "me/tiny"]) == 1
    assert "pip install 'weft[hub]'" in capsys.readouterr().err
