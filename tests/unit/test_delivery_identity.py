"""Identity: nobody is anybody without proof, all refusals read alike, and no credential widens what it allows."""

import base64
import datetime as dt
import hashlib
import hmac
import http.server
import importlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from infra import database
from infra.delivery import entitlement, identity

NOW = dt.datetime(2026, 7, 15, 12, tzinfo=dt.UTC)
YEAR = dt.timedelta(days=365)
ISSUER, AUDIENCE = "https://login.example.cn/", "terralimb"
ED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
EC = ec.derive_private_key(20260715, ec.SECP256R1())


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = database.engine(f"sqlite:///{tmp_path / 'identity.sqlite'}")
    identity.metadata.create_all(made)
    yield made
    made.dispose()


def jwk(key: Any, kid: str | None, **more: str) -> dict[str, Any]:
    kinds = {ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm, rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm}
    kind = next((made for of, made in kinds.items() if isinstance(key, of)), jwt.algorithms.ECAlgorithm)
    public: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    return {**public, **({} if kid is None else {"kid": kid}), **more}


def key_set(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": list(entries)}))
    return path


def claims(**changes: Any) -> dict[str, Any]:
    made = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "li.wei",
        "exp": int((NOW + dt.timedelta(minutes=10)).timestamp()),
        "agency": "cq-water",
        "sectors": ["ecology", "emergency"],
        "districts": ["500112"],
        "scope": "search download",
    } | changes
    return {name: value for name, value in made.items() if value is not ...}


def token(key: Any = ED, algorithm: str = "EdDSA", kid: str | None = "ed", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=None if kid is None else {"kid": kid})


def verifier(jwks: Path | str, clock: Callable[[], float] = lambda: 0.0) -> identity.TokenVerifier:
    return identity.TokenVerifier(
        issuer=ISSUER, audience=AUDIENCE, jwks=jwks, leeway=dt.timedelta(seconds=30), clock=clock
    )


@pytest.fixture
def of_ed(tmp_path: Path) -> identity.TokenVerifier:
    return verifier(key_set(tmp_path, jwk(ED, "ed")))


def made_key(engine: sa.Engine, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "agency": "cq-water",
        "sectors": ["ecology"],
        "scopes": ["search"],
        "districts": ["500112"],
        "expires_at": NOW + YEAR,
        "now": NOW,
    }
    return identity.create(engine, **{**fields, **changes})


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(identity.IdentityRefusedError) as error:
        call()
    assert str(error.value) == identity.PUBLIC_TEXT
    return error.value.cause


def asked(engine: sa.Engine, header: str | None, tokens: identity.TokenVerifier | None = None) -> str:
    return refused(lambda: identity.Identities(engine, tokens).authenticate(header, now=NOW))


def test_a_key_stands_for_what_it_was_made_for(engine: sa.Engine) -> None:
    key = made_key(engine)
    assert identity.Identities(engine).authenticate(f"Bearer {key}", now=NOW) == entitlement.Principal(
        agency="cq-water",
        sectors=frozenset({"ecology"}),
        districts=frozenset({"500112"}),
        scopes=frozenset({"search"}),
        key_id=key.split("_")[1],
    )
    everywhere = identity.Identities(engine).authenticate(f"bearer  {made_key(engine, districts=None)} ", now=NOW)
    assert everywhere.districts is None


def test_only_a_hash_of_256_random_bits_is_kept(engine: sa.Engine, tmp_path: Path) -> None:
    first, second = made_key(engine), made_key(engine)
    secret = first.split("_")[2]
    assert len(bytes.fromhex(secret)) == 32
    assert secret != second.split("_")[2]
    engine.dispose()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in stored
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in stored
    assert secret not in repr(identity.listing(engine))


def test_unknown_and_wrong_keys_cannot_be_told_apart(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or compare(a, b))
    prefix, key_id, secret = made_key(engine).split("_")
    wrong = f"{prefix}_{key_id}_{'0' * 64}"
    unknown = f"{prefix}_{'0' * 16}_{secret}"
    assert asked(engine, f"Bearer {wrong}") == asked(engine, f"Bearer {unknown}") == "key_unknown_or_wrong"
    assert [len(a) == len(b) == 64 for a, b in compared] == [True, True]


