"""The final number of a GSM8K answer."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from weft.families.feedback.score.exact_match import (
    answer_of,
    final_number,
    prompt_length,
    same_answer,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 6*3=<<6*3=18>>18\n#### 18", "18"),
        ("#### 18.", "18"),
        ("####18", "18"),
        ("#### 18 apples", "18"),
        ("#### x = 18", "18"),
        ("#### 2.50", "2.5"),
        ("#### .5", "0.5"),
        ("#### 50%", "50"),
        # Currency signs, before and after.
        ("#### $70,000.", "70000"),
        ("#### 18 €", "18"),
        ("#### £ 18", "18"),
        ("#### US$18", "18"),
        ("#### US\\$18", "18"),
        ("#### 2*5", "2"),
        # Any minus sign, on either side of a currency sign.
        ("#### -3", "-3"),
        ("#### - 3", "-3"),
        ("#### \u22123", "-3"),
        ("#### \u20133", "-3"),
        ("#### \uff0d3", "-3"),
        ("#### -$3", "-3"),
        ("#### $-3", "-3"),
        ("#### +3", "3"),
        ("#### 5-3", "5"),
        # Thousands.
        ("#### 1,080", "1080"),
        ("#### 1,234,567.5", "1234567.5"),
        ("#### 1 080", "1080"),
        ("#### 1\u202f080", "1080"),
        ("#### 1'080", "1080"),
        ("#### 3, 4", "3"),
        # Markdown and LaTeX.
        ("#### **18**", "18"),
        ("#### __18__", "18"),
        ("#### `18`", "18"),
        ("#### $18$", "18"),
        ("#### \\$18", "18"),
        ("#### $\\boxed{18}$", "18"),
        ("#### \\(18\\)", "18"),
        ("#### \\[\\text{18}\\]", "18"),
        ("#### $1{,}080$", "1080"),
        ("#### $1\\,080$", "1080"),
        ("#### \\frac{3}{4}", "3/4"),
        ("#### 3/4", "3/4"),
        # Exponents.
        ("#### 1.5e3", "1500"),
        ("#### 2E-2", "0.02"),
        ("#### 1.5 \\times 10^{3}", "1500"),
        ("#### 1.5 \u00d7 10^3", "1500"),
        ("#### 1.5 \u00d7 10³", "1500"),
        ("#### 2 x 10⁻²", "0.02"),
        ("#### 2*10**3", "2000"),
        # Digits of other scripts.
        ("#### \uff11\uff18", "18"),
        # The last one counts.
        ("#### 5\nno, #### 7", "7"),
        ("#### 5\n#### nothing", "5"),
    ],
)
def test_the_number_after_the_last_hashes_is_read_as_people_write_it(
    text: str, number: str
) -> None:
    assert final_number(text) == Fraction(number)


@pytest.mark.parametrize(
    "text",
    ["18", "#### eighteen", "####", "### 18", "", "####\n18", "#### B12", "#### 1e999999999"],
)
def test_text_without_one_has_no_number(text: str) -> None:
    assert final_number(text) is None
    assert not same_answer(text, "#### 18")


def test_answers_agree_by_value_not_by_spelling() -> None:
    assert same_answer("#### 1,000.0", "#### 1000")
    assert not same_answer("#### 100", "#### 1000")


@pytest.mark.parametrize(
    ("goes_on", "answer"),
    [
        ("", " 3 + 4 = 7\n#### 7"),
        ("\n\nQuestion: and now?\nAnswer: 8\n#### 8", " 3 + 4 = 7\n#### 7"),
        ("\nQuestion: and", " 3 + 4 = 7\n#### 7"),
        (" or so", " 3 + 4 = 7\n#### 7 or so"),
    ],
)
def test_another_problem_is_no_part_of_the_answer(goes_on: str, answer: str) -> None:
    text = f"Question: what?\nAnswer: 3 + 4 = 7\n#### 7{goes_on}"
    assert answer_of(text) == answer


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
        assert final_number(answer) == Fraction(stated)
