"""Signatures: the tool minisign makes the same bytes and accepts ours; whatever was changed is refused by name."""

import base64
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from products import minisign

# Made for this test with minisign 0.11 of Debian 12 (`-G -W`, `-S -W -t ...`, `-S -l -t ...`); this key signs nothing.
PUBLIC = b"""untrusted comment: minisign public key 455AC745BEDCB2D1
RWTRsty+RcdaRTWN5YKM7Ro9hf9dC7MSOQHzO4DkCFvL8akYXSPlRWF0
"""
SECRET = (
    b"untrusted comment: minisign encrypted secret key\n"
    b"RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA0bLcvkXHWkV3BkYOYHib/VwjeLqkA2jpbQzw"
    b"JmMAjDmeymwQWHdjPDWN5YKM7Ro9hf9dC7MSOQHzO4DkCFvL8akYXSPlRWF0AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
)
BODY = b"terralimb manifest\n"
PREHASHED = b"""untrusted comment: signature from minisign secret key
RUTRsty+RcdaRad9hmzRxs5UMZtBJwl/nanN6ioVruEaHtlya7AxKPt/DdNnGFd3ULYSDX9TCBt0jdNfdImApyHL18tC75JrbAc=
trusted comment: item flood-1 revision 2
g0SvEqo4zrNWkkhZjCSq9Rn+zRsWCDmLMdm/oglYj7WGyU/GPDIabPI6XjbfPG96geSmE3+cOhNEo37XWCWQBw==
"""
LEGACY = b"""untrusted comment: signature from minisign secret key
RWTRsty+RcdaRYhK/LHwLo2OTHrVVft7naHeG5ko6stKSDgdZjZ12BObbb/np6+rxdvoZAILORcJbckdXO3SD7Ozzd2E2s9aiAo=
trusted comment: legacy of body
Elu+aOcr4f1RhrqdtYxVsvEkHqwCuEAlV1N0qH+wFxCR6VfetMFI5vJxrKiKlmDQ1osOGIca99EzTEBO0SOcBw==
"""


def with_line(text: bytes, index: int, change: Callable[[bytes], bytes]) -> bytes:
    lines = text.split(b"\n")
    lines[index] = change(lines[index])
    return b"\n".join(lines)


def flipped(at: int) -> Callable[[bytes], bytes]:
    def change(line: bytes) -> bytes:
        raw = bytearray(base64.b64decode(line))
        raw[at] ^= 1
        return base64.b64encode(raw)

    return change


def test_the_tools_key_makes_the_very_bytes_the_tool_makes() -> None:
    assert minisign.sign(BODY, SECRET, "item flood-1 revision 2") == PREHASHED
    assert minisign.public_key_of(SECRET) == PUBLIC


def test_signatures_of_the_tool_hold_in_both_modes() -> None:
    assert minisign.verify(BODY, PREHASHED, PUBLIC) == "item flood-1 revision 2"
    assert minisign.verify(BODY, LEGACY, PUBLIC) == "legacy of body"


def test_legacy_signatures_are_refused_where_they_are_not_wanted() -> None:
    assert minisign.verify(BODY, PREHASHED, PUBLIC, legacy=False)
    with pytest.raises(minisign.SignatureError, match="legacy mode"):
        minisign.verify(BODY, LEGACY, PUBLIC, legacy=False)


def test_keys_and_signatures_name_the_key_as_the_tool_shows_it() -> None:
    assert minisign.public_key_id(PUBLIC) == minisign.signer_id(LEGACY) == "455AC745BEDCB2D1"
    assert minisign.public_key_id(PUBLIC.split(b"\n")[1]) == "455AC745BEDCB2D1"


def test_a_new_key_verifies_its_own_signatures_and_no_others() -> None:
    ours, other = minisign.generate(), minisign.generate()
    signature = minisign.sign(BODY, ours.secret_key, "第 2 版\tflood")
    assert minisign.verify(BODY, signature, ours.public_key) == "第 2 版\tflood"
    assert ours.key_id == minisign.public_key_id(ours.public_key) != other.key_id
    with pytest.raises(minisign.SignatureError, match=f"with key {ours.key_id}, not with {other.key_id}"):
        minisign.verify(BODY, signature, other.public_key)


def test_another_key_under_the_same_id_is_refused() -> None:
    forged = with_line(minisign.generate().public_key, 1, lambda line: forge(line, PUBLIC.split(b"\n")[1]))
    with pytest.raises(minisign.SignatureError, match="content is not what was signed"):
        minisign.verify(BODY, PREHASHED, forged)


def forge(key: bytes, named: bytes) -> bytes:
    raw, model = base64.b64decode(key), base64.b64decode(named)
    return base64.b64encode(model[:10] + raw[10:])


def test_the_secret_is_not_shown() -> None:
    pair = minisign.generate()
    assert pair.secret_key.split(b"\n")[1].decode() not in repr(pair)


