"""What pages of a parquet file state is what pyarrow wrote, and a bomb among them is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from weft.data import guard
from weft.data.pages import check_pages, pages
from weft.errors import DataError

pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
parquet = pytest.importorskip("pyarrow.parquet")


def written(folder: Path, **options: object) -> Path:
    path = folder / "a.parquet"
    texts = [f"{row % 7} and {row}" * 20 for row in range(3000)]
    table = pyarrow.table({"text": texts, "number": list(range(3000)), "same": [b"0" * 999] * 3000})
    parquet.write_table(table, path, data_page_size=4096, row_group_size=1000, **options)
    return path


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip"])
def test_the_sizes_of_all_pages_are_those_of_the_column(
    tmp_path: Path, compression: str, version: str
) -> None:
    path = written(tmp_path, compression=compression, data_page_version=version)
    with parquet.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            for place in range(group.num_columns):
                column = group.column(place)
                found = list(pages(path, column))
                unpacked = sum(length + size for length, size, _ in found)
                assert unpacked == column.total_uncompressed_size
                stored = sum(length + size for length, _, size in found)
                assert stored == column.total_compressed_size


def test_pages_that_unpack_to_far_more_than_the_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, compression="gzip", use_dictionary=False)
    with parquet.ParquetFile(path) as file:
        columns = [file.metadata.row_group(0).column(2)]
    check_pages(path, columns)
    monkeypatch.setattr(guard, "_SMALL", 1000)
    monkeypatch.setattr(guard, "_MOST_INFLATION", 2)
    with pytest.raises(DataError, match="cannot be read"):
        check_pages(path, columns)


@pytest.mark.parametrize("start", [-5, 0, 7, 10**9])
def test_what_is_no_page_is_told_with_its_place(tmp_path: Path, start: int) -> None:
    path = written(tmp_path)
    column = SimpleNamespace(
        data_page_offset=start, has_dictionary_page=False, total_compressed_size=2**40
    )
    if start > path.stat().st_size:
        assert list(pages(path, column)) == []
        return
    with pytest.raises(DataError) as caught:
        list(pages(path, column))
    assert "byte" in caught.value.where
