"""Verified downloads: whatever the line, the link or the server does, a file is whole and right or it is not there."""

import dataclasses
import datetime as dt
import email.utils
import fcntl
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from http import server
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from infra import signing
from infra.delivery import fetching
from products import minisign

ITEM = "open-water-extent-cq-20210901t032000z"
BODY = bytes(range(256)) * 1200  # 307 200 octets
LARGE, SMALL = "data.tif", "statistics.json"
SIGNED = {"MANIFEST.json", "MANIFEST.json.minisig"}

#: What a server does to one request for a file instead of serving it: answer, content, first octet asked for.
Trouble = Callable[["_Answer", bytes, int], None]


class _Answer(server.BaseHTTPRequestHandler):
    """Serves the files of the desk the way an S3 server does: ETag, If-Match, Range and links that end."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        name, _, ticket = self.path.lstrip("/").partition("?")
        desk = self.server.desk
        body = desk.files.get(name)
        given = self.headers.get("Range")
        desk.asked.append((name, given, self.headers.get("If-Match")))
        start = int(given.removeprefix("bytes=").removesuffix("-")) if given else 0
        if ticket not in desk.tickets:
            return self.reply(403, b"<Error>Request has expired</Error>")
        if body is None:
            return self.reply(404, b"")
        if desk.troubles.get(name):
            return desk.troubles[name].pop(0)(self, body, start)
        return self.serve(body, start)

    def serve(self, body: bytes, start: int) -> None:
        wanted = self.headers.get("If-Match")
        if wanted is not None and wanted != etag(body):
            return self.reply(412, b"<Error>PreconditionFailed</Error>")
        if start and start >= len(body):
            return self.reply(416, b"<Error>InvalidRange</Error>")
        return self.reply(206 if start else 200, body[start:], self.marks(body, start))

    def marks(self, body: bytes, start: int) -> dict[str, str]:
        span = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        return {"ETag": etag(body), **span}

    def reply(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, *, sent: int | None = None
    ) -> None:
        """Answer; with `sent`, fewer octets than announced, and then the line breaks."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:sent])
        self.close_connection = sent is not None


class _Server(server.ThreadingHTTPServer):
    daemon_threads = True
    desk: "Desk"


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


@dataclasses.dataclass
class Desk:
    """A server of files, the source that links to them, and what was asked of both."""

    address: str
    home: Path
    folder: Path
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    troubles: dict[str, list[Trouble]] = dataclasses.field(default_factory=dict)
    tickets: set[str] = dataclasses.field(default_factory=set)
    asked: list[tuple[str, str | None, str | None]] = dataclasses.field(default_factory=list)
    links: int = 0
    #: What the catalogue states: the hash of the manifest, and those of the assets.
    stated: dict[str, str] = dataclasses.field(default_factory=dict)
    checksums: dict[str, str] = dataclasses.field(default_factory=dict)

    def sign(self, manifest: object) -> None:
        body = json.dumps(manifest).encode()
        self.files["MANIFEST.json"] = body
        self.stated = {"MANIFEST.json": hashlib.sha256(body).hexdigest()}
        self.files["MANIFEST.json.minisig"] = signing.sign(self.home, body, f"{ITEM} revision 1")

    def publish(self, files: dict[str, bytes], item_id: str = ITEM) -> None:
        self.files |= files
        self.sign({"id": item_id, "files": {name: listed(body) for name, body in files.items()}})

    # The source

    def find(self, item_id: str) -> fetching.RemoteItem:
        return fetching.RemoteItem(item_id=item_id, revision=1, checksums=self.checksums)

    def link(self, _item: fetching.RemoteItem, name: str) -> fetching.Link:
        self.links += 1
        self.tickets.add(f"ticket={self.links}")
        return fetching.Link(url=f"{self.address}/{name}?ticket={self.links}", sha256=self.stated.get(name))

    def public_keys(self) -> tuple[signing.PublicKey, ...]:
        return signing.public_keys(self.home)

    # The client

    def fetch(self, **options: Any) -> fetching.FetchedItem:
        return fetching.fetch(self, ITEM, self.folder, **options)

    @property
    def target(self) -> Path:
        return self.folder / ITEM / "r1"

    def present(self) -> set[str]:
        """Names that count: parts on their way do not."""
        return {path.name for path in self.target.glob("*") if not path.name.startswith(".")}

    def everything(self) -> set[str]:
        return {path.name for path in self.folder.rglob("*") if path.is_file()}

    def requests(self, name: str = LARGE) -> list[tuple[str | None, str | None]]:
        return [(span, mark) for asked, span, mark in self.asked if asked == name]


