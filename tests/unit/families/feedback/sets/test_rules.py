"""Generated documents: each follows one rule, and no two the same."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

import pytest

from weft.families.feedback.options.sections import RULES, FeedbackData
from weft.families.feedback.sets import rules
from weft.families.feedback.sets.corpus import open_corpus


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SIZES", {"train": 40, "val": 20, "test": 20})


def followers(text: str) -> Mapping[str, list[str]]:
    """What stood behind each letter."""
    found = defaultdict(list)
    for one, other in pairwise(text):
        found[one].append(other)
    return found


@pytest.mark.parametrize("name", RULES)
def test_documents_are_the_same_whenever_drawn_and_fit_a_block_of_32(name: str) -> None:
    corpus = open_corpus(name, FeedbackData())
    assert set(corpus.keys) == {"train", "val", "test"} and len(set(corpus.keys.values())) == 3
    documents = corpus.read("train")
    assert documents == corpus.read("train")
    assert len(set(documents) | set(corpus.read("val"))) == 60
    assert all(len(document) < 32 for document in documents)


def test_a_dictionary_gives_a_key_the_same_value_throughout_and_other_documents_another() -> None:
    given, known = [], []
    for document in rules.documents("rules-dictionary", "train"):
        pairs = re.findall("([A-D])([a-h])", document)
        assert 2 * len(pairs) == len(document)
        values = dict(pairs)
        assert all(values[key] == value for key, value in pairs)
        assert len(set(values.values())) == len(values)
        given.append(values.get("A"))
    for document in rules.documents("known-dictionary", "train"):
        known += re.findall("A([a-h])", document)
    assert len(set(given)) > 4 and len(set(known)) == 1


def test_a_walk_follows_one_cycle_but_for_its_restarts() -> None:
    successors = set()
    for document in rules.documents("rules-permutation", "train"):
        behind = followers(document)
        usual = {one: max(set(others), key=others.count) for one, others in behind.items()}
        kept = sum(others.count(usual[one]) for one, others in behind.items())
        assert kept / (len(document) - 1) > 0.5
        successors.add(usual.get("s"))
    assert len(successors) > 3


def test_a_cipher_s_words_are_those_of_one_lexicon_up_to_an_exchange_of_letters() -> None:
    def pattern(word: str) -> tuple[int, ...]:
        return tuple(word.index(letter) for letter in word)

    words = [word for d in rules.documents("rules-substitution", "train") for word in d.split(" ")]
    whole = [word for word in words if len(word) == 3]
    assert len(set(whole)) > 12 and len({pattern(word) for word in whole}) <= 5
