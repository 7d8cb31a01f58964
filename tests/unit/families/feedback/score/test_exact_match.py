"""The final number of a GSM8K answer."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from weft.families.feedback.score.exact_match import final_number, prompt_length, same_answer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 6*3=<<6*3=18>>18\n#### 18", "18"),
        ("#### 1,080", "1080"),
        ("#### $70,000.", "70000"),
        ("#### -3", "-3"),
        ("#### 2.50", "2.5"),
        ("#### .5", "0.5"),
        ("#### 5\nno, #### 7", "7"),
    ],
)
def test_the_number_after_the_last_hashes_is_read(text: str, number: str) -> None:
    assert final_number(text) == Decimal(number)


@pytest.mark.parametrize("text", ["18", "#### eighteen", "####", "### 18", ""])
def test_text_without_one_has_no_number(text: str) -> None:
    assert final_number(text) is None
    assert not same_answer(text, "#### 18")


def test_answers_agree_by_value_not_by_spelling() -> None:
    assert same_answer("#### 1,000.0", "#### 1000")
    assert not same_answer("#### 100", "#### 1000")


def bytes_of(text: str) -> list[int]:
    return list(text.encode())


def decode(ids: Sequence[int]) -> str:
    return bytes(ids).decode(errors="replace")


def test_the_prompt_ends_after_the_colon_of_answer() -> None:
    text = "Question: héllo?\nAnswer: 3 + 4 = 7\n#### 7"
    length = prompt_length(bytes_of(text), decode)
    assert length is not None
    assert decode(bytes_of(text)[:length]) == "Question: héllo?\nAnswer:"


@pytest.mark.parametrize(
    "text", ["Question: what?\nAnswer: it goes on and", "later part\nAnswer: 1\n#### 1", "text"]
)
def test_a_part_of_a_problem_is_not_asked(text: str) -> None:
    assert prompt_length(bytes_of(text), decode) is None


@pytest.mark.skipif("WEFT_DATA" not in os.environ, reason="gsm8k: WEFT_DATA is not set")
def test_every_answer_of_gsm8k_has_a_number() -> None:
    folder = Path(os.environ["WEFT_DATA"]) / "gsm8k"
    lines = (folder / "test.jsonl").read_text().splitlines()
    lines += gzip.decompress((folder / "train.jsonl.gz").read_bytes()).decode().splitlines()
    assert len(lines) == 1_319 + 7_473
    for line in lines:
        answer = json.loads(line)["answer"]
        stated = answer.split("####")[-1].strip().replace(",", "")
        assert final_number(answer) == Decimal(stated)