def listed(body: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(fetching, "_pauses", lambda: iter((0.0,) * 5 + (None,)))
    with _Server(("127.0.0.1", 0), _Answer) as files:
        made = Desk(f"http://127.0.0.1:{files.server_address[1]}", tmp_path / "keys", tmp_path / "got")
        files.desk = made
        thread = threading.Thread(target=files.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        signing.ensure(made.home)
        made.publish({LARGE: BODY, SMALL: b"{}"})
        try:
            yield made
        finally:
            files.shutdown()
            thread.join()


def breaks_after(sent: int) -> Trouble:
    def trouble(answer: _Answer, body: bytes, start: int) -> None:
        answer.reply(206 if start else 200, body[start:], answer.marks(body, start), sent=sent)

    return trouble


def says(status: int, text: bytes, **headers: str) -> Trouble:
    return lambda answer, _body, _start: answer.reply(status, text, headers)


def test_a_fetched_item_is_whole_and_is_not_fetched_twice(desk: Desk) -> None:
    told: list[tuple[str, int, int]] = []
    done = desk.fetch(progress=lambda *said: told.append(said))
    assert (desk.target / LARGE).read_bytes() == BODY
    assert {(file.path.name, file.size, file.transferred) for file in done.files} == {
        (LARGE, len(BODY), len(BODY)),
        (SMALL, 2, 2),
    }
    assert done.signature.startswith(f"{ITEM} revision 1 (key ")
    assert told[-1] == (SMALL, 2, 2)
    assert (LARGE, len(BODY), len(BODY)) in told
    assert [file.transferred for file in desk.fetch().files] == [0, 0]
    assert len(desk.requests()) == 1
    assert desk.everything() == {LARGE, SMALL} | SIGNED


@pytest.mark.parametrize("names", [None, frozenset({SMALL})])
def test_what_was_fetched_can_be_verified_again_without_the_source(desk: Desk, names: frozenset[str] | None) -> None:
    desk.publish({LARGE: BODY, SMALL: b"{}", "item.json": b'{"type": "Feature"}'})
    done = desk.fetch(names=names)
    assert done.manifest == desk.target / "MANIFEST.json"
    body = done.manifest.read_bytes()
    signing.verify(desk.public_keys(), body, (desk.target / "MANIFEST.json.minisig").read_bytes())
    wanted = {SMALL, "item.json"} | ({LARGE} if names is None else set())
    assert desk.present() == wanted | SIGNED
    for name in wanted:
        assert json.loads(body)["files"][name] == listed((desk.target / name).read_bytes())


def test_a_folder_without_a_manifest_or_with_a_damaged_one_gets_it_and_no_file_is_fetched_again(desk: Desk) -> None:
    desk.fetch()
    manifest, signature = (desk.target / name for name in sorted(SIGNED))
    manifest.write_bytes(b"{")
    signature.unlink()
    assert [file.transferred for file in desk.fetch().files] == [0, 0]
    assert manifest.read_bytes() == desk.files["MANIFEST.json"]
    assert signature.read_bytes() == desk.files["MANIFEST.json.minisig"]
    assert desk.everything() == {LARGE, SMALL} | SIGNED


def test_no_manifest_stands_there_before_the_files_do(desk: Desk) -> None:
    desk.troubles[SMALL] = [says(404, b"")]
    with pytest.raises(fetching.FetchError, match=SMALL):
        desk.fetch()
    assert desk.present() == {LARGE}
    desk.fetch()
    assert desk.present() == {LARGE, SMALL} | SIGNED


def test_an_empty_file_is_a_file(desk: Desk) -> None:
    desk.publish({"empty.csv": b""})
    (file,) = desk.fetch().files
    assert (file.path.read_bytes(), file.size) == (b"", 0)


def test_a_broken_line_goes_on_where_it_broke_and_only_with_the_same_content(desk: Desk) -> None:
    desk.troubles[LARGE] = [breaks_after(100_000), breaks_after(50_000)]
    (file,) = desk.fetch(names=frozenset({LARGE})).files
    assert file.path.read_bytes() == BODY
    assert desk.requests() == [
        (None, None),
        ("bytes=100000-", etag(BODY)),
        ("bytes=150000-", etag(BODY)),
    ]
    assert file.transferred == len(BODY)  # no octet came twice
    assert desk.everything() == {LARGE} | SIGNED


def test_a_link_that_ends_on_the_way_is_followed_by_a_new_one(desk: Desk) -> None:
    def ends(answer: _Answer, body: bytes, start: int) -> None:
        breaks_after(1000)(answer, body, start)
        desk.tickets.clear()

    refused = says(403, b"<Error>Request has expired</Error>")
    desk.troubles[LARGE] = [ends, refused]
    desk.fetch(names=frozenset({LARGE}))
    assert (desk.target / LARGE).read_bytes() == BODY
    assert [span for span, _ in desk.requests()] == [None, "bytes=1000-", "bytes=1000-"]
    assert desk.links == 2 + 3  # manifest, signature, and a link for each attempt


def test_a_line_that_always_breaks_leaves_no_file_and_the_next_run_goes_on(desk: Desk) -> None:
    desk.troubles[LARGE] = [breaks_after(10_000)] * 6
    with pytest.raises(fetching.FetchError, match=r"data\.tif: the line broke.*run the same command"):
        desk.fetch()
    assert desk.present() == set()
    before = len(desk.requests())
    found = {file.path.name: file for file in desk.fetch().files}
    assert desk.requests()[before:] == [("bytes=60000-", etag(BODY))]
    assert found[LARGE].path.read_bytes() == BODY
    assert found[LARGE].transferred == len(BODY) - 60_000


def test_an_interrupted_run_leaves_no_file_and_the_next_one_goes_on(desk: Desk) -> None:
    def interrupt(name: str, have: int, _size: int) -> None:
        assert not (desk.target / name).exists()
        if have > 20_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.fetch(progress=interrupt)
    assert desk.present() == set()
    have = (desk.target / f".{LARGE}.part").stat().st_size
    assert have > 20_000
    desk.fetch()
    assert desk.requests()[-1] == (f"bytes={have}-", etag(BODY))
    assert (desk.target / LARGE).read_bytes() == BODY


def test_nothing_has_its_final_name_before_it_is_whole(desk: Desk) -> None:
    desk.troubles[LARGE] = [breaks_after(100_000)]
    seen: list[bool] = []
    desk.fetch(names=frozenset({LARGE}), progress=lambda name, *_: seen.append((desk.target / name).exists()))
    assert len(seen) >= 2
    assert not any(seen)


@pytest.mark.parametrize("left", ["note", "part", "garbled note", "listed note", "long part"])
def test_what_a_crash_left_behind_does_no_harm(desk: Desk, left: str) -> None:
    part, note = desk.target / f".{LARGE}.part", desk.target / f".{LARGE}.part.json"
    sound = json.dumps({"sha256": listed(BODY)["sha256"], "etag": etag(BODY)})
    desk.target.mkdir(parents=True)
    if left != "note":
        part.write_bytes(BODY + b"x" if left == "long part" else b"x" * 500)
    if left != "part":
        note.write_text({"garbled note": '{"sha', "listed note": "[]"}.get(left, sound))
    desk.fetch()
    assert (desk.target / LARGE).read_bytes() == BODY
    assert desk.everything() == {LARGE, SMALL} | SIGNED


def test_a_file_of_the_right_name_and_wrong_content_is_replaced(desk: Desk) -> None:
    desk.target.mkdir(parents=True)
    (desk.target / LARGE).write_bytes(BODY[:-1] + b"x")
    desk.fetch()
    assert (desk.target / LARGE).read_bytes() == BODY


@pytest.mark.parametrize("body", [BODY[:-1] + b"x", BODY[:-1], BODY + b"x", b""])
@pytest.mark.parametrize("measured", [True, False], ids=["length stated", "length not stated"])
def test_content_that_was_not_signed_is_not_kept(desk: Desk, body: bytes, measured: bool) -> None:
    desk.files[LARGE] = body
    if not measured:
        desk.troubles[LARGE] = [unmeasured] * 6
    with pytest.raises(fetching.FetchError, match=LARGE) as caught:
        desk.fetch()
    assert desk.present() == set()
    assert "ticket" not in str(caught.value)  # a link is a secret
    desk.files[LARGE], desk.troubles = BODY, {}
    desk.fetch()
    assert (desk.target / LARGE).read_bytes() == BODY


def unmeasured(answer: _Answer, body: bytes, start: int) -> None:
    """Serve as an HTTP/1.0 server does: the end of the line is the end of the file."""
    answer.send_response(206 if start else 200)
    for name, value in answer.marks(body, start).items():
        answer.send_header(name, value)
    answer.send_header("Connection", "close")
    answer.end_headers()
    answer.wfile.write(body[start:])
    answer.close_connection = True


def test_the_wrong_hash_is_told_with_both_hashes(desk: Desk) -> None:
    changed = BODY[:-1] + b"x"
    desk.files[LARGE] = changed
    with pytest.raises(fetching.FetchError, match="nothing was kept") as caught:
        desk.fetch()
    assert str(listed(BODY)["sha256"]) in str(caught.value)
    assert str(listed(changed)["sha256"]) in str(caught.value)
    assert desk.everything() == set()


def test_an_error_page_with_status_200_never_becomes_the_file(desk: Desk) -> None:
    page = says(200, b"<html>Please log in</html>", **{"Content-Type": "text/html"})
    desk.troubles[LARGE] = [page] * 6
    with pytest.raises(fetching.FetchError, match="26 octets were offered, 307200 were signed"):
        desk.fetch()
    assert desk.everything() == set()
    desk.troubles[LARGE] = [page, breaks_after(1000), page]
    desk.fetch()
    assert (desk.target / LARGE).read_bytes() == BODY


def test_an_error_page_as_the_manifest_is_not_signed(desk: Desk) -> None:
    desk.troubles["MANIFEST.json"] = [says(200, b"<html>Please log in</html>")]
    with pytest.raises(fetching.FetchError, match="not signed by a trusted key"):
        desk.fetch()
    desk.troubles["MANIFEST.json.minisig"] = [says(200, b"<html>Please log in</html>")]
    with pytest.raises(fetching.FetchError, match="not signed by a trusted key"):
        desk.fetch()
    assert desk.everything() == set()


@pytest.mark.parametrize("status", [412, 416])
def test_content_that_changed_between_two_parts_is_begun_again(desk: Desk, status: int) -> None:
    desk.troubles[LARGE] = [breaks_after(50_000), says(status, b"<Error/>")]
    desk.fetch()
    assert (desk.target / LARGE).read_bytes() == BODY
    assert [span for span, _ in desk.requests()] == [None, "bytes=50000-", None]


def test_parts_of_two_contents_are_never_joined(desk: Desk) -> None:
    other = bytes(reversed(BODY))

    def changes(answer: _Answer, body: bytes, start: int) -> None:
        breaks_after(50_000)(answer, body, start)
        desk.files[LARGE] = BODY

    desk.files[LARGE] = other
    desk.troubles[LARGE] = [changes]
    desk.fetch()
    assert desk.requests() == [(None, None), ("bytes=50000-", etag(other)), (None, None)]
    assert (desk.target / LARGE).read_bytes() == BODY


def test_a_server_that_ignores_or_misreads_the_range_does_no_harm(desk: Desk) -> None:
    def whole(answer: _Answer, body: bytes, _start: int) -> None:
        answer.reply(200, body, {"ETag": etag(body)})

    def elsewhere(answer: _Answer, body: bytes, _start: int) -> None:
        answer.reply(206, body[7:], answer.marks(body, 7))

    desk.troubles[LARGE] = [breaks_after(50_000), elsewhere, whole]
    desk.fetch()
    assert (desk.target / LARGE).read_bytes() == BODY


def test_a_refusal_that_will_not_pass_is_told_at_once(desk: Desk) -> None:
    desk.troubles[LARGE] = [says(410, b'{"description": "it was withdrawn"}')] * 6
    with pytest.raises(fetching.FetchError, match="status 410, it was withdrawn"):
        desk.fetch()
    assert len(desk.requests()) == 1
    del desk.files["MANIFEST.json"]
    before = len(desk.asked)
    with pytest.raises(fetching.FetchError, match=r"MANIFEST\.json cannot be had: status 404"):
        desk.fetch()
    assert len(desk.asked) == before + 1


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/b", "a\\b", "..", ".", "", ".hidden", f".{LARGE}.part", "a\0b"]
)
def test_names_that_leave_the_folder_are_refused_though_signed(desk: Desk, name: str) -> None:
    desk.sign({"id": ITEM, "files": {name: listed(BODY), LARGE: listed(BODY)}})
    with pytest.raises(fetching.FetchError, match=re.escape(f"the manifest lists a file {name!r}")):
        desk.fetch()
    assert desk.everything() == set()
    assert [asked for asked, *_ in desk.asked] == ["MANIFEST.json", "MANIFEST.json.minisig"]


@pytest.mark.parametrize("name", sorted(SIGNED))
def test_a_manifest_that_lists_itself_is_refused(desk: Desk, name: str) -> None:
    desk.sign({"id": ITEM, "files": {name: listed(BODY)}})
    with pytest.raises(fetching.FetchError, match="which is its own place"):
        desk.fetch()
    assert desk.everything() == set()


@pytest.mark.parametrize("item_id", ["../other", "/etc", "..", "", "a/b"])
def test_items_that_leave_the_folder_are_refused_before_anything_is_asked(desk: Desk, item_id: str) -> None:
    with pytest.raises(fetching.FetchError, match="cannot be the name of a folder"):
        fetching.fetch(desk, item_id, desk.folder)
    assert desk.asked == []


def test_the_signed_manifest_of_another_item_is_refused(desk: Desk) -> None:
    desk.publish({LARGE: BODY}, item_id="another-item")
    with pytest.raises(fetching.FetchError, match="the signed manifest is that of 'another-item'"):
        desk.fetch()
    assert desk.everything() == set()


def test_the_signed_manifest_of_another_revision_is_refused(desk: Desk) -> None:
    desk.publish({LARGE: BODY[::-1], SMALL: b"{}"})
    stale = dict(desk.files)
    desk.publish({LARGE: BODY, SMALL: b"{}"})
    desk.files = stale  # whoever holds the store puts an earlier revision, whole and signed, in the place of this one
    with pytest.raises(fetching.FetchError, match="not the one stated for revision 1"):
        desk.fetch()
    desk.stated = {}
    with pytest.raises(fetching.FetchError, match="not the one stated for revision 1"):
        desk.fetch()
    assert desk.everything() == set()


@pytest.mark.parametrize("checksums", [{LARGE: "0" * 64}, {"gone.tif": str(hashlib.sha256(BODY).hexdigest())}])
def test_what_was_signed_and_what_the_catalogue_shows_are_the_same(desk: Desk, checksums: dict[str, str]) -> None:
    desk.checksums = {SMALL: str(listed(b"{}")["sha256"]), **checksums}
    with pytest.raises(fetching.FetchError, match=rf"what was signed of {next(iter(checksums))} is not what the cata"):
        desk.fetch()
    assert desk.everything() == set()
    desk.checksums = {LARGE: str(listed(BODY)["sha256"])}
    assert desk.fetch().files


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ([], "no manifest"),
        ({}, "no manifest"),
        ({"id": ITEM, "files": {"a": {"size": 3}}}, "no hash and size of 'a'"),
        ({"id": ITEM, "files": {"a": "b"}}, "no hash and size of 'a'"),
    ],
)
def test_what_is_signed_and_no_manifest_is_refused_in_a_sentence(desk: Desk, manifest: object, reason: str) -> None:
    desk.sign(manifest)
    with pytest.raises(fetching.FetchError, match=reason):
        desk.fetch()


