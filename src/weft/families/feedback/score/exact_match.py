"""The number after `####` at the end of a GSM8K answer, and whether two answers agree on it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from fractions import Fraction

from weft.families.feedback.sets.tokenizer import reach

PROMPT_END = "\nAnswer:"
_NEXT_PROBLEM = re.compile(r"\s*\n\s*Question:")
_FINAL = re.compile(r"####([^\n]*)")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_TIMES_TEN = r"\s*(?:\\times|\\cdot|[\u00d7\u00b7x*])\s*10"
_SPELLINGS = (
    (re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+"), lambda found: "^" + found[0].translate(_RAISED)),
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    # 1.5 \times 10^{3}, 1.5 x 10**3
    (re.compile(_TIMES_TEN + r"\s*(?:\^|\*\*)\s*\{?\s*([-+]?\d+)\s*\}?"), r"e\1"),
    # Marks of LaTeX and Markdown: \boxed{, \text{, \$, \,, {,}, **, __, `
    (re.compile(r"\\[a-zA-Z]+\s*\{|\\(?=\$)|\\[^\w$]|(?<!\d)\*|\*(?!\d)|[{}_`~]"), ""),
)  # fmt: skip
_NUMBER = re.compile(
    r"(?<![\w.])([-+]?)\s*((?:\d{1,3}(?:[, '\u2019]\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"([eE][-+]?\d+)?(?:\s*/\s*(\d+))?"
)
_LARGEST_EXPONENT = 100


def final_number(text: str) -> Fraction | None:
    """The last number that follows `####` in its line; None if there is none.

    It may have a currency sign or a unit, any minus sign, thousands separators or an exponent, be a
    fraction, and stand between marks of LaTeX or Markdown.
    """
    found = [number for line in _FINAL.findall(text) if (number := _number(line)) is not None]
    return found[-1] if found else None


def answer_of(text: str) -> str:
    """The text after `Answer:`, up to the next problem, if there is one."""
    answer = text.partition(PROMPT_END)[2]
    return _NEXT_PROBLEM.split(answer)[0]


def same_answer(generated: str, truth: str) -> bool:
    """Whether both answers end with the same number; False if one has no number."""
    number = final_number(generated)
    return number is not None and number == final_number(truth)


def prompt_length(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int | None:
    """Number of tokens up to the end of `Answer:`; None if the chunk is not a whole problem.

    Args:
        ids: tokens of a chunk, without padding.
        decode: text of tokens.
    """
    text = decode(ids)
    if not text.startswith("Question:") or final_number(text) is None:
        return None
    return reach(ids, decode, PROMPT_END)


def _number(line: str) -> Fraction | None:
    """The first number of a line."""
    for pattern, plain in _SPELLINGS:
        line = pattern.sub(plain, line)
    found = _NUMBER.search("".join(map(_plain, line)))
    if found is None:
        return None
    sign, digits, exponent, below = found.groups()
    if exponent and abs(int(exponent[1:])) > _LARGEST_EXPONENT:
        return None
    whole = Fraction(sign + re.sub("[, '\u2019]", "", digits) + (exponent or ""))
    return whole / int(below) if below and int(below) else whole


def _plain(character: str) -> str:
    """A character in ASCII, if it is a digit, minus sign or space of any script.

    A currency sign becomes a space, so that a minus sign before it belongs to the number.
    """
    if character == "\N{MINUS SIGN}" or unicodedata.category(character) == "Pd":
        return "-"
    kind = unicodedata.category(character)
    if kind == "Nd":
        return str(unicodedata.digit(character))
    return {"Sc": " ", "Zs": " ", "Cf": ""}.get(kind, character)
