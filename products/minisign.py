"""Signatures that minisign understands: Ed25519 over the BLAKE2b-512 of a body, with a comment that is signed too.

A signature is four lines of text: an untrusted comment; base64 of the algorithm (2 bytes: ``ED`` prehashed, ``Ed``
legacy over the body itself), the key id (8) and the signature (64); the trusted comment; base64 of a second signature
(64) over the first one and the trusted comment. A public key is base64 of ``Ed``, key id and key (32).

Secret keys are kept in minisign's own unencrypted form (key derivation zero, what ``minisign -G -W`` writes), not as
PKCS8: it holds the key id, which PKCS8 has no place for, and an operator can sign with the tool itself when nothing
of ours runs. A service that signs unattended would have to hold the password beside the key, so encryption would add
nothing; the mode of the file protects it.

Formats: the documentation of minisign (jedisct1.github.io/minisign), checked against release 0.11 of the tool.
"""

import base64
import binascii
import dataclasses
import hashlib
import secrets
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

#: Longest trusted comment written [byte]; the tool itself reads somewhat more.
COMMENT_LIMIT = 4096

_PREHASHED, _LEGACY = b"ED", b"Ed"
_UNTRUSTED, _TRUSTED = "untrusted comment: ", "trusted comment: "
_ID, _KEY, _SIGNATURE = 8, 32, 64
_SALT_AND_LIMITS = 32 + 8 + 8
_CHECKSUM = 32
_TEXT_LIMIT = 32_768