def test_a_signature_counts_only_if_its_key_is_trusted(desk: Desk, tmp_path: Path) -> None:
    own = desk.public_keys()
    signing.ensure(tmp_path / "foreign")
    foreign = signing.public_keys(tmp_path / "foreign")
    for trusted in ((), foreign):
        with pytest.raises(fetching.FetchError, match="not signed by a trusted key"):
            desk.fetch(trusted=trusted)
    manifest = desk.files["MANIFEST.json"]
    desk.files["MANIFEST.json.minisig"] = signing.sign(tmp_path / "foreign", manifest, "forged")
    with pytest.raises(fetching.FetchError, match="not signed by a trusted key"):
        desk.fetch()
    assert desk.everything() == set()
    assert desk.fetch(trusted=own + foreign).files


def test_a_signature_of_a_revoked_key_or_of_another_manifest_is_refused(desk: Desk) -> None:
    desk.files["MANIFEST.json"] += b" "
    with pytest.raises(fetching.FetchError, match="not signed by a trusted key"):
        desk.fetch()
    desk.files["MANIFEST.json"] = desk.files["MANIFEST.json"][:-1]
    signer = minisign.signer_id(desk.files["MANIFEST.json.minisig"])
    signing.revoke(desk.home, signer, reason="stolen")
    with pytest.raises(fetching.FetchError, match="revoked: stolen"):
        desk.fetch()
    assert desk.everything() == set()


