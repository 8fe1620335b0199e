"""A Parquet file without rows says of its columns and of its coordinates what the full one said."""

from pathlib import Path
from typing import Any

import pytest

from products import parquet_footer

rustac = pytest.importorskip("rustac")


def item(number: int) -> dict[str, Any]:
    return {
        "type": "Feature", "stac_version": "1.1.0", "stac_extensions": [], "id": f"item-{number}",
        "geometry": {"type": "Point", "coordinates": [106.5, 29.5]}, "bbox": [106.5, 29.5, 106.5, 29.5],
        "properties": {"datetime": "2026-07-01T00:00:00Z", "clear": number / 7, "fine": True, "n": {"deep": ["x"]}},
        "links": [], "assets": {"data": {"href": "s3://b/k", "file:size": number}}, "collection": "c",
    }  # fmt: skip


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("parquet") / "full.parquet"
    rustac.write_sync(str(path), [item(number) for number in range(1, 30)])
    return path.read_bytes()


def test_rows_are_gone_and_schema_and_metadata_stand_as_they_were(full: bytes, tmp_path: Path) -> None:
    emptied = parquet_footer.without_rows(full)
    (tmp_path / "emptied.parquet").write_bytes(emptied)
    assert rustac.read_sync(str(tmp_path / "emptied.parquet"))["features"] == []
    for name in (b"ARROW:schema", b"geo", b"file:size", b"deep", b"clear"):
        assert name in emptied
    assert b"item-1" not in emptied  # nor as the least of a column's statistics
    assert b"item-1" in full


def test_a_file_without_rows_stays_as_it_is(full: bytes) -> None:
    emptied = parquet_footer.without_rows(full)
    assert parquet_footer.without_rows(emptied) == emptied


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"x" * 40])
def test_what_is_no_parquet_file_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="Parquet"):
        parquet_footer.without_rows(body)


def test_a_footer_cut_off_or_of_an_unknown_type_is_refused() -> None:
    for footer, said in ((b"\x15", "too early"), (b"\x1e\x00", "type 14")):
        body = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
        with pytest.raises(ValueError, match=said):
            parquet_footer.without_rows(body)


def test_fields_of_every_type_are_stepped_over() -> None:
    # Fields 1 true, 2 octet, 5 double, 6 text, 7 list of two truth values, 8 list of sixteen numbers, 40 a structure.
    before = b"\x11" + b"\x13\x07"
    rows, groups = b"\x16\x0e", b"\x19\x1c\x15\x02\x00"
    after = b"\x17" + b"12345678" + b"\x18\x02ab" + b"\x19\x21\x01\x02" + b"\x19\xf5\x10" + b"\x02" * 16
    after += b"\x0c\x50\x11\x00" + b"\x00"
    body = before + rows + groups + after
    found = parquet_footer.without_rows(b"PAR1" + body + len(body).to_bytes(4, "little") + b"PAR1")
    assert found[4:-8] == before + b"\x16\x00" + b"\x19\x0c" + after
