"""Who asks: API keys of machines and tokens of an OpenID Connect issuer, both proven before anything else happens.

Nothing is open: without a credential that holds, nobody is anybody. Whoever is refused gets one text, whatever the
cause; the cause is for the record. What a credential says beyond the known sectors, scopes and districts is dropped
and never widens what it allows.
"""

import dataclasses
import datetime as dt
import hashlib
import hmac
import json
import logging
import math
import re
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import httpx
import jwt
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa

from infra import database
from infra.delivery import entitlement
from products.sectors import definition

_log = logging.getLogger(__name__)

#: Sectors a credential can be limited to.
SECTORS: tuple[str, ...] = (*get_args(definition.Sector), "weather")

#: Signatures of tokens that are accepted; none that a public key could be mistaken for the secret of.
ALGORITHMS = ("EdDSA", "RS256", "ES256")

#: What everyone who is refused is told.
PUBLIC_TEXT = "authentication required: send a valid key or token as `Authorization: Bearer <key or token>`"

_LONGEST_CREDENTIAL = 8192
_KEY = re.compile(r"tl_([0-9a-f]{16})_([0-9a-f]{64})")
_AGENCY = re.compile(r"\w[\w.@+-]{0,63}")
_DISTRICT = re.compile(r"[1-9][0-9]{5}([0-9]{3}){0,2}")
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")

metadata = sa.MetaData()
api_key_table = sa.Table(
    "api_key",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("agency", sa.Text, nullable=False),
    sa.Column("sectors", sa.JSON, nullable=False),
    sa.Column("districts", sa.JSON(none_as_null=True)),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("secret_sha256", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Text, nullable=False),
    sa.Column("revoked_at", sa.Text),
    sa.Column("note", sa.Text, nullable=False),
)


class IdentityRefusedError(Exception):
    """Whoever asks is not recognized; the text is the same for all and says nothing about the cause.

    Attributes
    ----------
    cause : str
        Why, one snake-case word for the audit record; never for whoever asks.
    key_id : str or None
        Public name of the key, where a key of that name was presented.
    """

    def __init__(self, cause: str, key_id: str | None = None) -> None:
        super().__init__(PUBLIC_TEXT)
        self.cause = cause
        self.key_id = key_id


@dataclasses.dataclass(frozen=True, kw_only=True)
class ApiKey:
    """What is known of an API key, without its secret.

    Attributes
    ----------
    key_id : str
        Public name of the key.
    agency : str
        Agency it was given to.
    sectors : tuple of str
        Sectors it may see.
    districts : tuple of str or None
        Codes of GB/T 2260 it is limited to; None for all.
    scopes : tuple of str
        What it may do.
    created_at, expires_at : str
        From when until when it holds, RFC 3339 UTC.
    revoked_at : str or None
        When it was taken back.
    note : str
        What the one who made it wrote down.
    """

    key_id: str
    agency: str
    sectors: tuple[str, ...]
    districts: tuple[str, ...] | None
    scopes: tuple[str, ...]
    created_at: str
    expires_at: str
    revoked_at: str | None
    note: str


def create(
    engine: sa.Engine,
    *,
    agency: str,
    sectors: Sequence[str],
    scopes: Sequence[str],
    expires_at: dt.datetime,
    districts: Sequence[str] | None = None,
    note: str = "",
    now: dt.datetime | None = None,
) -> str:
    """Make an API key.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    agency : str
        Name of the agency: letters, digits and `. @ + - _`, at most 64.
    sectors : Sequence[str]
        Sectors whose items it may see, of `SECTORS`; at least one.
    scopes : Sequence[str]
        What it may do, of `entitlement.SCOPES`; at least one.
    expires_at : datetime
        When it ends.
    districts : Sequence[str], optional
        Codes of GB/T 2260 it is limited to; all where not given.
    note : str
        What it is for.
    now : datetime, optional
        When it begins; the clock's time where not given.

    Returns
    -------
    str
        The key, which nobody can be shown again: only a hash of its secret is kept.

    Raises
    ------
    ValueError
        If a limit is empty or unknown, or the key would have ended before it begins.
    """
    begin = _utc(now or dt.datetime.now(dt.UTC))
    check_limits(agency=agency, sectors=sectors, districts=districts)
    _check_known("scope", scopes, entitlement.SCOPES)
    if _utc(expires_at) <= begin:
        raise ValueError(f"the key would have ended before it begins: {expires_at.isoformat()}")
    key_id, secret = secrets.token_hex(8), secrets.token_hex(32)
    row = {
        "key_id": key_id,
        "agency": agency,
        "sectors": sorted(set(sectors)),
        "districts": None if districts is None else sorted(set(districts)),
        "scopes": sorted(set(scopes)),
        "secret_sha256": _sha256(secret),
        "created_at": begin.isoformat(timespec="seconds"),
        "expires_at": _utc(expires_at).isoformat(timespec="seconds"),
        "note": note,
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(api_key_table).values(**row))
    return f"tl_{key_id}_{secret}"


