"""Keys this installation signs with: one active, those retired or revoked before it, and what they still prove.

Under `<home>/keys` lie `keys.json`, which is public (it is what `/.well-known` serves), and one secret key file, that
of the active key. A key that is retired or revoked loses its secret at once: what signs nothing any more cannot leak.
A retired key's signatures still verify; those of a revoked key never do, whatever time they state, because whoever
stole the key could state any time.
"""

import contextlib
import dataclasses
import datetime as dt
import fcntl
import functools
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from infra import private_files
from products import minisign

State = Literal["active", "retired", "revoked"]

LAYOUT = "terralimb-keys/1"
_LIST = "keys.json"
_PRIVATE_FILE, _PUBLIC_FILE = 0o600, 0o644


class SigningKeyError(RuntimeError):
    """The keys of this installation cannot be used as they are; the sentence says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublicKey:
    """A key as the world may know it.

    Attributes
    ----------
    id : str
        16 hexadecimal digits, as minisign shows them.
    public_key : str
        Base64 of the public key, what `minisign -P` takes.
    created : str
        When it was made, RFC 3339 UTC.
    state : str
        active, retired (its signatures hold) or revoked (they do not).
    reason : str or None
        Why it is no longer active.
    ended : str or None
        When it was retired or revoked, RFC 3339 UTC.
    """

    id: str
    public_key: str
    created: str
    state: State
    reason: str | None = None
    ended: str | None = None


def ensure(home: Path, *, now: dt.datetime | None = None) -> PublicKey:
    """Active key of an installation, made where there is none yet.

    Parameters
    ----------
    home : Path
        Home of the installation.
    now : datetime, optional
        Time to record; the clock's where not given.

    Returns
    -------
    PublicKey
        The active key.
    """
    with _locked(home) as folder:
        held = _read(folder)
        active = _active(held)
        if active is None:
            active = _added(folder, held, now)
        return active


def public_keys(home: Path) -> tuple[PublicKey, ...]:
    """All keys an installation ever signed with, oldest first.

    Parameters
    ----------
    home : Path
        Home of the installation.

    Returns
    -------
    tuple of PublicKey
        Active, retired and revoked keys; empty where none was made.
    """
    return tuple(_read(home / "keys"))


def document(keys: Sequence[PublicKey]) -> dict[str, Any]:
    """Public keys as the JSON that is served and that `keys_of` reads.

    Parameters
    ----------
    keys : Sequence of PublicKey
        Keys to publish.

    Returns
    -------
    dict
        JSON object with no secret in it.
    """
    return {"layout": LAYOUT, "keys": [dataclasses.asdict(key) for key in keys]}


def keys_of(published: dict[str, Any]) -> tuple[PublicKey, ...]:
    """Read a list of public keys.

    Parameters
    ----------
    published : dict
        JSON object as `document` gives it.

    Returns
    -------
    tuple of PublicKey
        The keys.

    Raises
    ------
    SigningKeyError
        If it is no such list, or names a key by another id than its own.
    """
    try:
        keys = tuple(PublicKey(**entry) for entry in published["keys"])
        sound = published["layout"] == LAYOUT and all(_sound(key) for key in keys)
    except (KeyError, TypeError, minisign.SignatureError) as error:
        raise SigningKeyError(f"this is not a list of signing keys: {error}") from error
    if not sound or len({key.id for key in keys}) < len(keys):
        raise SigningKeyError("the list of signing keys contradicts itself or is of another layout")
    return keys


def sign(home: Path, body: bytes, trusted_comment: str) -> bytes:
    """Sign with the active key.

    Parameters
    ----------
    home : Path
        Home of the installation; `ensure` has run there before.
    body : bytes
        What is signed.
    trusted_comment : str
        One line that is signed with it.

    Returns
    -------
    bytes
        Text of the `.minisig` file.

    Raises
    ------
    SigningKeyError
        If no key is active, or others than its owner may read its secret.
    """
    with _locked(home) as folder:
        active = _active(_read(folder))
        if active is None:
            raise SigningKeyError(f"no signing key is active in {folder}")
        secret = _secret(folder, active.id)
    return minisign.sign(body, secret, trusted_comment)


def signer(home: Path) -> Callable[[bytes, str], bytes]:
    """Make what signs for an installation, with a key made where there is none yet.

    Parameters
    ----------
    home : Path
        Home of the installation.

    Returns
    -------
    callable
        Signs a body with a trusted comment, as `sign` does.
    """
    ensure(home)
    return functools.partial(sign, home)


def verify(keys: Sequence[PublicKey], body: bytes, signature: bytes) -> str:
    """Check a signature against the keys of an installation.

    Parameters
    ----------
    keys : Sequence of PublicKey
        All keys that are known.
    body : bytes
        What is said to be signed.
    signature : bytes
        Text of the signature.

    Returns
    -------
    str
        The trusted comment.

    Raises
    ------
    products.minisign.SignatureError
        If the signature does not hold, or its key is unknown or revoked.
    """
    signer = minisign.signer_id(signature)
    found = next((key for key in keys if key.id == signer), None)
    if found is None:
        raise minisign.SignatureError(f"the signature was made with key {signer}, which is not known")
    if found.state == "revoked":
        raise minisign.SignatureError(f"the signature was made with key {signer}, which was revoked: {found.reason}")
    return minisign.verify(body, signature, found.public_key.encode(), legacy=False)


def rotate(home: Path, *, reason: str, now: dt.datetime | None = None) -> PublicKey:
    """Retire the active key and sign with a new one from now on.

    Parameters
    ----------
    home : Path
        Home of the installation.
    reason : str
        Why, for those who read the list.
    now : datetime, optional
        Time to record; the clock's where not given.

    Returns
    -------
    PublicKey
        The new active key.
    """
    with _locked(home) as folder:
        held = _read(folder)
        active = _active(held)
        return _added(folder, held if active is None else _ended(held, active.id, "retired", reason, now), now)


def revoke(home: Path, key_id: str, *, reason: str, now: dt.datetime | None = None) -> PublicKey:
    """Take back a key: nothing it signed verifies any more.

    Parameters
    ----------
    home : Path
        Home of the installation.
    key_id : str
        Id of the key.
    reason : str
        Why, for those who read the list.
    now : datetime, optional
        Time to record; the clock's where not given.

    Returns
    -------
    PublicKey
        The key that is active after it: a new one where the active one was revoked.

    Raises
    ------
    SigningKeyError
        If the key is not known.
    """
    with _locked(home) as folder:
        held = _read(folder)
        if key_id not in {key.id for key in held}:
            raise SigningKeyError(f"there is no signing key {key_id}")
        left = _ended(held, key_id, "revoked", reason, now)
        active = _active(left)
        if active is None:
            return _added(folder, left, now)
        _write(folder, left)
        return active


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[Path]:
    """Folder of the keys, held by this process alone."""
    folder = home / "keys"
    private_files.make_folder(home)
    private_files.make_folder(folder)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, _PRIVATE_FILE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(handle)


def _read(folder: Path) -> list[PublicKey]:
    try:
        text = (folder / _LIST).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        return list(keys_of(json.loads(text)))
    except ValueError as error:
        raise SigningKeyError(f"{folder / _LIST} is not JSON") from error


def _sound(key: PublicKey) -> bool:
    return minisign.public_key_id(key.public_key.encode()) == key.id and key.state in get_args(State)


def _active(keys: Sequence[PublicKey]) -> PublicKey | None:
    return next((key for key in keys if key.state == "active"), None)


def _ended(
    keys: Sequence[PublicKey], key_id: str, state: State, reason: str, now: dt.datetime | None
) -> list[PublicKey]:
    def changed(key: PublicKey) -> PublicKey:
        # A key that was revoked stays so, for the reason first given.
        if key.id != key_id or key.state == "revoked":
            return key
        return dataclasses.replace(key, state=state, reason=reason, ended=_text(now))

    return [changed(key) for key in keys]


def _added(folder: Path, keys: Sequence[PublicKey], now: dt.datetime | None) -> PublicKey:
    pair = minisign.generate()
    base64 = pair.public_key.split(b"\n")[1].decode()
    key = PublicKey(id=pair.key_id, public_key=base64, created=_text(now), state="active")
    # The secret is there before the list names it: a crash between leaves a file that the next change removes.
    _replace(_secret_path(folder, key.id), pair.secret_key, mode=_PRIVATE_FILE)
    _write(folder, [*keys, key])
    return key


def _write(folder: Path, keys: Sequence[PublicKey]) -> None:
    text = json.dumps(document(keys), indent=2, ensure_ascii=False) + "\n"
    _replace(folder / _LIST, text.encode(), mode=_PUBLIC_FILE)
    active = _active(keys)
    for path in folder.glob("*.key"):
        if active is None or path != _secret_path(folder, active.id):
            path.unlink()


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    """Put a file in place whole or not at all, with its mode from the first byte on."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.rename(path)


def _secret_path(folder: Path, key_id: str) -> Path:
    return folder / f"{key_id}.key"


def _secret(folder: Path, key_id: str) -> bytes:
    path = _secret_path(folder, key_id)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise SigningKeyError(f"{path} is open to others (mode {mode:o}): run chmod 600, or revoke the key")
        return path.read_bytes()
    except FileNotFoundError:
        raise SigningKeyError(f"the secret of signing key {key_id} is missing: expected {path}") from None


def _text(now: dt.datetime | None) -> str:
    return (now or dt.datetime.now(dt.UTC)).astimezone(dt.UTC).isoformat(timespec="seconds")
