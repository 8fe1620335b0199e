"""Parquet files without rows: what is left of a file when all it held has gone, its schema alone.

Readers of a folder take the schema from whichever file comes first, so an empty file has to say the same as the full
one did, in its Arrow and geographic metadata too. The footer is Thrift in its compact protocol; only the two fields
that tell of rows are replaced, everything else stays byte for byte.

Formats: apache/parquet-format, README.md "File format" and parquet.thrift `FileMetaData`; apache/thrift,
doc/specs/thrift-compact-protocol.md.
"""

_MAGIC = b"PAR1"
_ROWS, _ROW_GROUPS = 3, 4
_NO_ROWS, _NO_ROW_GROUPS = b"\x00", b"\x0c"  # a zero; an empty list of structures
_STOP, _BOOLEANS, _BYTE, _NUMBERS, _DOUBLE, _BINARY, _LISTS, _STRUCTURE = 0, (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 12


def without_rows(body: bytes) -> bytes:
    """File of the same schema and metadata that holds no rows.

    Parameters
    ----------
    body : bytes
        A Parquet file, not encrypted.

    Returns
    -------
    bytes
        The file without rows; of a file without rows, the same bytes.

    Raises
    ------
    ValueError
        This is no such file.
    """
    length = int.from_bytes(body[-8:-4], "little")
    if len(body) < length + 12 or (body[:4], body[-4:]) != (_MAGIC, _MAGIC):
        raise ValueError("this is not a Parquet file")
    try:
        footer = _emptied(body[-8 - length : -8])
    except IndexError:
        raise ValueError("the footer of this Parquet file ends too early") from None
    return _MAGIC + footer + len(footer).to_bytes(4, "little") + _MAGIC


def _emptied(footer: bytes) -> bytes:
    parts, field, at = [], 0, 0
    while footer[at] != _STOP:
        start, value, field, kind = at, *_field(footer, at, field)
        at = _after(footer, value, kind)
        replaced = {_ROWS: _NO_ROWS, _ROW_GROUPS: _NO_ROW_GROUPS}.get(field, footer[value:at])
        parts.append(footer[start:value] + replaced)
    return b"".join(parts) + bytes([_STOP])


def _field(body: bytes, at: int, last: int) -> tuple[int, int, int]:
    """Where a field's value begins, its number and its type."""
    step, kind = body[at] >> 4, body[at] & 0x0F
    if step:
        return at + 1, last + step, kind
    number, value = _varint(body, at + 1)
    return value, (number >> 1) ^ -(number & 1), kind


def _after(body: bytes, at: int, kind: int) -> int:
    """Where the value that begins here has ended."""
    if kind in _NUMBERS:
        return _varint(body, at)[1]
    if kind == _BINARY:
        length, at = _varint(body, at)
        return at + length
    if kind in _LISTS:
        return _after_list(body, at)
    if kind == _STRUCTURE:
        return _after_structure(body, at)
    fixed = {**dict.fromkeys(_BOOLEANS, 0), _BYTE: 1, _DOUBLE: 8}
    if kind not in fixed:
        raise ValueError(f"the footer of this Parquet file holds a value of type {kind}")
    return at + fixed[kind]


def _after_list(body: bytes, at: int) -> int:
    count, kind = body[at] >> 4, body[at] & 0x0F
    at += 1
    if count == 15:
        count, at = _varint(body, at)
    for _ in range(count):
        # In a list a truth value has an octet of its own.
        at = at + 1 if kind in _BOOLEANS else _after(body, at, kind)
    return at


def _after_structure(body: bytes, at: int) -> int:
    field = 0
    while body[at] != _STOP:
        at, field, kind = _field(body, at, field)
        at = _after(body, at, kind)
    return at + 1


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = body[at]
        value |= (octet & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if octet < 0x80:
            return value, at