def revoke(engine: sa.Engine, key_id: str, *, now: dt.datetime | None = None) -> bool:
    """Take an API key back, at once.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    key_id : str
        Public name of the key.
    now : datetime, optional
        Time to record; the clock's where not given.

    Returns
    -------
    bool
        Whether there was such a key that had not been taken back.
    """
    when = _utc(now or dt.datetime.now(dt.UTC)).isoformat(timespec="seconds")
    column = api_key_table.c
    standing = sa.and_(column.key_id == key_id, column.revoked_at.is_(None))
    with engine.begin() as connection:
        return connection.execute(sa.update(api_key_table).where(standing).values(revoked_at=when)).rowcount == 1


def listing(engine: sa.Engine) -> tuple[ApiKey, ...]:
    """All API keys that were ever made, oldest first.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.

    Returns
    -------
    tuple of ApiKey
        The keys without their secrets.
    """
    column = api_key_table.c
    with database.reading(engine) as connection:
        rows = connection.execute(sa.select(api_key_table).order_by(column.created_at, column.key_id)).mappings().all()
    return tuple(_api_key(row) for row in rows)


class _Held(NamedTuple):
    """Keys of the issuer as last read."""

    keys: Mapping[str | None, jwt.PyJWK]
    read_at: float


class TokenVerifier:
    """Proves tokens of one issuer of OpenID Connect.

    Keys of the issuer are read when first needed, again after `REFRESH_AFTER`, and when a token names one that is not
    held; never more than once in `REFRESH_INTERVAL`. While the issuer cannot be reached those held go on until
    `KEEP_FOR`, then every token is refused.

    Parameters
    ----------
    issuer : str
        Value of `iss` that is accepted.
    audience : str
        Value that `aud` must hold.
    jwks : Path or str
        File or address of the issuer's JSON Web Key Set; plain http is for this machine only.
    leeway : timedelta
        Difference of clocks that is tolerated.
    clock : callable
        Monotonic time [s], for the intervals.
    """

    REFRESH_INTERVAL = 60.0
    REFRESH_AFTER = 600.0
    KEEP_FOR = 3600.0

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        jwks: Path | str,
        leeway: dt.timedelta = dt.timedelta(seconds=30),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not issuer or not audience:
            raise ValueError("tokens can only be checked against a named issuer and audience")
        self._issuer, self._audience = issuer, audience
        self._read = _reader(jwks)
        self._leeway, self._clock = leeway.total_seconds(), clock
        self._held: _Held | None = None
        self._attempted = -math.inf
        self._turn = threading.Lock()

    def principal(self, token: str, *, now: dt.datetime) -> entitlement.Principal:
        """Prove a token.

        Parameters
        ----------
        token : str
            JSON Web Token.
        now : datetime
            Time it has to hold at.

        Returns
        -------
        entitlement.Principal
            Who it stands for, limited to what is known of its claims. Without a claim `districts` it sees nothing,
            unless `all_districts` is true.

        Raises
        ------
        IdentityRefusedError
            If anything about it does not hold.
        """
        claims = self._claims(token)
        _check_times(claims, _utc(now).timestamp(), self._leeway)
        return _principal(claims)

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise IdentityRefusedError("token_malformed") from error
        if header.get("alg") not in ALGORITHMS:
            raise IdentityRefusedError("token_algorithm")
        key = self._key(header.get("kid"))
        options: Any = {
            "require": ["exp", "iss", "aud", "sub"],
            # Times are checked against the time of the request, by _check_times.
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                # The one algorithm of this key: a token cannot choose how its signature is checked.
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                options=options,
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise IdentityRefusedError(_cause(error)) from error
        return claims

    def _key(self, kid: object) -> jwt.PyJWK:
        name = kid if isinstance(kid, str) else None
        held = self._held
        if held is None or name not in held.keys or self._clock() - held.read_at > self.REFRESH_AFTER:
            self._refresh()
        held = self._usable()
        if held is None:
            raise IdentityRefusedError("issuer_unreachable")
        if name not in held.keys:
            raise IdentityRefusedError("token_key_unknown")
        return held.keys[name]

    def _usable(self) -> _Held | None:
        held = self._held
        return held if held is not None and self._clock() - held.read_at <= self.KEEP_FOR else None

    def _refresh(self) -> None:
        # Those who can go on with what is held do not wait for a slow issuer.
        if not self._turn.acquire(blocking=self._usable() is None):
            return
        try:
            if self._clock() - self._attempted < self.REFRESH_INTERVAL:
                return
            self._attempted = self._clock()
            self._held = _Held(_issuer_keys(self._read()), self._clock())
        except (OSError, ValueError, httpx.HTTPError, jwt.PyJWTError) as error:
            _log.warning("the keys of the token issuer cannot be read: %s", type(error).__name__)
        finally:
            self._turn.release()


class Identities:
    """Recognizes whoever asks by an API key or a token.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database with the API keys.
    tokens : TokenVerifier, optional
        Verifier of tokens; none is accepted where not given.
    """

    def __init__(self, engine: sa.Engine, tokens: TokenVerifier | None = None) -> None:
        self._engine, self._tokens = engine, tokens

    def authenticate(self, authorization: str | None, *, now: dt.datetime) -> entitlement.Principal:
        """Recognize whoever sent a header.

        Parameters
        ----------
        authorization : str or None
            Value of the header `Authorization`; None where there is none.
        now : datetime
            Time of the request.

        Returns
        -------
        entitlement.Principal
            Who it is and what it is limited to.

        Raises
        ------
        IdentityRefusedError
            Whenever it is not certain who it is.
        """
        credential = _bearer(authorization)
        parts = _KEY.fullmatch(credential)
        if parts:
            return self._by_key(*parts.groups(), now=_utc(now))
        if self._tokens is None:
            raise IdentityRefusedError("key_malformed")
        return self._tokens.principal(credential, now=now)

    def _by_key(self, key_id: str, secret: str, *, now: dt.datetime) -> entitlement.Principal:
        wanted = sa.select(api_key_table).where(api_key_table.c.key_id == key_id)
        with database.reading(self._engine) as connection:
            row = connection.execute(wanted).mappings().first()
        # A key that does not exist is compared as well, with a hash that nothing has.
        kept = "0" * 64 if row is None else str(row["secret_sha256"])
        same = hmac.compare_digest(_sha256(secret), kept)
        if row is None or not same:
            raise IdentityRefusedError("key_unknown_or_wrong", key_id)
        key = _api_key(row)
        if key.revoked_at is not None:
            raise IdentityRefusedError("key_revoked", key_id)
        if now >= dt.datetime.fromisoformat(key.expires_at):
            raise IdentityRefusedError("key_expired", key_id)
        return entitlement.Principal(
            agency=key.agency,
            sectors=_known_sectors(key.sectors),
            districts=_known_districts(key.districts),
            scopes=_known_scopes(key.scopes),
            key_id=key.key_id,
        )


def check_limits(*, agency: str, sectors: Sequence[str], districts: Sequence[str] | None) -> None:
    """Refuse limits that are empty or unknown.

    Parameters
    ----------
    agency : str
        Name of the agency: letters, digits and `. @ + - _`, at most 64.
    sectors : Sequence[str]
        Sectors, of `SECTORS`; at least one.
    districts : Sequence[str] or None
        Codes of GB/T 2260; None for all.

    Raises
    ------
    ValueError
        The sentence says what is wrong.
    """
    if not _AGENCY.fullmatch(agency):
        raise ValueError(f"{agency!r} cannot name an agency: letters, digits and . @ + - _, at most 64")
    _check_known("sector", sectors, SECTORS)
    if districts is not None and not (districts and all(_DISTRICT.fullmatch(code) for code in districts)):
        raise ValueError("districts are codes of GB/T 2260, six digits or more, as 500112")


def _check_known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown or not given:
        raise ValueError(f"{what} {', '.join(unknown) or 'missing'}: one or more of {', '.join(known)}")


def _api_key(row: Mapping[Any, Any]) -> ApiKey:
    districts = row["districts"]
    return ApiKey(
        key_id=row["key_id"],
        agency=row["agency"],
        sectors=tuple(row["sectors"]),
        districts=None if districts is None else tuple(districts),
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        note=row["note"],
    )


def _utc(instant: dt.datetime) -> dt.datetime:
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} states no time zone")
    return instant.astimezone(dt.UTC)


