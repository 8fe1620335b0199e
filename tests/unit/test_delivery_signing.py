"""Signing keys: one is active, retired ones still prove what they signed, revoked ones prove nothing."""

import base64
import datetime as dt
import json
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from infra import signing
from products import minisign

NOON = dt.datetime(2026, 7, 15, 12, tzinfo=dt.UTC)
BODY = b"manifest"


def secrets_in(home: Path) -> list[str]:
    return sorted(path.stem for path in (home / "keys").glob("*.key"))


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    key = signing.ensure(tmp_path, now=NOON)
    assert signing.ensure(tmp_path) == key
    assert (key.state, key.created) == ("active", "2026-07-15T12:00:00+00:00")
    assert stat.S_IMODE((tmp_path / "keys" / f"{key.id}.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_several_who_start_at_once_share_one_key(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(signing.ensure(tmp_path).id)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == len(signing.public_keys(tmp_path)) == 1


def test_the_list_of_keys_holds_no_secret_and_survives_being_served(tmp_path: Path) -> None:
    key = signing.ensure(tmp_path)
    secret = (tmp_path / "keys" / f"{key.id}.key").read_text().split("\n")[1]
    served = json.dumps(signing.document(signing.public_keys(tmp_path)))
    assert secret not in served
    assert signing.keys_of(json.loads(served)) == (key,)


def test_signatures_of_the_active_key_hold(tmp_path: Path) -> None:
    signing.ensure(tmp_path)
    signature = signing.sign(tmp_path, BODY, "item a revision 1")
    keys = signing.public_keys(tmp_path)
    assert signing.verify(keys, BODY, signature) == "item a revision 1"
    with pytest.raises(minisign.SignatureError, match="content"):
        signing.verify(keys, BODY + b"x", signature)


def test_a_retired_key_still_proves_what_it_signed_and_signs_nothing_more(tmp_path: Path) -> None:
    old = signing.ensure(tmp_path)
    signature = signing.sign(tmp_path, BODY, "a")
    new = signing.rotate(tmp_path, reason="yearly", now=NOON)
    keys = signing.public_keys(tmp_path)
    assert [(key.id, key.state, key.reason) for key in keys] == [
        (old.id, "retired", "yearly"),
        (new.id, "active", None),
    ]
    assert signing.verify(keys, BODY, signature) == "a"
    assert minisign.signer_id(signing.sign(tmp_path, BODY, "a")) == new.id
    assert secrets_in(tmp_path) == [new.id]


def test_a_signature_of_a_revoked_key_does_not_verify(tmp_path: Path) -> None:
    old = signing.ensure(tmp_path)
    signature = signing.sign(tmp_path, BODY, "a")
    new = signing.revoke(tmp_path, old.id, reason="laptop stolen")
    assert new.id != old.id
    with pytest.raises(minisign.SignatureError, match="revoked: laptop stolen"):
        signing.verify(signing.public_keys(tmp_path), BODY, signature)
    assert secrets_in(tmp_path) == [new.id]


def test_revoking_a_retired_key_leaves_the_active_one_and_revoked_is_for_good(tmp_path: Path) -> None:
    old = signing.ensure(tmp_path)
    new = signing.rotate(tmp_path, reason="yearly")
    assert signing.revoke(tmp_path, old.id, reason="found in a backup") == new
    assert signing.revoke(tmp_path, old.id, reason="again") == new
    assert signing.public_keys(tmp_path)[0].reason == "found in a backup"
    signing.rotate(tmp_path, reason="yearly")
    assert [key.state for key in signing.public_keys(tmp_path)] == ["revoked", "retired", "active"]


def test_unknown_keys_are_named(tmp_path: Path) -> None:
    signing.ensure(tmp_path)
    stranger = minisign.generate()
    with pytest.raises(minisign.SignatureError, match=f"{stranger.key_id}, which is not known"):
        signing.verify(signing.public_keys(tmp_path), BODY, minisign.sign(BODY, stranger.secret_key, "a"))
    with pytest.raises(signing.SigningKeyError, match="no signing key 00"):
        signing.revoke(tmp_path, "00", reason="x")


def test_nothing_is_signed_without_a_key_or_with_one_that_others_can_read(tmp_path: Path) -> None:
    with pytest.raises(signing.SigningKeyError, match="no signing key is active"):
        signing.sign(tmp_path, BODY, "a")
    secret = tmp_path / "keys" / f"{signing.ensure(tmp_path).id}.key"
    secret.chmod(0o640)
    with pytest.raises(signing.SigningKeyError, match="open to others"):
        signing.sign(tmp_path, BODY, "a")
    secret.unlink()
    with pytest.raises(signing.SigningKeyError, match="is missing"):
        signing.sign(tmp_path, BODY, "a")


def test_a_list_that_names_a_key_by_a_foreign_id_is_refused(tmp_path: Path) -> None:
    key = signing.ensure(tmp_path)
    published = signing.document([key])
    for wrong in (
        {**published, "keys": [{**published["keys"][0], "id": "0" * 16}]},
        {**published, "keys": published["keys"] * 2},
        {**published, "keys": [{**published["keys"][0], "state": "trusted"}]},
        {**published, "keys": [{**published["keys"][0], "public_key": "RWQ="}]},
        {**published, "layout": "other/1"},
        {"keys": [{}]},
    ):
        with pytest.raises(signing.SigningKeyError):
            signing.keys_of(wrong)
    (tmp_path / "keys" / "keys.json").write_text("{")
    with pytest.raises(signing.SigningKeyError, match="not JSON"):
        signing.public_keys(tmp_path)


def test_a_secret_left_by_a_crash_is_removed_with_the_next_change(tmp_path: Path) -> None:
    signing.ensure(tmp_path)
    (tmp_path / "keys" / "FFFFFFFFFFFFFFFF.key").write_bytes(minisign.generate().secret_key)
    new = signing.rotate(tmp_path, reason="yearly")
    assert secrets_in(tmp_path) == [new.id]


def test_a_signature_of_the_legacy_mode_is_refused_as_nothing_here_makes_one(tmp_path: Path) -> None:
    key = signing.ensure(tmp_path)
    raw = base64.b64decode((tmp_path / "keys" / f"{key.id}.key").read_bytes().split(b"\n")[1])
    secret = ed25519.Ed25519PrivateKey.from_private_bytes(raw[62:94])
    body = secret.sign(BODY)
    lines = (
        b"untrusted comment: x",
        base64.b64encode(b"Ed" + raw[54:62] + body),
        b"trusted comment: a",
        base64.b64encode(secret.sign(body + b"a")),
    )
    legacy = b"\n".join(lines) + b"\n"
    assert minisign.verify(BODY, legacy, key.public_key.encode()) == "a"
    with pytest.raises(minisign.SignatureError, match="legacy mode"):
        signing.verify(signing.public_keys(tmp_path), BODY, legacy)
