"""Whom the embedded object store serves: the installation itself, and guests who read one prefix until a time.

The server knows them from one file, readable by its owner only, which is the only place where the secret of a guest
is kept. What a guest may do is a policy that the server evaluates, with its end in it: it is refused from then on
even where nothing else runs.

The server reads the file again when it is told to, but only adds to what it knows: an identity that was left out
lives on until the server ends. Whoever is dismissed therefore stays in the file, disabled, without rights and with
another secret, until the next start.
"""

import dataclasses
import datetime as dt
import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra import object_store, private_files
from products import store_policy

_OWNER_ACTIONS = ("Admin", "Read", "Write", "List", "Tagging")
_OWNER = "installation"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guest:
    """An identity beside that of the installation.

    Attributes
    ----------
    credentials : infra.object_store.Credentials
        Access key and secret.
    bucket, prefix : str
        Where it may read.
    policy : Mapping[str, Any]
        What it may do, in the policy language of S3.
    expires_at : datetime.datetime
        When the policy ends; aware.
    """

    credentials: object_store.Credentials
    bucket: str
    prefix: str
    policy: Mapping[str, Any]
    expires_at: dt.datetime


def guest(*, access_key: str, bucket: str, prefix: str, expires_at: dt.datetime) -> Guest:
    """Make an identity that reads one prefix until a time, with a secret of its own.

    Parameters
    ----------
    access_key : str
        Public name of its key.
    bucket, prefix : str
        Where it may read.
    expires_at : datetime.datetime
        When that ends; aware.

    Returns
    -------
    Guest
        The identity; nobody knows it yet.
    """
    return Guest(
        credentials=object_store.Credentials(access_key, secrets.token_urlsafe(32)),
        bucket=bucket,
        prefix=prefix,
        policy=store_policy.document(bucket=bucket, prefix=prefix, expires_at=expires_at),
        expires_at=expires_at,
    )


def guests(path: Path) -> tuple[Guest, ...]:
    """Guests the file lets in, expired ones included.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    tuple of Guest
        In the order in which they were let in; none where there is no file.
    """
    content = _content(path)
    policies = {policy["name"]: json.loads(policy["content"]) for policy in content.get("policies", [])}
    return tuple(
        Guest(
            credentials=object_store.Credentials(key["accessKey"], key["secretKey"]),
            bucket=entry["bucket"],
            prefix=entry["prefix"],
            policy=policies[entry["name"]],
            expires_at=dt.datetime.fromisoformat(entry["expiresAt"]),
        )
        for entry in content.get("identities", [])
        if entry["name"] != _OWNER and not entry.get("disabled")
        for key in entry["credentials"]
    )


def write(path: Path, owner: object_store.Credentials, *, now: dt.datetime) -> None:
    """Write the file for a server that starts: the installation and the guests whose time is not over.

    Parameters
    ----------
    path : Path
        The file.
    owner : infra.object_store.Credentials
        Identity of the installation, with every right.
    now : datetime.datetime
        Time; aware.
    """
    standing = [guest for guest in guests(path) if guest.expires_at > now]
    key = {"accessKey": owner.access_key, "secretKey": owner.secret_key}
    first = {"name": _OWNER, "credentials": [key], "actions": list(_OWNER_ACTIONS)}
    _write(path, [first, *map(_entry, standing)], [_policy(guest) for guest in standing])


def add(path: Path, guest: Guest) -> None:
    """Let a guest in, at the next reading of the file.

    Parameters
    ----------
    path : Path
        The file.
    guest : Guest
        Whom.

    Raises
    ------
    ValueError
        There was one of this access key before.
    """
    content = _content(path)
    entries = content.get("identities", [])
    if guest.credentials.access_key in {entry["name"] for entry in entries}:
        raise ValueError(f"the access key {guest.credentials.access_key} was given before")
    _write(path, [*entries, _entry(guest)], [*content.get("policies", []), _policy(guest)])


def disable(path: Path, access_keys: Iterable[str]) -> tuple[Guest, ...]:
    """Dismiss guests, at the next reading of the file.

    Parameters
    ----------
    path : Path
        The file.
    access_keys : Iterable of str
        Whom.

    Returns
    -------
    tuple of Guest
        Those of them who were let in until now, with the secrets they had.
    """
    names = set(access_keys) - {_OWNER}
    found = tuple(guest for guest in guests(path) if guest.credentials.access_key in names)
    if found:
        content = _content(path)
        entries = [_disabled(entry) if entry["name"] in names else entry for entry in content["identities"]]
        _write(path, entries, [policy for policy in content["policies"] if policy["name"] not in names])
    return found


def _entry(guest: Guest) -> dict[str, Any]:
    name = guest.credentials.access_key
    return {
        "name": name,
        "credentials": [{"accessKey": name, "secretKey": guest.credentials.secret_key}],
        "actions": [],
        "policyNames": [name],
        # The server passes over what it does not know; these are for us.
        "bucket": guest.bucket,
        "prefix": guest.prefix,
        "expiresAt": guest.expires_at.astimezone(dt.UTC).isoformat(),
    }


def _policy(guest: Guest) -> dict[str, str]:
    return {"name": guest.credentials.access_key, "content": json.dumps(guest.policy)}


def _disabled(entry: Mapping[str, Any]) -> dict[str, Any]:
    # Any one of these closes the door; the secret is gone from the file as well.
    key = {"accessKey": entry["name"], "secretKey": secrets.token_urlsafe(32)}
    return {"name": entry["name"], "credentials": [key], "actions": [], "policyNames": [], "disabled": True}


def _content(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content


def _write(path: Path, identities: list[Any], policies: list[Any]) -> None:
    private_files.write(path, json.dumps({"identities": identities, "policies": policies}))