def _sha256(text: str) -> str:
    # The secret is 256 random bits: there is nothing a slow hash could protect.
    return hashlib.sha256(text.encode()).hexdigest()


def _bearer(authorization: str | None) -> str:
    if authorization is None:
        raise IdentityRefusedError("no_credential")
    scheme, _, credential = authorization.strip().partition(" ")
    credential = credential.strip()
    sound = credential.isascii() and credential.isprintable() and " " not in credential
    if scheme.lower() != "bearer" or not credential or not sound or len(credential) > _LONGEST_CREDENTIAL:
        raise IdentityRefusedError("credential_malformed")
    return credential


def _known_sectors(given: Iterable[str]) -> frozenset[str]:
    return frozenset(given) & frozenset(SECTORS)


def _known_scopes(given: Iterable[str]) -> frozenset[entitlement.Scope]:
    return frozenset(scope for scope in entitlement.SCOPES if scope in frozenset(given))


def _known_districts(given: Iterable[str] | None) -> frozenset[str] | None:
    # A code that is none must not reach the filter: an empty one would stand for everything.
    return None if given is None else frozenset(code for code in given if _DISTRICT.fullmatch(code))


def _principal(claims: Mapping[str, Any]) -> entitlement.Principal:
    agency = claims.get("agency")
    if not isinstance(agency, str) or not _AGENCY.fullmatch(agency):
        raise IdentityRefusedError("token_without_agency")
    return entitlement.Principal(
        agency=agency,
        sectors=_known_sectors(_texts(claims.get("sectors"))),
        districts=_claimed_districts(claims),
        scopes=_known_scopes(_texts(claims.get("scope"))),
        key_id=_public_name(str(claims["sub"])),
    )