class SignatureError(ValueError):
    """A signature or key does not hold; the sentence says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeyPair:
    """A new key, as the two texts minisign keeps in files.

    Attributes
    ----------
    key_id : str
        Public name of the key, 16 hexadecimal digits as the tool shows it.
    public_key : bytes
        Text of the public key file.
    secret_key : bytes
        Text of the secret key file, not encrypted; never shown.
    """

    key_id: str
    public_key: bytes
    secret_key: bytes = dataclasses.field(repr=False)


class _Secret(NamedTuple):
    key_id: bytes
    key: ed25519.Ed25519PrivateKey


class _Public(NamedTuple):
    key_id: bytes
    key: ed25519.Ed25519PublicKey


class _Signature(NamedTuple):
    algorithm: bytes
    key_id: bytes
    body: bytes
    comment: str
    whole: bytes


def generate() -> KeyPair:
    """Make a new key from the system's randomness.

    Returns
    -------
    KeyPair
        The key with a random id.
    """
    key_id, key = secrets.token_bytes(_ID), ed25519.Ed25519PrivateKey.generate()
    return KeyPair(key_id=_shown(key_id), public_key=_public_text(key_id, key), secret_key=_secret_text(key_id, key))


def sign(body: bytes, secret_key: bytes, trusted_comment: str) -> bytes:
    """Sign a body, prehashed.

    Parameters
    ----------
    body : bytes
        What is signed.
    secret_key : bytes
        Text of an unencrypted secret key.
    trusted_comment : str
        One line that is signed with the body, such as item and revision.

    Returns
    -------
    bytes
        Text of the signature file; the same body, key and comment give the same text.

    Raises
    ------
    SignatureError
        If the secret key cannot be read.
    ValueError
        If the comment is not one line of printable text of at most `COMMENT_LIMIT` bytes.
    """
    comment = trusted_comment.encode()
    if len(comment) > COMMENT_LIMIT or not trusted_comment.replace("\t", "").isprintable():
        raise ValueError(f"a trusted comment is one line of printable text of at most {COMMENT_LIMIT} bytes")
    secret = _read_secret(secret_key)
    signature = secret.key.sign(_digest(body))
    lines = (
        f"{_UNTRUSTED}signature from minisign secret key",
        _base64(_PREHASHED + secret.key_id + signature),
        f"{_TRUSTED}{trusted_comment}",
        _base64(secret.key.sign(signature + comment)),
    )
    return ("\n".join(lines) + "\n").encode()


def verify(body: bytes, signature: bytes, public_key: bytes, *, legacy: bool = True) -> str:
    """Check a signature against a body and a public key.

    Parameters
    ----------
    body : bytes
        What is said to be signed.
    signature : bytes
        Text of the signature file.
    public_key : bytes
        Text of the public key file, or its base64 alone.
    legacy : bool
        Whether signatures over the body itself (``Ed``) are accepted; a signer that only signs prehashed is best
        checked without, as the mode itself is not signed.

    Returns
    -------
    str
        The trusted comment.

    Raises
    ------
    SignatureError
        If signature or key are malformed, the key is another one, or body or comment are not what was signed.
    """
    read, public = _read_signature(signature), _read_public(public_key)
    if read.key_id != public.key_id:
        raise SignatureError(f"the signature was made with key {_shown(read.key_id)}, not with {_shown(public.key_id)}")
    if read.algorithm == _LEGACY and not legacy:
        raise SignatureError("the signature is of the legacy mode, which is not accepted here")
    signed = body if read.algorithm == _LEGACY else _digest(body)
    if not _holds(public.key, read.body, signed):
        raise SignatureError("the content is not what was signed")
    if not _holds(public.key, read.whole, read.body + read.comment.encode()):
        raise SignatureError("the trusted comment is not what was signed")
    return read.comment


def public_key_id(public_key: bytes) -> str:
    """Name of a public key.

    Parameters
    ----------
    public_key : bytes
        Text of the public key file, or its base64 alone.

    Returns
    -------
    str
        16 hexadecimal digits, as minisign shows them.
    """
    return _shown(_read_public(public_key).key_id)


def signer_id(signature: bytes) -> str:
    """Name of the key a signature says it was made with; nothing is verified.

    Parameters
    ----------
    signature : bytes
        Text of the signature file.

    Returns
    -------
    str
        16 hexadecimal digits, as minisign shows them.
    """
    return _shown(_read_signature(signature).key_id)


def public_key_of(secret_key: bytes) -> bytes:
    """Public key that belongs to a secret key.

    Parameters
    ----------
    secret_key : bytes
        Text of an unencrypted secret key.

    Returns
    -------
    bytes
        Text of the public key file.
    """
    return _public_text(*_read_secret(secret_key))


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=64).digest()


def _holds(key: ed25519.Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _shown(key_id: bytes) -> str:
    # The tool prints the id as a little-endian number.
    return key_id[::-1].hex().upper()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _public_text(key_id: bytes, key: ed25519.Ed25519PrivateKey) -> bytes:
    raw = _base64(_LEGACY + key_id + key.public_key().public_bytes_raw())
    return f"{_UNTRUSTED}minisign public key {_shown(key_id)}\n{raw}\n".encode()


def _secret_text(key_id: bytes, key: ed25519.Ed25519PrivateKey) -> bytes:
    # Algorithm, no key derivation, checksum kind, empty salt and limits; the checksum stays empty without a password.
    head = _LEGACY + b"\0\0" + b"B2" + bytes(_SALT_AND_LIMITS)
    pair = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return f"{_UNTRUSTED}minisign secret key\n{_base64(head + key_id + pair + bytes(_CHECKSUM))}\n".encode()


def _read_secret(text: bytes) -> _Secret:
    raw = _decoded(_lines(text, count=2, what="secret key")[1], what="secret key")
    start = 6 + _SALT_AND_LIMITS
    if len(raw) != start + _ID + 2 * _KEY + _CHECKSUM or raw[:2] != _LEGACY or raw[4:6] != b"B2":
        raise SignatureError("this is not a secret key of minisign")
    if raw[2:4] != b"\0\0":
        raise SignatureError("the secret key is encrypted with a password, which nobody can type here")
    key_id, rest = raw[start : start + _ID], raw[start + _ID :]
    key = ed25519.Ed25519PrivateKey.from_private_bytes(rest[:_KEY])
    if key.public_key().public_bytes_raw() != rest[_KEY : 2 * _KEY]:
        raise SignatureError("the secret key is damaged: its halves do not belong together")
    return _Secret(key_id, key)


def _read_public(text: bytes) -> _Public:
    lines = text.strip().splitlines()
    encoded = lines[0].decode(errors="replace") if len(lines) == 1 else _lines(text, count=2, what="public key")[1]
    raw = _decoded(encoded, what="public key")
    if len(raw) != len(_LEGACY) + _ID + _KEY or raw[:2] != _LEGACY:
        raise SignatureError("this is not a public key of minisign")
    return _Public(raw[2 : 2 + _ID], ed25519.Ed25519PublicKey.from_public_bytes(raw[2 + _ID :]))


def _read_signature(text: bytes) -> _Signature:
    lines = _lines(text, count=4, what="signature")
    raw, whole = _decoded(lines[1], what="signature"), _decoded(lines[3], what="signature")
    if len(raw) != 2 + _ID + _SIGNATURE or len(whole) != _SIGNATURE or not lines[2].startswith(_TRUSTED):
        raise SignatureError("this is not a signature of minisign")
    if raw[:2] not in (_PREHASHED, _LEGACY):
        raise SignatureError("the signature is of an algorithm that is not known here")
    return _Signature(raw[:2], raw[2 : 2 + _ID], raw[2 + _ID :], lines[2].removeprefix(_TRUSTED), whole)


def _lines(text: bytes, *, count: int, what: str) -> list[str]:
    try:
        lines = text[:_TEXT_LIMIT].decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        lines = []
    if len(lines) != count or len(text) > _TEXT_LIMIT or not lines[0].startswith(_UNTRUSTED):
        raise SignatureError(f"this is not a {what} of minisign: {count} lines with an untrusted comment first are due")
    return [line.removesuffix("\r") for line in lines]


def _decoded(line: str, *, what: str) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError(f"the {what} is not base64 where it has to be") from None