def test_a_file_the_item_does_not_have_is_named_beside_those_it_has(desk: Desk) -> None:
    with pytest.raises(fetching.FetchError, match=r"has no file nothing\.nc; it has data\.tif, statistics\.json"):
        desk.fetch(names=frozenset({"nothing.nc"}))
    assert desk.everything() == set()


def test_pauses_grow_and_end() -> None:
    pauses = list(fetching._pauses())
    assert len(pauses) == 6
    grown = [pause for pause in pauses[:-1] if pause is not None]
    assert len(grown) == 5
    assert grown == sorted(grown)
    assert pauses[-1] is None  # nobody waits after the last attempt


# What servers, lines and links do


def whole(answer: _Answer, body: bytes, _start: int) -> None:
    answer.reply(200, body, {"ETag": etag(body)})


def page_of_no_length(answer: _Answer, _body: bytes, _start: int) -> None:
    unmeasured(answer, b"<html>Please log in</html>", 0)


PAGE = b"<html>busy</html>"
TROUBLES: dict[str, Trouble] = {
    "link ended": says(403, b"<Error>Request has expired</Error>"),
    "busy": says(503, PAGE, **{"Content-Type": "text/html"}),
    "too fast": says(429, PAGE),
    "page": says(200, PAGE, **{"Content-Type": "text/html"}),
    "page of no length": page_of_no_length,
    "changed": says(412, b"<Error/>"),
    "beyond the end": says(416, b"<Error/>"),
    "range ignored": whole,
}