def _claimed_districts(claims: Mapping[str, Any]) -> frozenset[str] | None:
    # An issuer that knows nothing of districts has said nothing about them: no limit must be said in so many words.
    if claims.get("all_districts") is True and "districts" not in claims:
        return None
    return _known_districts(_texts(claims.get("districts")))


def _texts(claim: object) -> list[str]:
    """Words of a claim, a list or one text with blanks between (RFC 8693 for scopes); anything else is none."""
    words = claim.split() if isinstance(claim, str) else claim
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _public_name(subject: str) -> str:
    if _SUBJECT.fullmatch(subject):
        return f"oidc:{subject}"
    return f"oidc:{hashlib.sha256(subject.encode(errors='replace')).hexdigest()[:16]}"


def _check_times(claims: Mapping[str, Any], now: float, leeway: float) -> None:
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name)
        if value is None and name != "exp":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise IdentityRefusedError("token_time_malformed")
    if claims["exp"] <= now - leeway:
        raise IdentityRefusedError("token_expired")
    if max(claims.get("nbf") or 0, claims.get("iat") or 0) > now + leeway:
        raise IdentityRefusedError("token_not_yet_valid")


def _cause(error: Exception) -> str:
    causes: tuple[tuple[type[Exception], str], ...] = (
        (jwt.InvalidAlgorithmError, "token_algorithm"),
        (jwt.InvalidSignatureError, "token_signature"),
        (jwt.InvalidAudienceError, "token_audience"),
        (jwt.InvalidIssuerError, "token_issuer"),
        (jwt.MissingRequiredClaimError, "token_claim_missing"),
    )
    return next((cause for kind, cause in causes if isinstance(error, kind)), "token_malformed")


_MAX_KEY_SET_BYTES = 1_000_000
_TIMEOUT_SECONDS = 5.0
_MIN_RSA_BITS = 2048


def _reader(jwks: Path | str) -> Callable[[], bytes]:
    if isinstance(jwks, Path) or "://" not in jwks:
        path = Path(jwks)
        return path.read_bytes
    address = urllib.parse.urlsplit(jwks)
    own = address.scheme == "http" and address.hostname in {"localhost", "127.0.0.1", "::1"}
    if address.scheme != "https" and not own:
        raise ValueError(
            "the keys of a token issuer are read from a file or over https: who sits between could set any"
        )
    return lambda: _fetched(jwks)


def _fetched(address: str) -> bytes:
    with (
        httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=False) as client,
        client.stream("GET", address) as reply,
    ):
        if reply.status_code != httpx.codes.OK:
            raise ValueError(f"the issuer answered {reply.status_code}")
        content = b""
        for part in reply.iter_bytes():
            content += part
            if len(content) > _MAX_KEY_SET_BYTES:
                raise ValueError("the issuer's keys are too large")
    return content


def _issuer_keys(content: bytes) -> dict[str | None, jwt.PyJWK]:
    """Usable keys of a set by their id; one that stands alone also for tokens that name none."""
    document = json.loads(content)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("this is not a JSON Web Key Set")
    keys: dict[str | None, jwt.PyJWK] = {}
    found = [key for entry in listed if (key := _usable_key(entry)) is not None]
    for key in found:
        if key.key_id is not None:
            keys.setdefault(key.key_id, key)
    if len(found) == 1:
        keys[None] = found[0]
    if not keys:
        raise ValueError("the issuer has no key of an accepted kind")
    return keys


def _usable_key(entry: object) -> jwt.PyJWK | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(cast("Any", entry))
    except (jwt.PyJWTError, ValueError, KeyError, TypeError):
        return None
    weak = isinstance(key.key, rsa.RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS
    return key if key.algorithm_name in ALGORITHMS and not weak else None
