"""Tokenizers agree with byte-pair encoding done by hand, and give text back."""

from __future__ import annotations

import base64
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.data import primer
from weft.errors import DataError, MissingExtra
from weft.families.feedback.data import load_tokenizer
from weft.families.feedback.options.sections import FeedbackData
from weft.families.feedback.sets import bpe
from weft.families.feedback.sets.tokenizer import (
    BpeTokenizer,
    ByteTokenizer,
    RestrictedTokenizer,
    Vocabulary,
)

TEXTS = (
    "Ada buys 3 bags with 12 plums in each, and Ben doesn't.",
    "the weaver lifts the warp; the weaver throws the shuttle through the gap",
    "then  the\n\n third thread,\tthe thinnest of the three, breaks: they'll mend it",
    "naïve café, 1 234,5 € ½   ",
)
LEARNT_FROM = (*TEXTS, *primer.PATH.read_text(encoding="utf-8").split("\n\n")[::3])
PIECES = 400
CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
# Newer characters may be known to one Unicode table and not to the other.
anything = st.text(st.characters(max_codepoint=0x4FF, exclude_categories=["Cs", "Cn"]), max_size=40)


def words(text: str) -> list[str]:
    """GPT-2's words, scanned by hand:

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+
    """

    def kind(character: str) -> str:
        if character.isspace() and not "\x1c" <= character <= "\x1f":
            return "S"
        category = unicodedata.category(character)[0]
        return category if category in "LN" else "O"

    found, start = [], 0
    while start < len(text):
        contraction = next(
            (
                c
                for c in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
                if text[start:].startswith(c)
            ),
            None,
        )
        first = start + (text[start] == " ")
        if contraction:
            end = start + len(contraction)
        elif first < len(text) and kind(text[first]) != "S":
            end = first
            while end < len(text) and kind(text[end]) == kind(text[first]):
                end += 1
        else:
            end = start
            while end < len(text) and kind(text[end]) == "S":
                end += 1
            # The last blank before a word belongs to the word, unless it is the only one.
            if end < len(text) and end - start > 1:
                end -= 1
        found.append(text[start:end])
        start = end
    return found


def encode(text: str, ranks: dict[bytes, int]) -> list[int]:
    """Byte-pair encoding by hand: in each word, join the pair whose join has the lowest rank."""
    ids = []
    for word in words(text):
        parts = [bytes([value]) for value in word.encode()]
        while len(parts) > 1:
            best = min(ranks.get(a + b, sys.maxsize) for a, b in pairwise(parts))
            if best == sys.maxsize:
                break
            place = [ranks.get(a + b) for a, b in pairwise(parts)].index(best)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        ids += [ranks[part] for part in parts]
    return ids


def learn(texts: Sequence[str], num_pieces: int) -> list[bytes]:
    """Learning by hand: join the most frequent pair; of equals, the one first in the alphabet."""
    # GPT-2 writes bytes as characters, printable ones as themselves; pieces are ordered by those.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order = [*printable, *(value for value in range(256) if value not in printable)]
    number = {bytes([value]): place for place, value in enumerate(order)}
    pieces = [bytes([value]) for value in range(256)]
    counts = Counter(word for text in texts for word in words(text))
    parts = {word: [bytes([value]) for value in word.encode()] for word in counts}
    while len(pieces) < num_pieces:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, split in parts.items():
            for pair in pairwise(split):
                pairs[pair] += counts[word]
        if not pairs or max(pairs.values()) < 2:
            break
        first, second = min(pairs, key=lambda p: (-pairs[p], number[p[0]], number[p[1]]))
        joined = first + second
        if joined not in number:
            number[joined] = len(number)
            pieces.append(joined)
        for split in parts.values():
            place = 0
            while place < len(split) - 1:
                if (split[place], split[place + 1]) == (first, second):
                    split[place : place + 2] = [joined]
                place += 1
    return pieces


@pytest.fixture(scope="module")
def learnt() -> BpeTokenizer:
    pytest.importorskip("tokenizers")
    merges = [(int(a), int(b)) for a, b in bpe.learn(LEARNT_FROM, PIECES)]
    return BpeTokenizer(bpe.pieces_of(merges), "learnt", tuple(merges))


def ranks_file(path: Path, pieces: list[bytes]) -> Path:
    lines = (b"%s %d\n" % (base64.b64encode(piece), rank) for rank, piece in enumerate(pieces))
    path.write_bytes(b"".join(lines))
    return path


