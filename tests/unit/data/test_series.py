"""`.ts` and csv files are read as they are, and refused with the line that is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from weft.data import fetch, series
from weft.data.catalog.sets import SETS
from weft.data.images import image_header
from weft.data.series import load_series, load_table, read_scp1, read_ts, require_finite
from weft.data.table import read_ett
from weft.errors import DataError, UsageError

HEADER = "# made here\n@problemName Tiny\n@timeStamps false\n@dimensions 2\n@classLabel true a b\n"
HEAD = "date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT\n"


@pytest.fixture
def ts(tmp_path: Path) -> Path:
    return tmp_path / "Tiny_TRAIN.ts"


def written(path: Path, body: str, header: str = HEADER) -> Path:
    path.write_text(f"{header}@data\n{body}")
    return path


def test_series_of_unequal_length_keep_their_lengths_channels_and_classes(ts: Path) -> None:
    found = read_ts(written(ts, "1,2,3:-1,-2,-3:b\n\n5e-1:7:a\n"))
    assert [one.tolist() for one in found.series] == [[[1, -1], [2, -2], [3, -3]], [[0.5, 7]]]
    assert found.labels.tolist() == [1, 0]
    assert found.classes == ("a", "b")
    assert (len(found), found.steps, found.channels, found.ragged) == (2, 3, 2, True)


@pytest.mark.parametrize(
    ("body", "line", "expected"),
    [
        ("1,2:3,4:a\n1,x:3,4:a\n", 8, "numbers between commas"),
        ("1,?:3,4:a\n", 7, "missing value"),
        ("1,2:3,4:c\n", 7, "a class at the end: a, b"),
        ("1,2:a\n", 7, "2 channels"),
        ("1,2:3:a\n", 7, "one length"),
        ("1,nan:3,4:a\n", 7, "finite numbers only"),
        ("1,2:3,4:a\n1,2:3,inf:a\n", 8, "finite numbers only"),
        ("1,2:3,:a\n", 7, "numbers between commas"),
    ],
)
def test_a_malformed_line_is_refused_by_its_number(
    ts: Path, body: str, line: int, expected: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_ts(written(ts, body))
    assert caught.value.where == f"{ts}:{line}"
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("@timeStamps true\n@classLabel true a\n", "without time stamps"),
        ("@classLabel false\n", "the class names"),
        ("what is this\n", "@key value"),
    ],
)
def test_other_kinds_of_ts_are_refused(ts: Path, header: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read_ts(written(ts, "1:a\n", header))
    assert expected in caught.value.expected


def test_a_ts_file_without_series_or_of_changing_width_is_refused(ts: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_ts(written(ts, ""))
    assert caught.value.hint == "found: none"
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_ts(written(ts, "1:2:a\n1:a\n", "@classLabel true a\n"))
    assert "[1, 2]" in caught.value.hint


@pytest.mark.parametrize("name", ["ETTx.csv", "ETTx.csv.gz"])
def test_a_transformer_table_is_read_plain_and_zipped(tmp_path: Path, name: str) -> None:
    text = HEAD + "2016-07-01 00:00:00,1,2,3,4,5,6,7\n2016-07-01 01:00:00,-1,.5,0,0,0,0,1e2\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    rows = read_ett(path)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1, 2, 3, 4, 5, 6, 7], [-1, 0.5, 0, 0, 0, 0, 100]]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("time,a\n", ":1"),
        (HEAD + "2016-07-01,1,2,3,4,5,6,7\n2016-07-02,1,2,3,4,5,6,nan\n", ":3"),
        (HEAD + "2016-07-01,1,2,3,4,5,6\n", ":2"),
        (HEAD + "2016-07-01,1,2,3,4,5,6,7\n2016-07-02,1,2,x,4,5,6,7\n", ":3"),
        (HEAD + "d,1,2,3,4,5,6,7\n", ":2"),
        (HEAD, ""),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "ETTx.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_ett(path)
    assert caught.value.where == f"{path}{where}"


def test_a_cut_gzip_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ETTx.csv.gz"
    path.write_bytes(gzip.compress(HEAD.encode() * 50)[:40])
    with pytest.raises(DataError, match="cannot be read"):
        read_ett(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_ts(tmp_path / "absent.ts")


def test_scp1_is_turned_to_time_first_and_nan_in_it_refused(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    path = tmp_path / "s.npz"
    arrays = {"y_train": np.array([1, 0]), "classes": np.array(["n", "p"])}
    np.savez(path, X_train=values, **arrays)
    found = read_scp1(path, "train")
    assert found.series[1].tolist() == [[6, 9], [7, 10], [8, 11]]
    assert found.labels.tolist() == [1, 0]
    values[1, 0, 2] = np.nan
    np.savez(path, X_train=values, **arrays)
    with pytest.raises(DataError) as caught:
        read_scp1(path, "train")
    assert "(1, 0, 2)" in caught.value.hint
    with pytest.raises(DataError):
        read_scp1(path, "test")


def test_files_unknown_to_the_catalogue_are_found_and_missed_with_every_place(
    tmp_path: Path, cache: Path
) -> None:
    names = ("a/b.ts", "b.ts")
    with pytest.raises(DataError, match=r"b\.ts is not here") as caught:
        series.find_file(names, root=tmp_path, expected="a file")
    assert all(str(folder / name) in caught.value.hint for folder in (tmp_path, cache)
               for name in names)  # fmt: skip
    (tmp_path / "b.ts").write_text("")
    assert series.find_file(names, root=tmp_path, expected="a file") == tmp_path / "b.ts"


def test_an_absent_set_names_its_file_the_places_and_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"JapaneseVowels_TRAIN\.ts") as caught:
        load_series("JapaneseVowels", "train", root=tmp_path, download=False)
    assert "weft data get JapaneseVowels" in caught.value.hint
    assert str(tmp_path / "ts/JapaneseVowels/JapaneseVowels_TRAIN.ts") in caught.value.hint


def test_images_and_series_are_not_mistaken_for_each_other() -> None:
    with pytest.raises(UsageError, match="no set of images `GunPoint`"):
        image_header("GunPoint")
    with pytest.raises(UsageError, match="no set of series `mnist`"):
        load_series("mnist", "train")


@pytest.mark.parametrize(
    "name", [one.name for one in SETS.values() if one.kind == "series" and one.classes]
)
def test_real_series_are_what_the_catalogue_says(real_data: Path, name: str) -> None:
    known = SETS[name]
    if not fetch.locate(name, root=real_data).complete:
        pytest.skip(f"{name} is not in WEFT_DATA")
    for split, size in known.sizes.items():
        found = load_series(name, split, root=real_data)
        assert (len(found), found.classes) == (size, known.classes)
        assert found.steps <= known.shape[0]
        assert found.channels == known.shape[1]
        assert found.ragged == known.ragged
        if split == "train":
            assert tuple(np.bincount(found.labels)) == known.class_counts


def test_real_tables_are_what_the_catalogue_says(real_data: Path) -> None:
    for name in ("ETTh1", "ETTh2"):
        if fetch.locate(name, root=real_data).complete:
            rows = load_table(name, root=real_data)
            assert rows.shape == SETS[name].shape
            assert np.isfinite(rows).all()


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (2, "@timeStamps"), (2, "@timeStamps maybe"), (2, "@dimensions"), (2, "@dimensions two"),
        (2, "@dimensions 2 3"), (2, "@seriesLength x"), (2, "@classLabel"), (2, "@univariate"),
        (4, "@classLabel true a b"),
    ],
)  # fmt: skip
def test_a_header_line_without_its_value_is_refused_by_its_number(
    ts: Path, line: int, wrong: str
) -> None:
    head = ["% made here", "@problemName x", "@classLabel true a b", "@data"]
    head.insert(line - 1, wrong)
    ts.write_text("\n".join([*head, "1:a", ""]))
    with pytest.raises(DataError) as caught:
        read_ts(ts)
    assert caught.value.where == f"{ts}:{line}"
    assert caught.value.exit_code == 2


def test_a_ts_file_may_begin_with_a_byte_order_mark_and_hold_comments(ts: Path) -> None:
    ts.write_text("\ufeff@classLabel true a b\r\n% why\r\n@data\r\n1:b\r\n% and\r\n", newline="")
    assert read_ts(ts).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("hours", "line", "said"),
    [
        ((0, 1, 2, 4, 5), 5, "a gap"),
        ((0, 1, 2, 2, 3), 5, "stands in line 4 already"),
        ((3, 4, 5, 2, 6), 5, "out of order"),
        ((9, 8, 7), 3, "out of order"),
    ],
)
def test_dates_that_do_not_follow_each_other_are_told_with_the_line(
    tmp_path: Path, hours: tuple[int, ...], line: int, said: str
) -> None:
    path = tmp_path / "ETTx.csv"
    path.write_text(HEAD + "".join(f"2016-07-01 0{hour}:00:00,1,2,3,4,5,6,7\n" for hour in hours))
    with pytest.raises(DataError) as caught:
        read_ett(path)
    assert caught.value.where == f"{path}:{line}"
    assert said in caught.value.hint


def test_a_row_behind_a_hash_is_not_dropped(tmp_path: Path) -> None:
    path = tmp_path / "ETTx.csv"
    row = "2016-07-01 00:00:00,1,2,3,4,5,6,7\n"
    for wrong in (f"#{row}", row.replace(",7", ",7 # x"), row.replace(",3", ",#3")):
        path.write_text("\ufeff" + HEAD + wrong)
        with pytest.raises(DataError) as caught:
            read_ett(path)
        assert caught.value.where == f"{path}:2"


def test_a_number_that_32_bits_do_not_hold_is_told(tmp_path: Path) -> None:
    values = np.zeros((3, 4))
    values[1, 2] = 1e60
    with pytest.raises(DataError, match=r"of 32 bits(.|\n)*1e\+60 at index \(1, 2\)"):
        require_finite(values, tmp_path / "x.npz")