@pytest.mark.parametrize("signature", [PREHASHED, LEGACY], ids=["prehashed", "legacy"])
def test_a_changed_body_is_refused(signature: bytes) -> None:
    with pytest.raises(minisign.SignatureError, match="content is not what was signed"):
        minisign.verify(BODY + b" ", signature, PUBLIC)


def test_a_changed_trusted_comment_is_refused() -> None:
    changed = PREHASHED.replace(b"revision 2", b"revision 3")
    with pytest.raises(minisign.SignatureError, match="comment is not what was signed"):
        minisign.verify(BODY, changed, PUBLIC)


def test_a_comment_of_another_signature_is_refused() -> None:
    other = minisign.sign(b"another", SECRET, "item flood-1 revision 2").split(b"\n")
    mixed = b"\n".join(PREHASHED.split(b"\n")[:2] + other[2:])
    with pytest.raises(minisign.SignatureError, match="comment is not what was signed"):
        minisign.verify(BODY, mixed, PUBLIC)


def test_the_untrusted_comment_is_nobodys_word() -> None:
    free = PREHASHED.replace(b"signature from minisign secret key", b"anything")
    assert minisign.verify(BODY, free, PUBLIC) == "item flood-1 revision 2"


def test_line_ends_of_another_system_do_not_matter() -> None:
    assert minisign.verify(BODY, PREHASHED.replace(b"\n", b"\r\n"), PUBLIC) == "item flood-1 revision 2"


@pytest.mark.parametrize("at", [2, 10, 40, 73])
def test_every_part_of_the_signature_is_checked(at: int) -> None:
    with pytest.raises(minisign.SignatureError):
        minisign.verify(BODY, with_line(PREHASHED, 1, flipped(at)), PUBLIC)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"\xff\xfe",
        b"<html>404 not found</html>",
        PREHASHED[:-120],
        PREHASHED + b"one line more\n",
        with_line(PREHASHED, 1, lambda line: line[:-8]),
        with_line(PREHASHED, 1, lambda _: b"not base64!"),
        with_line(PREHASHED, 1, lambda _: "零".encode()),
        with_line(PREHASHED, 1, flipped(0)),
        with_line(PREHASHED, 2, lambda line: line.removeprefix(b"trusted comment: ")),
        with_line(PREHASHED, 3, lambda line: line[:-8]),
        PREHASHED + b"x" * 40_000,
    ],
)
def test_what_is_no_signature_is_refused_with_one_sentence(signature: bytes) -> None:
    with pytest.raises(minisign.SignatureError) as refused:
        minisign.verify(BODY, signature, PUBLIC)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", [b"", PUBLIC[:60], b"RWQ=", PREHASHED, SECRET])
def test_what_is_no_public_key_is_refused(key: bytes) -> None:
    with pytest.raises(minisign.SignatureError):
        minisign.verify(BODY, PREHASHED, key)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (PUBLIC, "not a secret key"),
        (with_line(SECRET, 1, lambda line: b"RWRTY" + line[5:]), "encrypted with a password"),
        (with_line(SECRET, 1, flipped(70)), "damaged"),
    ],
)
def test_what_is_no_usable_secret_key_is_refused(key: bytes, why: str) -> None:
    with pytest.raises(minisign.SignatureError, match=why):
        minisign.sign(BODY, key, "x")


@pytest.mark.parametrize("comment", ["two\nlines", "a\rb", "bell\a", "x" * 4097])
def test_comments_that_readers_would_tell_apart_are_not_signed(comment: str) -> None:
    with pytest.raises(ValueError, match="one line of printable text"):
        minisign.sign(BODY, SECRET, comment)


@pytest.mark.skipif(shutil.which("minisign") is None, reason="the tool minisign is not installed")
@pytest.mark.parametrize("comment", ["item flood-1 revision 2", "洪水 第 2 版", "x" * 4096])
def test_the_tool_accepts_our_signatures_and_signs_with_our_key(tmp_path: Path, comment: str) -> None:
    pair = minisign.generate()
    body, key, public = tmp_path / "body", tmp_path / "key", tmp_path / "pub"
    body.write_bytes(BODY)
    key.write_bytes(pair.secret_key)
    public.write_bytes(pair.public_key)
    signature = tmp_path / "body.minisig"
    signature.write_bytes(minisign.sign(BODY, pair.secret_key, comment))
    held = tool("-V", "-Q", "-p", public, "-m", body)
    assert (held.returncode, held.stdout.strip()) == (0, comment)
    signature.write_bytes(minisign.sign(BODY + b"x", pair.secret_key, comment))
    assert tool("-V", "-p", public, "-m", body).returncode != 0
    assert tool("-S", "-W", "-s", key, "-m", body, "-t", "by the tool").returncode == 0
    assert minisign.verify(BODY, signature.read_bytes(), pair.public_key) == "by the tool"


def tool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["minisign", *map(str, words)], capture_output=True, text=True, check=False)