def test_a_key_ends_when_it_was_said_to(engine: sa.Engine) -> None:
    header = f"Bearer {made_key(engine)}"
    known = identity.Identities(engine)
    assert known.authenticate(header, now=NOW + YEAR - dt.timedelta(seconds=1))
    assert refused(lambda: known.authenticate(header, now=NOW + YEAR)) == "key_expired"


def test_a_key_taken_back_is_refused_at_once_and_once(engine: sa.Engine) -> None:
    key = made_key(engine)
    key_id = key.split("_")[1]
    assert identity.revoke(engine, key_id, now=NOW)
    assert asked(engine, f"Bearer {key}") == "key_revoked"
    assert not identity.revoke(engine, key_id)
    assert not identity.revoke(engine, "unknown")
    assert identity.listing(engine)[0].revoked_at == "2026-07-15T12:00:00+00:00"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer two words",
        "Bearer " + "a" * 9000,
        "Bearer 令牌",
        "Bearer a\0b",
        "Bearer tl_0_0",
        "Bearer null",
        "Bearer " + "." * 10,
        "Bearer " + base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.x",
    ],
)
def test_whoever_proves_nothing_is_nobody(engine: sa.Engine, of_ed: identity.TokenVerifier, header: str | None) -> None:
    made_key(engine)
    asked(engine, header)
    asked(engine, header, of_ed)


def test_a_row_with_limits_nobody_knows_allows_no_more_for_it(engine: sa.Engine) -> None:
    key = made_key(engine)
    with engine.begin() as connection:
        odd = {"sectors": ["ecology", "*"], "scopes": ["search", "admin"], "districts": ["", "5001", "500112"]}
        connection.execute(sa.update(identity.api_key_table).values(**odd))
    known = identity.Identities(engine).authenticate(f"Bearer {key}", now=NOW)
    assert (known.sectors, known.scopes, known.districts) == ({"ecology"}, {"search"}, {"500112"})


@pytest.mark.parametrize(
    "changes",
    [
        {"agency": ""},
        {"agency": "two words"},
        {"agency": "a?b=c"},
        {"sectors": []},
        {"sectors": ["ecologie"]},
        {"scopes": []},
        {"scopes": ["admin"]},
        {"districts": []},
        {"districts": [""]},
        {"districts": ["50"]},
        {"expires_at": NOW},
        {"expires_at": dt.datetime(2027, 1, 1)},  # noqa: DTZ001  no time zone, on purpose
    ],
)
def test_keys_that_could_mean_something_else_are_not_made(engine: sa.Engine, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        made_key(engine, **changes)
    assert identity.listing(engine) == ()


def test_the_migration_makes_the_table_the_code_declares(tmp_path: Path) -> None:
    migration = importlib.import_module("infra.migrations.versions.0004_api_keys")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'migrated.sqlite'}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        with Operations.context(context):
            migration.upgrade()
        assert compare_metadata(context, identity.metadata) == []
    assert identity.Identities(engine).authenticate(f"Bearer {made_key(engine)}", now=NOW)


def test_a_token_stands_for_its_claims(engine: sa.Engine, of_ed: identity.TokenVerifier) -> None:
    assert identity.Identities(engine, of_ed).authenticate(f"Bearer {token()}", now=NOW) == entitlement.Principal(
        agency="cq-water",
        sectors=frozenset({"ecology", "emergency"}),
        districts=frozenset({"500112"}),
        scopes=frozenset({"search", "download"}),
        key_id="oidc:li.wei",
    )