@hypothesis.settings(
    max_examples=20, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.example(met=[0, 0, 0, 0, "page of no length"], left=None)
@hypothesis.given(
    met=st.lists(st.integers(0, len(BODY) - 1) | st.sampled_from(sorted(TROUBLES)), max_size=7),
    left=st.none() | st.integers(0, len(BODY) + 1),
)
def test_whatever_is_met_on_the_way_a_file_is_whole_or_not_there(
    desk: Desk, met: list[int | str], left: int | None
) -> None:
    shutil.rmtree(desk.folder, ignore_errors=True)
    if left is not None:
        desk.target.mkdir(parents=True)
        (desk.target / f".{LARGE}.part").write_bytes((BODY + b"x")[:left])
        note = {"sha256": listed(BODY)["sha256"], "etag": etag(BODY)}
        (desk.target / f".{LARGE}.part.json").write_text(json.dumps(note))
    desk.troubles[LARGE] = [breaks_after(each) if isinstance(each, int) else TROUBLES[each] for each in met]
    try:
        desk.fetch()
    except fetching.FetchError:
        assert LARGE not in desk.present()
        # A page of no stated length is taken for a beginning, and found out by the attempt that wants to go on from it.
        assert len(met) + met.count("page of no length") >= 6 or left == len(BODY) + 1
        desk.troubles[LARGE] = []
        desk.fetch()
    assert (desk.target / LARGE).read_bytes() == BODY
    assert desk.everything() == {LARGE, SMALL} | SIGNED


def test_a_page_in_the_place_of_the_rest_does_not_cost_what_has_come(desk: Desk) -> None:
    desk.troubles[LARGE] = [breaks_after(200_000), page_of_no_length]
    (file,) = desk.fetch(names=frozenset({LARGE})).files
    assert [span for span, _ in desk.requests()] == [None, "bytes=200000-", "bytes=200000-"]
    assert file.transferred == len(BODY)


def test_a_line_that_breaks_often_and_gets_somewhere_each_time_arrives(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_WORTHWHILE", 20_000)
    desk.troubles[LARGE] = [breaks_after(20_000)] * 15
    (file,) = desk.fetch(names=frozenset({LARGE})).files
    assert file.transferred == len(BODY)
    assert len(desk.requests()) == 16


def test_a_weak_mark_of_content_is_not_gone_on_from(desk: Desk) -> None:
    def weak(answer: _Answer, body: bytes, start: int) -> None:
        answer.reply(200, body[start:], {"ETag": f"W/{etag(body)}"}, sent=1000)

    desk.troubles[LARGE] = [weak]
    desk.fetch()
    assert desk.requests() == [(None, None), (None, None)]
    assert (desk.target / LARGE).read_bytes() == BODY


@pytest.mark.parametrize("name", [LARGE, "MANIFEST.json"])
def test_a_server_that_asks_for_patience_is_given_it_within_reason(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fetching.time, "sleep", slept.append)
    soon = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=100), usegmt=True)
    desk.troubles[name] = [says(429, PAGE, **{"Retry-After": "7"}), says(503, PAGE, **{"Retry-After": soon})]
    desk.fetch()
    assert slept[0] == 7
    assert 50 < slept[1] <= 100
    shutil.rmtree(desk.folder)
    desk.troubles[name] = [says(429, PAGE, **{"Retry-After": "3600"})] * 6
    before = len(desk.requests(name))
    with pytest.raises(fetching.FetchError, match=r"status 429.* asks to come back in 3600 s"):
        desk.fetch()
    assert len(desk.requests(name)) == before + 1
    assert desk.present() == set()


