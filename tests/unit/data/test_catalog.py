"""The catalogue is consistent with itself and with the real files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from weft import data
from weft.data.catalog.entry import DataSet
from weft.data.catalog.images import IMAGES
from weft.data.catalog.pictures import PICTURES
from weft.data.catalog.series import SERIES
from weft.data.catalog.sets import SETS, find
from weft.data.catalog.texts import TEXTS
from weft.data.formats import READERS
from weft.errors import UsageError


@pytest.mark.parametrize("data_set", SETS.values(), ids=str)
def test_facts_of_a_set_agree_with_each_other(data_set: DataSet) -> None:
    assert SETS[data_set.name] is data_set
    assert len(data_set.class_counts) == len(data_set.classes)
    if data_set.classes:
        assert sum(data_set.class_counts) == data_set.sizes["train"]
    assert data_set.licence
    assert data_set.citation
    for form in data_set.forms:
        assert set(form.splits) == set(data_set.sizes)
        assert (form.reader in READERS) == (data_set.kind == "images")


def test_images_have_ten_classes_and_other_sets_are_told_apart_by_their_kind() -> None:
    kinds = {"images": IMAGES, "series": SERIES, "text": TEXTS, "pictures": PICTURES}
    assert all(one.kind == kind for kind, some in kinds.items() for one in some)
    assert list(SETS) == [one.name for some in kinds.values() for one in some]
    assert all(len(one.classes) == 10 and len(one.shape) == 3 for one in IMAGES)
    assert all(len(one.shape) == 2 for one in SERIES)
    assert all(one.shape == () for one in TEXTS)
    assert not any(one.classes for one in PICTURES)


@pytest.mark.parametrize("data_set", SETS.values(), ids=str)
def test_checksums_are_sha256_and_no_two_files_share_a_place(data_set: DataSet) -> None:
    files = {file for form in data_set.forms for file in form.files}
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in files)
    assert len({file.path for file in files}) == len({file.sha256 for file in files}) == len(files)


def test_every_set_but_the_packaged_ones_and_the_converted_ones_can_be_downloaded() -> None:
    for data_set in SETS.values():
        if data_set.name in ("SelfRegulationSCP1", "kodak", "bsds500-256"):
            assert not any(form.downloadable for form in data_set.forms)
            continue
        packaged = all(file.packaged for file in data_set.forms[0].files)
        assert packaged == (data_set.name in ("digits", "text"))
        assert packaged or any(form.downloadable for form in data_set.forms)


def test_an_unknown_name_gets_the_closest_suggestion_and_all_names() -> None:
    with pytest.raises(UsageError, match="fasion-mnist") as caught:
        find("fasion-mnist")
    assert caught.value.hint == "did you mean `fashion-mnist`?"
    assert all(name in caught.value.expected for name in SETS)


def test_an_unlike_name_gets_no_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        find("imagenet")
    assert caught.value.hint == ""


@pytest.mark.parametrize("name", ["digits", "text"])
def test_packaged_sets_match_their_checksum_and_are_small(name: str) -> None:
    [file] = SETS[name].forms[0].files
    content = (Path(data.__file__).parent / file.path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == file.sha256
    assert len(content) == file.size < 60_000


def test_sizes_in_bytes_match_the_real_files(real_data: Path) -> None:
    files = [f for s in SETS.values() for form in s.forms for f in form.files]
    there = [file for file in files if (real_data / file.path).is_file()]
    assert there
    assert all((real_data / file.path).stat().st_size == file.size for file in there)