def test_tokens_of_all_accepted_kinds_hold(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    tokens = verifier(key_set(tmp_path, jwk(ED, "ed"), jwk(EC, "ec"), jwk(rsa_key, "rsa", alg="RS256", use="sig")))
    for key, algorithm, kid in ((ED, "EdDSA", "ed"), (EC, "ES256", "ec"), (rsa_key, "RS256", "rsa")):
        assert tokens.principal(token(key, algorithm, kid), now=NOW).agency == "cq-water"
    assert refused(lambda: tokens.principal(token(EC, "ES256", "ed"), now=NOW)) == "token_algorithm"
    assert refused(lambda: tokens.principal(token(rsa_key, "RS512", "rsa"), now=NOW)) == "token_algorithm"
    assert refused(lambda: tokens.principal(token(kid=None), now=NOW)) == "token_key_unknown"


def test_a_token_without_a_key_id_holds_where_the_issuer_has_one_key(of_ed: identity.TokenVerifier) -> None:
    assert of_ed.principal(token(kid=None), now=NOW).agency == "cq-water"


def unsigned(algorithm: str, secret: bytes | None) -> str:
    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    body = f"{part({'alg': algorithm, 'kid': 'ed'})}.{part(claims())}"
    signature = b"" if secret is None else hmac.digest(secret, body.encode(), "sha256")
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_a_token_cannot_choose_how_it_is_checked(of_ed: identity.TokenVerifier) -> None:
    public = ED.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    forged = [unsigned("HS256", secret) for secret in (b"", pem, public.public_bytes_raw())]
    forged += [unsigned(algorithm, None) for algorithm in ("none", "None", "NONE", "")]
    assert {refused(lambda one=one: of_ed.principal(one, now=NOW)) for one in forged} == {"token_algorithm"}


def test_a_secret_key_in_the_issuers_set_is_no_key(tmp_path: Path) -> None:
    shared = {"kty": "oct", "k": base64.urlsafe_b64encode(b"k" * 32).decode(), "kid": "ed", "alg": "HS256"}
    tokens = verifier(key_set(tmp_path, shared, jwk(ED, "other")))
    assert refused(lambda: tokens.principal(unsigned("HS256", b"k" * 32), now=NOW)) == "token_algorithm"
    assert refused(lambda: tokens.principal(token(), now=NOW)) == "token_key_unknown"


def test_keys_for_encryption_weak_keys_and_odd_entries_are_passed_over(tmp_path: Path) -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505  weak on purpose
    odd: list[Any] = ["text", {}, {"kty": "OKP", "crv": "Ed25519", "kid": "a"}, jwk(EC, "enc", use="enc")]
    tokens = verifier(key_set(tmp_path, *odd, jwk(weak, "weak"), jwk(ED, "ed")))
    assert tokens.principal(token(), now=NOW).agency == "cq-water"
    assert refused(lambda: tokens.principal(token(EC, "ES256", "enc"), now=NOW)) == "token_key_unknown"
    assert set(tokens._held.keys if tokens._held else {}) == {"ed", None}


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"iss": "https://login.example.com/"}, "token_issuer"),
        ({"aud": "another"}, "token_audience"),
        ({"aud": []}, "token_claim_missing"),
        ({"exp": ...}, "token_claim_missing"),
        ({"iss": ...}, "token_claim_missing"),
        ({"aud": ...}, "token_claim_missing"),
        ({"sub": ...}, "token_claim_missing"),
        ({"exp": int(NOW.timestamp()) - 30}, "token_expired"),
        ({"nbf": int(NOW.timestamp()) + 31}, "token_not_yet_valid"),
        ({"iat": int(NOW.timestamp()) + 31}, "token_not_yet_valid"),
        ({"exp": "9999999999"}, "token_time_malformed"),
        ({"exp": True}, "token_time_malformed"),
        ({"exp": float("inf")}, "token_time_malformed"),
        ({"exp": float("nan")}, "token_time_malformed"),
        ({"nbf": "soon"}, "token_time_malformed"),
        ({"agency": ...}, "token_without_agency"),
        ({"agency": ""}, "token_without_agency"),
        ({"agency": ["cq-water"]}, "token_without_agency"),
        ({"agency": "a b"}, "token_without_agency"),
    ],
)
def test_a_token_that_does_not_hold_is_refused_for_its_cause(
    of_ed: identity.TokenVerifier, changes: dict[str, Any], cause: str
) -> None:
    assert refused(lambda: of_ed.principal(token(**changes), now=NOW)) == cause


