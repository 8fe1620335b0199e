"""The one owner of keys and identities: nobody else spells a path of the store.

Keys carry the content's hash, so an object is never overwritten and a reader can check what it got.
"""

import hashlib
import re

SHORT = 12
_LANDING_HASH = re.compile(rf"^[0-9a-f]{{{SHORT}}}-")
_NOT_ID = re.compile(r"[^a-z0-9_-]+")
_LANDING_PREFIXES = {
    "landed_downlink": "downlink/",
    "landed_occultation": "occultations/",
    "landed_scene": "scenes/",
    "landed_auxiliary": "auxiliary/",
}


def identity(*parts: str) -> str:
    """Lowercase identity of `[a-z0-9_-]` made of `parts` joined by hyphens."""
    return "-".join(_NOT_ID.sub("-", part.lower()).strip("-") for part in parts if part)


def short(sha256: str) -> str:
    """First characters of a hash: enough for a key, still checked in full against the ledger."""
    return sha256[:SHORT]


def granule_key(kind: str, granule_id: str, sha256: str, suffix: str) -> str:
    """Key of a granule in the archive bucket."""
    return f"{kind.replace('_', '-')}/{granule_id}/{short(sha256)}{suffix}"


def asset_key(sha256: str, suffix: str) -> str:
    """Key of a product's file in the archive bucket before its publication, by content alone."""
    return f"asset/{sha256[:2]}/{sha256}{suffix}"


def quarantine_key(landing_key: str, sha256: str) -> str:
    """Key of a refused object in the quarantine bucket; its reason stands at the key with `.reason.json`."""
    return f"{landing_key}.{short(sha256)}"


def product_prefix(product: str, datetime_iso: str) -> str:
    """Folder of a product's items of one day, e.g. `land-cover/v1/2021/09/01`."""
    year, month, day = datetime_iso[:10].split("-")
    return f"{product}/v1/{year}/{month}/{day}"


def landing_prefixes() -> dict[str, str]:
    """Kind of a landed granule -> prefix of its keys in the landing bucket."""
    return dict(_LANDING_PREFIXES)


def landed_kind(key: str) -> str | None:
    """Kind of granule a landing key announces; None where the key is outside the agreed prefixes."""
    return next((kind for kind, prefix in _LANDING_PREFIXES.items() if key.startswith(prefix)), None)


def landing_parts(key: str) -> list[str]:
    """Parts of a landing key between its prefix and the file name, e.g. [station, link]."""
    return key.split("/")[1:-1]


def landing_key(kind: str, *parts: str) -> str:
    """Key under which a file of `kind` lands; the last part is the file's name."""
    return _LANDING_PREFIXES[kind] + "/".join(parts)


def landing_name(key: str) -> str:
    """Name a landed file had before its content's hash was put in front of it."""
    name = key.rpartition("/")[2]
    return _LANDING_HASH.sub("", name)


def landing_mark(key: str) -> str:
    """Hash a landing key carries; what is made from the file carries it in its identity or group."""
    return key.rpartition("/")[2][:SHORT]


def landing_version(key: str, body: bytes) -> str:
    """Landing key that carries the content's hash before the file's name, so that another content never collides."""
    folder, _, name = key.rpartition("/")
    return f"{folder}/{short(hashlib.sha256(body).hexdigest())}-{name}"