def gpt2() -> BpeTokenizer:
    pytest.importorskip("tokenizers")
    if "WEFT_DATA" not in os.environ:
        pytest.skip("WEFT_DATA is not set: no real data sets here")
    path = Path(os.environ["WEFT_DATA"]) / "gpt2-bpe" / "gpt2.tiktoken"
    return BpeTokenizer(bpe.read_ranks(path), "gpt2")


@pytest.mark.parametrize(
    ("pieces", "end", "size"), [(50_256, 50_256, 50_304), (256, 256, 384), (4_093, 4_093, 4_096)]
)
def test_special_ids_follow_the_pieces_and_the_table_is_a_multiple_of_128(
    pieces: int, end: int, size: int
) -> None:
    vocabulary = Vocabulary(pieces)
    assert (vocabulary.end_id, vocabulary.mask_id, vocabulary.pad_id) == (end, end + 1, end + 2)
    assert vocabulary.size == size


@given(anything)
def test_bytes_are_their_own_ids_and_give_the_text_back(text: str) -> None:
    tokenizer = ByteTokenizer()
    [ids] = tokenizer.encode([text])
    assert ids.tolist() == list(text.encode())
    assert tokenizer.decode(ids) == text


def test_special_ids_and_torn_characters_can_be_shown() -> None:
    tokenizer = ByteTokenizer()
    vocabulary = tokenizer.vocabulary
    ids = [65, vocabulary.mask_id, 0xC3, 66, vocabulary.end_id, vocabulary.pad_id, 383]
    assert tokenizer.decode(ids) == "A[MASK]\ufffdB"


@given(anything)
def test_an_encoding_equals_the_one_by_hand(learnt: BpeTokenizer, text: str) -> None:
    ranks = {piece: rank for rank, piece in enumerate(learnt.pieces)}
    [ids] = learnt.encode([text])
    assert ids.tolist() == encode(text, ranks)
    assert learnt.decode(ids) == text


def test_learnt_pieces_equal_those_learnt_by_hand(learnt: BpeTokenizer) -> None:
    assert list(learnt.pieces) == learn(LEARNT_FROM, PIECES)
    assert len(learnt.pieces) == PIECES


def test_learning_stops_where_no_pair_occurs_twice() -> None:
    pytest.importorskip("tokenizers")
    merges = bpe.learn(["abab abab", "cd"], 1000)
    pieces = bpe.pieces_of((int(a), int(b)) for a, b in merges)
    assert list(pieces) == learn(("abab abab", "cd"), 1000)
    assert b"cd" not in pieces


def test_learning_does_not_depend_on_the_order_of_documents() -> None:
    pytest.importorskip("tokenizers")
    for _ in range(3):
        once, backwards = (bpe.learn(t, PIECES) for t in (LEARNT_FROM, LEARNT_FROM[::-1]))
        assert np.array_equal(once, backwards)


def test_merges_follow_from_ranks(learnt: BpeTokenizer) -> None:
    assert tuple(bpe.merges_of(learnt.pieces)) == learnt.merges


def test_ranks_are_read_back_as_they_were_written(learnt: BpeTokenizer, tmp_path: Path) -> None:
    path = ranks_file(tmp_path / "ranks", list(learnt.pieces))
    assert bpe.read_ranks(path) == learnt.pieces


def test_a_damaged_rank_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = ranks_file(tmp_path / "ranks", [bytes([value]) for value in range(256)])
    path.write_bytes(path.read_bytes() + b"YWI= x\n")
    with pytest.raises(DataError) as caught:
        bpe.read_ranks(path)
    assert caught.value.where == f"{path}:257"


@pytest.mark.parametrize(
    "pieces",
    [
        [bytes([value]) for value in range(255)],
        [*(bytes([value]) for value in range(256)), b"a"],
    ],
    ids=["a byte is missing", "a piece stands there twice"],
)
def test_an_incomplete_rank_file_is_refused(tmp_path: Path, pieces: list[bytes]) -> None:
    with pytest.raises(DataError, match="rank file"):
        bpe.read_ranks(ranks_file(tmp_path / "ranks", pieces))


def test_a_piece_without_parts_is_refused() -> None:
    with pytest.raises(DataError, match="rank file"):
        bpe.merges_of([*(bytes([value]) for value in range(256)), b"abc"])