def test_clocks_may_differ_by_the_leeway(of_ed: identity.TokenVerifier) -> None:
    now = int(NOW.timestamp())
    assert of_ed.principal(token(exp=now - 29, nbf=now + 30, iat=now + 30.5 - 1), now=NOW)


def test_a_token_of_another_key_or_with_another_body_is_refused(of_ed: identity.TokenVerifier) -> None:
    stranger = token(ed25519.Ed25519PrivateKey.generate())
    head, _, signature = token().split(".")
    body = token(agency="cq-forest").split(".")[1]
    for forged in (stranger, f"{head}.{body}.{signature}", f"{head}.{body}."):
        assert refused(lambda forged=forged: of_ed.principal(forged, now=NOW)) == "token_signature"


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"sectors": ["ecology", "*", "all", 7]}, ({"ecology"}, {"500112"}, {"search", "download"})),
        ({"sectors": ...}, (set(), {"500112"}, {"search", "download"})),
        ({"sectors": {"ecology": True}}, (set(), {"500112"}, {"search", "download"})),
        ({"sectors": "ecology weather"}, ({"ecology", "weather"}, {"500112"}, {"search", "download"})),
        ({"districts": ["500112", "", "5", "*", "५००११२", None]}, ({"ecology", "emergency"}, {"500112"}, None)),
        ({"districts": []}, ({"ecology", "emergency"}, set(), None)),
        ({"districts": None}, ({"ecology", "emergency"}, set(), None)),
        ({"districts": 500112}, ({"ecology", "emergency"}, set(), None)),
        ({"districts": ...}, ({"ecology", "emergency"}, set(), None)),
        ({"districts": ..., "all_districts": True}, ({"ecology", "emergency"}, None, None)),
        ({"districts": ..., "all_districts": "true"}, ({"ecology", "emergency"}, set(), None)),
        ({"districts": ..., "all_districts": 1}, ({"ecology", "emergency"}, set(), None)),
        ({"districts": ["500112"], "all_districts": True}, ({"ecology", "emergency"}, {"500112"}, None)),
        ({"districts": None, "all_districts": True}, ({"ecology", "emergency"}, set(), None)),
        ({"districts": "*"}, ({"ecology", "emergency"}, set(), None)),
        ({"scope": "search openid admin"}, ({"ecology", "emergency"}, {"500112"}, {"search"})),
        ({"scope": ["feed", "root"]}, ({"ecology", "emergency"}, {"500112"}, {"feed"})),
        ({"scope": ...}, ({"ecology", "emergency"}, {"500112"}, set())),
    ],
)
def test_what_a_token_says_beyond_the_known_limits_widens_nothing(
    of_ed: identity.TokenVerifier, changes: dict[str, Any], seen: tuple[Any, Any, Any]
) -> None:
    known = of_ed.principal(token(**changes), now=NOW)
    sectors, districts, scopes = seen
    assert (known.sectors, known.districts) == (sectors, districts)
    assert scopes is None or known.scopes == scopes


def test_a_subject_that_is_no_name_is_told_apart_by_its_hash(of_ed: identity.TokenVerifier) -> None:
    names = {of_ed.principal(token(sub=sub), now=NOW).key_id for sub in ("李伟", "a b", "x" * 200, "tl_1_2?sig=3")}
    assert len(names) == 4
    assert all(name.startswith("oidc:") and len(name) == 21 for name in names)


