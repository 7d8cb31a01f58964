"""Paths of a config are made absolute where they exist; names of sets stay names."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft import api
from weft.config.paths import PathText, map_paths
from weft.data.own import settled
from weft.families.feedback.options.sections import NAMES
from weft.families.feedback.sets.corpus import KNOWN
from weft.families.feedback.sets.rules import KINDS


def test_what_exists_is_made_absolute_and_names_stay(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("digits", "text", "corpus", "mine.npz"):
        Path(name).write_text("")
    (workspace / "sets").mkdir()
    (workspace / "sets" / "below.npz").write_text("")
    cet = api.configure("cet/digits", "data.root=sets").config
    assert settled(cet).plain()["data"]["dataset"] == "digits"
    assert settled(cet).plain()["data"]["root"] == str(workspace / "sets")
    for name, path in (("mine.npz", "mine.npz"), ("below.npz", "sets/below.npz")):
        words = ("cet/digits", "data.root=sets", f"data.dataset={name}")
        found = settled(api.configure(*words).config).plain()
        assert found["data"]["dataset"] == str(workspace / path)
        assert type(found["data"]["dataset"]) is str
    absent = api.configure("cet/digits", "data.dataset=absent.npz").config
    assert settled(absent).plain() == absent.plain()
    words = ("feedback/text", "data.tokenizer=bpe", "data.tokenizer_corpora=[text,corpus]")
    text = settled(api.configure(*words).config).plain()["data"]
    assert text["dataset"] == "text"
    assert text["tokenizer_corpora"] == ["text", str(workspace / "corpus")]


def test_a_settled_config_is_settled_and_valid() -> None:
    config = api.configure("warp/digits", "data.dataset=x.npz").config
    moved = map_paths(config, lambda text: f"/there/{text}")
    assert moved.plain()["data"]["dataset"] == "/there/x.npz"
    assert isinstance(moved.data.dataset, PathText)  # type: ignore[attr-defined]
    assert settled(moved).plain() == moved.plain()


def test_the_names_that_are_no_paths_are_the_sets_there_are() -> None:
    assert {*KNOWN, *KINDS} == set(NAMES)