def test_restriction_keeps_the_ids_in_use_and_spells_the_others(learnt: BpeTokenizer) -> None:
    [used] = learnt.encode([TEXTS[0]])
    restricted = RestrictedTokenizer(learnt, used, "restricted")
    assert len(restricted.pieces) < len(learnt.pieces)
    [ids] = restricted.encode([TEXTS[0]])
    assert [restricted.pieces[i] for i in ids] == [learnt.pieces[i] for i in used]
    for text in TEXTS:
        [full], [ids] = learnt.encode([text]), restricted.encode([text])
        expected = [
            part
            for piece in (learnt.pieces[i] for i in full)
            for part in ([piece] if piece in restricted.pieces else [bytes([b]) for b in piece])
        ]
        assert [restricted.pieces[i] for i in ids] == expected
        assert restricted.decode(ids) == text


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    tokenizer = BpeTokenizer(bpe.pieces_of([(97, 98)]), "pairs", ((97, 98),))
    assert tokenizer.decode([256, 99]) == "abc"
    for needs_it in (lambda: tokenizer.encode(["abc"]), lambda: bpe.learn(["abc"], 300)):
        with pytest.raises(MissingExtra) as caught:
            needs_it()
        assert caught.value.hint == "pip install 'weft[text]'"


def test_gpt2_s_encoding_equals_the_one_by_hand() -> None:
    tokenizer = gpt2()
    ranks = {piece: rank for rank, piece in enumerate(tokenizer.pieces)}
    texts = [
        *TEXTS,
        "Hello world",
        " = Valkyria Chronicles III = \n",
        "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72",
        "It's we'll I'd 'tis ''s   \n\n  x\t\ty",
        "Übergröße Straße; 戦場のヴァルキュリア 😀 ½ x² ١٢٣",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa!!!!!!!!!!??",
    ]
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        assert ids.tolist() == encode(text, ranks)
        assert tokenizer.decode(ids) == text
    # The ids that OpenAI's own encoder gives.
    assert tokenizer.encode(["Hello world"])[0].tolist() == [15496, 995]
    assert tokenizer.vocabulary == Vocabulary(50_256)


@pytest.mark.parametrize("kind", ["bytes", "words"])
def test_a_tokenizer_json_encodes_and_gives_text_back(kind: str, tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    if kind == "bytes":
        merges = [(97, 98)]
        made = bpe.engine(bpe.pieces_of(merges), merges)
        made.decoder = library.decoders.ByteLevel()
    else:
        vocab = {"[UNK]": 0, "thread": 1, "warp": 2, "the": 3}
        made = library.Tokenizer(library.models.WordLevel(vocab, unk_token="[UNK]"))
        made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.add_special_tokens(["<s>"])
    made.save(str(path))
    tokenizer = load_tokenizer(FeedbackData(tokenizer="json", tokenizer_file=str(path)))
    [ids] = tokenizer.encode(["the warp"])
    vocabulary = tokenizer.vocabulary
    assert vocabulary.num_pieces == made.get_vocab_size() and ids.max() < vocabulary.num_pieces
    special = [made.token_to_id("<s>"), vocabulary.pad_id]
    assert tokenizer.decode([*ids, *special]) == "the warp"
    assert tokenizer.decode([*ids, vocabulary.mask_id, *ids]) == "the warp[MASK]the warp"
    assert tokenizer.text([*ids, vocabulary.end_id, *ids]) == "the warp"


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text("{}")
    data = FeedbackData(tokenizer="json", tokenizer_file="tokenizer.json", root=str(tmp_path))
    with pytest.raises(DataError, match="the tokenizer cannot be read"):
        load_tokenizer(data)
    missing = FeedbackData(tokenizer="json", tokenizer_file="other.json", root=str(tmp_path))
    with pytest.raises(DataError) as caught:
        load_tokenizer(missing)
    assert caught.value.where == "data.tokenizer_file"


def test_a_rank_file_is_looked_for_below_the_data_folder_too(tmp_path: Path) -> None:
    lines = (base64.b64encode(bytes([value])) + b" %d" % value for value in range(256))
    (tmp_path / "mine.tiktoken").write_bytes(b"\n".join(lines))
    data = FeedbackData(tokenizer="gpt2", tokenizer_file="mine.tiktoken", root=str(tmp_path))
    assert load_tokenizer(data).pieces == tuple(bytes([value]) for value in range(256))
    missing = FeedbackData(tokenizer="gpt2", tokenizer_file="other", root=str(tmp_path))
    with pytest.raises(DataError) as caught:
        load_tokenizer(missing)
    assert caught.value.where == "data.tokenizer_file"