def test_an_unknown_key_is_asked_for_at_most_once_a_minute(tmp_path: Path) -> None:
    passed = [0.0]
    path = key_set(tmp_path, jwk(ED, "ed"))
    tokens = verifier(path, lambda: passed[0])
    assert tokens.principal(token(), now=NOW)
    key_set(tmp_path, jwk(ED, "ed"), jwk(EC, "new"))
    passed[0] = 59.0
    assert refused(lambda: tokens.principal(token(EC, "ES256", "new"), now=NOW)) == "token_key_unknown"
    passed[0] = 60.0
    assert tokens.principal(token(EC, "ES256", "new"), now=NOW)
    reads: list[float] = []
    tokens._read = lambda: reads.append(passed[0]) or path.read_bytes()  # type: ignore[func-returns-value]
    for second in range(61, 181):
        passed[0] = float(second)
        refused(lambda: tokens.principal(token(EC, "ES256", "foreign"), now=NOW))
    assert reads == [120.0, 180.0]


def test_a_key_the_issuer_took_back_ends_with_the_next_reading(tmp_path: Path) -> None:
    passed = [0.0]
    tokens = verifier(key_set(tmp_path, jwk(ED, "ed")), lambda: passed[0])
    assert tokens.principal(token(), now=NOW)
    key_set(tmp_path, jwk(EC, "ec"))
    passed[0] = identity.TokenVerifier.REFRESH_AFTER + 1
    assert refused(lambda: tokens.principal(token(), now=NOW)) == "token_key_unknown"


def test_an_issuer_out_of_reach_is_bridged_for_an_hour_and_then_nobody_is_let_in(tmp_path: Path) -> None:
    passed = [0.0]
    path = key_set(tmp_path, jwk(ED, "ed"))
    tokens = verifier(path, lambda: passed[0])
    assert tokens.principal(token(), now=NOW)
    path.unlink()
    passed[0] = identity.TokenVerifier.KEEP_FOR
    assert tokens.principal(token(), now=NOW)
    passed[0] += 1
    assert refused(lambda: tokens.principal(token(), now=NOW)) == "issuer_unreachable"
    key_set(tmp_path, jwk(ED, "ed"))
    passed[0] += 60
    assert tokens.principal(token(), now=NOW)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"keys": 1}', '{"keys": []}', "<html>sign in</html>"])
def test_what_is_no_key_set_opens_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "jwks.json").write_text(content)
    tokens = verifier(tmp_path / "jwks.json")
    assert refused(lambda: tokens.principal(token(), now=NOW)) == "issuer_unreachable"


@pytest.fixture
def issuer() -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    pages: dict[str, tuple[int, bytes]] = {}

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = pages.get(self.path, (404, b""))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", body.decode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", pages
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_issuers_keys_are_read_over_the_network_and_no_redirect_is_followed(
    issuer: tuple[str, dict[str, tuple[int, bytes]]],
) -> None:
    address, pages = issuer
    pages["/jwks"] = 200, json.dumps({"keys": [jwk(ED, "ed")]}).encode()
    pages["/moved"] = 302, b"/jwks"
    pages["/large"] = 200, b" " * 1_000_001 + pages["/jwks"][1]
    assert verifier(f"{address}/jwks").principal(token(), now=NOW)
    for page in ("moved", "large", "absent"):
        tokens = verifier(f"{address}/{page}")
        assert refused(lambda tokens=tokens: tokens.principal(token(), now=NOW)) == "issuer_unreachable"


def test_an_issuer_that_does_not_answer_opens_nothing() -> None:
    tokens = verifier("http://127.0.0.1:9/jwks")
    assert refused(lambda: tokens.principal(token(), now=NOW)) == "issuer_unreachable"


@pytest.mark.parametrize("address", ["http://login.example.cn/jwks", "ftp://127.0.0.1/jwks", "file:///jwks"])
def test_keys_that_someone_between_could_set_are_not_read(address: str) -> None:
    with pytest.raises(ValueError, match="https"):
        verifier(address)


def test_tokens_are_checked_against_a_named_issuer_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="named issuer"):
        identity.TokenVerifier(issuer="", audience=AUDIENCE, jwks=tmp_path)


def test_a_request_without_a_time_zone_is_a_fault_of_the_caller(engine: sa.Engine) -> None:
    with pytest.raises(ValueError, match="time zone"):
        identity.Identities(engine).authenticate(f"Bearer {made_key(engine)}", now=NOW.replace(tzinfo=None))
