"""The number after `####` at the end of a GSM8K answer, and whether two answers agree on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal

PROMPT_END = "\nAnswer:"
_FINAL = re.compile(r"####\s*\$?\s*(-?\s*[\d,]*\.?\d+)")


def final_number(text: str) -> Decimal | None:
    """The last number that follows `####`, without thousands separators; None if there is none."""
    found = _FINAL.findall(text)
    return Decimal(re.sub(r"[,\s]", "", found[-1])) if found else None


def same_answer(generated: str, truth: str) -> bool:
    """Whether both texts end in the same number; text without one is never right."""
    number = final_number(generated)
    return number is not None and number == final_number(truth)


def prompt_length(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int | None:
    """How many tokens reach to the end of `Answer:`; None if the chunk holds no whole problem.

    Args:
        ids: tokens of a chunk, without padding.
        decode: text of tokens.
    """
    text = decode(ids)
    if not text.startswith("Question:") or PROMPT_END not in text or final_number(text) is None:
        return None
    low, high = 1, len(ids)
    while low < high:
        middle = (low + high) // 2
        if PROMPT_END in decode(ids[:middle]):
            high = middle
        else:
            low = middle + 1
    return low