# Two at once


def test_two_at_once_fetch_a_file_once_and_both_have_it(desk: Desk) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(answer: _Answer, body: bytes, start: int) -> None:
        begun.set()
        go_on.wait(10)
        answer.serve(body, start)

    desk.troubles[LARGE] = [slowly]
    with futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(desk.fetch)
        assert begun.wait(10)
        second = pool.submit(desk.fetch)
        assert not futures.wait([second], timeout=0.3).done
        go_on.set()
        assert [file.transferred for file in first.result().files] == [len(BODY), 2]
        assert [file.transferred for file in second.result().files] == [0, 0]
    assert len(desk.requests()) == 1
    assert desk.everything() == {LARGE, SMALL} | SIGNED


def test_who_waits_too_long_for_another_is_told_and_what_a_dead_one_left_holds_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_TURN", 0.0)
    desk.target.mkdir(parents=True)
    with (desk.target / ".fetching.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(fetching.FetchError, match="another process has been fetching into"):
            desk.fetch()
    assert desk.fetch().files
    assert desk.everything() == {LARGE, SMALL} | SIGNED


def test_files_are_found_by_their_names(desk: Desk) -> None:
    done = fetching.fetch(desk, ITEM, str(desk.folder))
    assert done.path(SMALL).read_bytes() == b"{}"
    with pytest.raises(fetching.FetchError, match=r"nothing\.nc was not fetched; what was is data\.tif, statistics"):
        done.path("nothing.nc")


# The service as a source


@pytest.fixture
def service(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[fetching.ServiceSource, dict[str, list[httpx.Response]]]]:
    """A source whose service answers what it is told to."""
    monkeypatch.setattr(fetching, "_pauses", lambda: iter((0.0, 0.0, None)))
    answers: dict[str, list[httpx.Response]] = {}
    source = fetching.ServiceSource("http://service.test/", "the-key")
    source._client.close()

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer the-key"
        if request.url.path == "/down":
            raise httpx.ConnectError("refused")
        return answers[request.url.raw_path.decode()].pop(0)

    source._client = httpx.Client(
        transport=httpx.MockTransport(answer), headers={"Authorization": "Bearer the-key"}, follow_redirects=False
    )
    yield source, answers
    source._client.close()


def test_a_service_is_asked_again_while_it_is_busy_and_links_are_taken_not_followed(
    service: tuple[fetching.ServiceSource, dict[str, list[httpx.Response]]], desk: Desk
) -> None:
    source, answers = service
    asset = {"file:checksum": "1220" + "ab" * 32}
    found = {"properties": {"version": "3"}, "assets": {"data x.tif": asset}}
    # The key goes to the service alone, whatever host a redirect names.
    lead = _leads("https://elsewhere.test/under/stac/collections/water-test/items/a%2Fb")
    answers["/item/a%2Fb"] = [httpx.Response(429, headers={"Retry-After": "0"}), lead]
    answers["/stac/collections/water-test/items/a%2Fb"] = [_json(found)]
    item = source.find("a/b")
    assert item == fetching.RemoteItem(item_id="a/b", revision=3, checksums={"data x.tif": "ab" * 32})
    link = httpx.Response(307, headers={"Location": "http://store.test/x?signature=s", "X-Content-SHA256": "cd" * 32})
    answers["/download/a%2Fb/3/data%20x.tif"] = [httpx.Response(503), link]
    assert source.link(item, "data x.tif") == fetching.Link(url="http://store.test/x?signature=s", sha256="cd" * 32)
    answers["/.well-known/terralimb-keys.json"] = [_json(signing.document(desk.public_keys()))]
    assert source.public_keys() == desk.public_keys()


def test_what_a_service_refuses_is_told_once_in_its_words(
    service: tuple[fetching.ServiceSource, dict[str, list[httpx.Response]]],
) -> None:
    source, answers = service
    gone = httpx.Response(410, json={"description": "a was withdrawn: cloud taken for water"})
    answers["/item/a"] = [httpx.Response(404), gone]
    for told in ("no such item for this key", "^a was withdrawn: cloud taken for water$"):
        with pytest.raises(fetching.FetchError, match=told):
            source.find("a")
    answers["/item/a"] = [httpx.Response(401, json={"description": "the key has expired"})]
    with pytest.raises(fetching.FetchError, match="status 401, the key has expired"):
        source.find("a")
    with pytest.raises(fetching.FetchError, match="does not answer: refused"):
        source._get("/down")


@pytest.mark.parametrize(
    "location",
    ["", "http://x.test", "/stac/search?ids=a", "/stac/collections/c/items/b", "/stac/collections/c/d/items/a/"],
)
def test_a_redirect_that_leads_to_no_item_is_not_followed(
    service: tuple[fetching.ServiceSource, dict[str, list[httpx.Response]]], location: str
) -> None:
    source, answers = service
    answers["/item/a"] = [_leads(location)]
    with pytest.raises(fetching.FetchError, match="no address of that item"):
        source.find("a")


def _leads(location: str) -> httpx.Response:
    return httpx.Response(307, headers={"Location": location})


def _json(document: object) -> httpx.Response:
    return httpx.Response(200, json=document)
