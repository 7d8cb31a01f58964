"""Documents come out of files as the original cut them, and held-out ones are held out."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest

from weft.data import primer
from weft.errors import DataError
from weft.families.feedback.options.sections import FeedbackData
from weft.families.feedback.sets import corpus
from weft.families.feedback.sets.corpus import Corpus, open_corpus

HERE = Path("some.txt")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "cache"))


def of_file(path: Path, text: str, held_out: float | None = 0.2) -> Corpus:
    path.write_bytes(text.encode())
    return open_corpus(str(path), FeedbackData(held_out=held_out))


def test_a_problem_is_its_question_and_answer_with_labels() -> None:
    text = '{"question": "2+2?", "answer": "It is <<2+2=4>>4.\\n#### 4"}\n\n'
    assert corpus.problems(text, HERE) == ["Question: 2+2?\nAnswer: It is <<2+2=4>>4.\n#### 4"]


@pytest.mark.parametrize("line", ["{", '{"question": "2+2?"}', "[]", "3"])
def test_a_line_that_is_no_problem_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(DataError) as caught:
        corpus.problems('{"question": "a", "answer": "b"}\n' + line, HERE)
    assert caught.value.where == "some.txt:2"


def test_a_line_of_wikitext_keeps_its_blank_and_its_newline_and_blank_lines_go() -> None:
    assert corpus.lines(" \n = Title = \n \n\n Text . \n", HERE) == [" = Title = \n", " Text . \n"]


def test_paragraphs_stand_between_blank_lines_whatever_ends_a_line() -> None:
    text = "one\r\ntwo\r\n\r\nthree\n \n\t\n\nfour\n  five\n"
    assert corpus.paragraphs(text, HERE) == ["one\ntwo", "three", "four\n  five"]


def test_of_text_without_a_published_split_a_tenth_is_held_out(tmp_path: Path) -> None:
    of = of_file(tmp_path / "a.txt", "\n\n".join(str(number) for number in range(90)), None)
    assert (len(of.read("train")), len(of.read("val"))) == (81, 9)


@pytest.mark.parametrize(
    ("count", "share", "held"), [(10, 0.2, [2, 7]), (5, 0.01, [2]), (4, 0.5, [1, 3]), (2, 0.9, [1])]
)
def test_held_out_documents_are_spread_over_the_file_and_leave_some_to_train(
    tmp_path: Path, count: int, share: float, held: list[int]
) -> None:
    documents = [f"document {number}" for number in range(count)]
    of = of_file(tmp_path / "a.txt", "\n\n".join(documents), share)
    assert of.read("val") == [documents[number] for number in held]
    assert of.read("train") == [one for i, one in enumerate(documents) if i not in held]


def test_a_single_document_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="held out"):
        of_file(tmp_path / "a.txt", "only one\n").read("train")


def test_keys_tell_content_share_and_split_apart_but_not_the_name_of_a_file(tmp_path: Path) -> None:
    keys = of_file(tmp_path / "a.txt", "one\n\ntwo").keys
    assert keys == of_file(tmp_path / "b.txt", "one\n\ntwo").keys
    others = [
        of_file(tmp_path / "a.txt", "one\n\nthree").keys,
        of_file(tmp_path / "a.txt", "one\n\ntwo", 0.3).keys,
    ]
    assert len({key for one in (keys, *others) for key in one.values()}) == 6


def test_a_file_is_found_below_the_data_folder_and_may_be_compressed(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("ü\n\nö".encode()))
    found = open_corpus("a.txt.gz", FeedbackData(root=str(tmp_path), held_out=0.5))
    assert found.read("train") + found.read("val") == ["ü", "ö"]


@pytest.mark.parametrize(("name", "content"), [("a.txt", b"\xff\xfe"), ("a.gz", b"no gzip")])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        open_corpus(name, FeedbackData(root=str(tmp_path))).read("train")


FORMS = {
    "lines": "one\r\ntwo\n\n  three\n",
    "jsonl": '{"body": "one", "text": "no"}\n{"body": "two"}\n\n{"body": "  three"}\n',
    "paragraphs": "one\n\ntwo\n\n\n  three\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_documents_of_a_file_stand_in_the_form_that_is_said(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(FORMS[form].encode())
    field = "body" if form == "jsonl" else None
    (tmp_path / "b.txt").write_bytes(FORMS[form].encode())
    data = FeedbackData(dataset=str(path), form=form, field=field, val_file=str(tmp_path / "b.txt"))  # type: ignore[arg-type]
    found = open_corpus(str(path), data)
    assert found.read("train") == found.read("val") == ["one", "two", "  three"]


def test_objects_without_a_known_text_are_refused_by_the_names_they_have(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 3, "body": "one"}\n{"id": 4, "body": "two"}\n')
    with pytest.raises(DataError) as refused:
        open_corpus(str(path), FeedbackData(dataset=str(path))).read("train")
    said = str(refused.value)
    assert "`text`, or `question` and `answer`" in said and "found: keys id, body" in said
    assert "`data.field=body` reads that one" in said
    path.write_text('{"question": "Is \\"text\\" a key?", "answer": "no"}\n' * 20)
    found = open_corpus(str(path), FeedbackData(dataset=str(path))).read("train")
    assert found[0] == 'Question: Is "text" a key?\nAnswer: no'


def test_one_long_text_is_cut_at_ends_of_lines_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    text = "a first line\nand one more\nword " + "x" * 25 + " y\nend"
    cut = corpus.pieces(text, 20)
    assert "".join(cut) == text and max(map(len, cut)) == 20
    assert cut[:4] == ["a first line\n", "and one more\n", "word ", "x" * 20]


def test_a_validation_file_is_held_out_and_a_share_of_the_other_makes_it_the_test(
    tmp_path: Path,
) -> None:
    for name, text in (("a.txt", "1\n2\n3\n4\n"), ("b.txt", "8\n9\n")):
        (tmp_path / name).write_text(text)
    words = {"dataset": "a.txt", "root": str(tmp_path), "form": "lines", "val_file": "b.txt"}
    whole = open_corpus("a.txt", FeedbackData.model_validate(words))
    assert [whole.read(split) for split in whole.keys] == [["1", "2", "3", "4"], ["8", "9"]]
    split = open_corpus("a.txt", FeedbackData.model_validate({**words, "held_out": 0.25}))
    assert {name: split.read(name) for name in split.keys} == {
        "train": ["1", "2", "4"], "val": ["3"], "test": ["8", "9"],
    }  # fmt: skip
    other = open_corpus("a.txt", FeedbackData.model_validate({**words, "form": "paragraphs"}))
    assert other.keys["train"] != whole.keys["train"]


@pytest.mark.parametrize("name", ["GSM8K", "Gsm8k", "WikiText"])
def test_a_name_in_the_wrong_case_is_told_the_right_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_corpus(name, FeedbackData(root=str(tmp_path)))
    assert caught.value.hint.startswith(f"did you mean `{name.lower()}`")


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_corpus("gsm9k", FeedbackData(root=str(tmp_path)))
    assert caught.value.expected.startswith("one of text, gsm8k, wikitext, rules-dictionary")
    assert str(tmp_path / "gsm9k") in caught.value.hint


def test_the_shipped_text_is_what_its_script_writes() -> None:
    assert primer.PATH.read_text(encoding="utf-8") == primer.text()


def test_the_sums_of_the_shipped_text_are_right() -> None:
    own = open_corpus("text", FeedbackData())
    documents = own.read("train") + own.read("val")
    assert (len(own.read("train")), len(own.read("val"))) == (167, 19)
    assert len(set(documents)) == 186
    problems = [one for one in documents if one.startswith("Question: ")]
    assert len(problems) == primer.NUM_PROBLEMS
    for problem in problems:
        sums = re.findall(r"<<(\d+)([-+*/])(\d+)=(\d+)>>(\d+)", problem)
        assert len(sums) == problem.count("<<") > 1
        for a, sign, b, value, shown in sums:
            exact = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b),
                     "/": int(a) / int(b)}[sign]  # fmt: skip
            assert exact == int(value) == int(shown) > 0
        assert problem.endswith(f"\n#### {sums[-1][-1]}")


@pytest.mark.skipif("WEFT_DATA" not in os.environ, reason="no real data sets here")
@pytest.mark.parametrize(
    ("name", "sizes", "first"),
    [
        ("gsm8k", {"train": 7_473, "val": 1_319}, "Question: Natalia sold clips to 48 of"),
        ("wikitext", {"train": 23_767, "val": 2_461, "test": 2_891}, " = Valkyria Chronicles III"),
    ],
)
def test_real_sets_have_the_documents_that_are_known_of_them(
    name: str, sizes: dict[str, int], first: str
) -> None:
    real = open_corpus(name, FeedbackData(download=False))
    documents = {split: real.read(split) for split in real.keys}
    assert {split: len(found) for split, found in documents.items()} == sizes
    assert documents["train"][0].startswith(first)
    if name == "wikitext":
        assert all(one[0] == " " and one[-2:] == " \n" for one in documents["train"])
    else:
        assert all(re.search(r"\n#### -?[\d,.]+$", one) for one in documents["val"])


@pytest.mark.skipif("WEFT_DATA" not in os.environ, reason="needs WEFT_DATA, the real data sets")
def test_gsm8k_validates_on_its_test_problems_unless_training_problems_are_held_out() -> None:
    published = open_corpus("gsm8k", FeedbackData())
    split = open_corpus("gsm8k", FeedbackData(held_out=0.1))
    assert [len(published.read(name)) for name in published.keys] == [7473, 1319]
    assert {name: len(split.read(name)) for name in split.keys} == {
        "train": 6726,
        "val": 747,
        "test": 1319,
    }
    assert split.read("test") == published.read("val")
    assert sorted(split.read("train") + split.read("val")) == sorted(published.read("train"))
    assert open_corpus("gsm8k", FeedbackData(held_out=0.1), whole=True).keys == published.keys
