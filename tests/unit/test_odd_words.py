"""Words that look like others, numbers that are none, and places that hold no file."""

import os
from pathlib import Path

import pytest
import torch

from weft import api, families
from weft.atomic import write_text
from weft.config.load import load
from weft.errors import RunError, UsageError
from weft.system import fault


def refused(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(("cet/digits", *words), families)
    return str(caught.value)


@pytest.mark.parametrize("word", ["delay=true", "optim.lr=true", "eval.every=false"])
def test_true_and_false_are_not_taken_for_one_and_zero(word: str) -> None:
    assert "is not allowed" in refused(word)


def test_a_number_that_no_tensor_holds_is_told_beside_the_other_mistakes() -> None:
    told = refused(f"seed={2**63}", "delay=-1", "dealy=4")
    assert "`seed`: a whole number has 63 bits at most" in told
    assert "`delay` = -1" in told and "unknown key `dealy`" in told
    assert load(("cet/digits", f"seed={2**63 - 1}"), families).config.seed == 2**63 - 1


@pytest.mark.parametrize("word", [" delay=5", "delay = 5", "=5", ""])
def test_a_word_with_blanks_about_its_sign_is_told_what_one_looks_like(word: str) -> None:
    assert "KEY=VALUE, without blanks" in refused(word)


def test_a_folder_named_as_a_recipe_is_told_to_be_one(tmp_path: Path) -> None:
    assert "is a folder, and not that of a run" in refused(str(tmp_path))


@pytest.mark.parametrize("name", ["CET", "Cet"])
def test_a_name_in_another_case_is_suggested(name: str) -> None:
    with pytest.raises(UsageError, match="did you mean `cet`"):
        families.find(name)


def test_a_word_that_names_no_run_is_told_by_a_comparison(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such run"):
        api.compare(tmp_path, tmp_path / "nothing")


def test_a_pipe_or_a_folder_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for taken in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UsageError, match="this is"):
            write_text(taken, "text")
    assert (tmp_path / "pipe").is_fifo() and list(tmp_path.iterdir()) == [tmp_path / "pipe"]


@pytest.mark.parametrize("size", [2**50, 2**62])
def test_a_tensor_too_large_for_the_processor_is_want_of_memory(size: int) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(size)
    assert "there is not enough memory" in str(fault(caught.value))
