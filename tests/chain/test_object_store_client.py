"""Objects are written once, checked on the way, and closed to whoever has no right."""

import dataclasses
import hashlib
import pickle
import secrets
import urllib.error
import urllib.request
from concurrent import futures
from pathlib import Path

import pytest

from infra import object_store
from infra.embedded import object_store_server

pytestmark = pytest.mark.chain

BINARY = "application/octet-stream"


def test_what_is_written_is_read_back_with_its_description(store: object_store.ObjectStore, bucket: str) -> None:
    written = store.put_new(bucket, "a/b.txt", b"hello", media_type="text/plain", metadata={"origin": "test"})
    assert (written.size, written.sha256, written.existed) == (5, hashlib.sha256(b"hello").hexdigest(), False)
    assert store.read(bucket, "a/b.txt") == b"hello"
    described = store.head(bucket, "a/b.txt")
    assert (described.size, described.sha256, described.media_type) == (5, written.sha256, "text/plain")
    assert described.metadata["origin"] == "test"


def test_a_key_is_written_once(store: object_store.ObjectStore, bucket: str) -> None:
    store.put_new(bucket, "k", b"first", media_type=BINARY)
    again = store.put_new(bucket, "k", b"first", media_type=BINARY)
    assert again.existed
    for other in (b"other", b"a longer one", b""):  # the first has the same length
        with pytest.raises(object_store.KeyConflictError, match=f"{bucket}/k"):
            store.put_new(bucket, "k", other, media_type=BINARY)
    assert store.read(bucket, "k") == b"first"


def test_of_writers_in_a_race_exactly_one_wins(store: object_store.ObjectStore, bucket: str) -> None:
    def write(number: int, key: str) -> str:
        try:
            store.put_new(bucket, key, f"writer {number}".encode(), media_type=BINARY)
        except object_store.KeyConflictError:
            return "lost"
        return f"writer {number}"

    with futures.ThreadPoolExecutor(8) as pool:
        for turn in range(3):
            key = f"race/{turn}"
            outcomes = list(pool.map(write, range(8), [key] * 8))
            winners = [outcome for outcome in outcomes if outcome != "lost"]
            assert len(winners) == 1, outcomes
            assert store.read(bucket, key).decode() == winners[0]


def test_of_writers_of_the_same_content_all_succeed_and_one_created_it(
    store: object_store.ObjectStore, bucket: str
) -> None:
    with futures.ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda _: store.put_new(bucket, "same", b"same", media_type=BINARY), range(8)))
    assert sorted(entry.existed for entry in written) == [False] + [True] * 7


def test_damaged_content_is_refused(
    store: object_store.ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = object_store.ContentDigest(5, hashlib.sha256(b"hellO").hexdigest())
    monkeypatch.setattr(object_store, "digest_of", lambda _: wrong)
    with pytest.raises(object_store.ChecksumRefusedError):
        store.put_new(bucket, "k", b"hello", media_type=BINARY)
    with pytest.raises(object_store.ChecksumRefusedError):
        store.put_replace(bucket, "k", b"hello", media_type=BINARY)
    assert not store.exists(bucket, "k")


def test_a_wrong_secret_or_key_is_refused(
    server: object_store_server.RunningServer, store: object_store.ObjectStore, bucket: str
) -> None:
    store.put_new(bucket, "k", b"x", media_type=BINARY)
    for wrong in (
        dataclasses.replace(server.credentials, secret_key=secrets.token_urlsafe(32)),
        dataclasses.replace(server.credentials, access_key="TL0000"),
    ):
        stranger = object_store.ObjectStore(endpoint=server.endpoint_url, credentials=wrong)
        with pytest.raises(object_store.AccessRefusedError):
            stranger.read(bucket, "k")
        with pytest.raises(object_store.AccessRefusedError):
            stranger.put_new(bucket, "planted", b"x", media_type=BINARY)
    assert not store.exists(bucket, "planted")


def test_a_presigned_address_reads_one_object_and_nothing_else(store: object_store.ObjectStore, bucket: str) -> None:
    store.put_new(bucket, "open", b"open", media_type=BINARY)
    store.put_new(bucket, "shut", b"shut", media_type=BINARY)
    address = store.presigned_url(bucket, "open", lifetime=60)
    with urllib.request.urlopen(address) as answer:  # noqa: S310
        assert answer.read() == b"open"
    tampered = (
        address.replace("/open?", "/shut?"),
        address.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
        address[:-1] + ("0" if address[-1] != "0" else "1"),
        address.partition("?")[0],
    )
    for other in tampered:
        assert other != address
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(other)  # noqa: S310
        assert refused.value.code == 403
        refused.value.close()


def test_a_range_is_read(store: object_store.ObjectStore, bucket: str) -> None:
    store.put_new(bucket, "k", bytes(range(100)), media_type=BINARY)
    assert store.read_range(bucket, "k", start=10, length=5) == bytes(range(10, 15))
    assert store.read_range(bucket, "k", start=98, length=50) == bytes([98, 99])
    with store.open(bucket, "k", start=90) as stream:
        assert stream.read(4) + stream.read() == bytes(range(90, 100))
    for start, length in ((-1, 5), (0, 0)):
        with pytest.raises(ValueError, match="range"):
            store.read_range(bucket, "k", start=start, length=length)


def test_content_in_parts_arrives_whole_once_and_only_once(
    store: object_store.ObjectStore, bucket: str, tmp_path: Path
) -> None:
    content = secrets.token_bytes(2 * object_store.PART_SIZE + 12_345)
    file = tmp_path / "large.bin"
    file.write_bytes(content)
    written = store.put_new(bucket, "large", file, media_type=BINARY)
    assert (written.size, written.existed) == (len(content), False)
    assert store.digest(bucket, "large") == object_store.digest_of(content)
    assert store.put_new(bucket, "large", content, media_type=BINARY).existed  # in memory or on disk
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(object_store.KeyConflictError):
        store.put_new(bucket, "large", file, media_type=BINARY)


def test_of_rivals_sending_parts_the_later_to_finish_loses(
    store: object_store.ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (bytes([number]) * (object_store.PART_SIZE + 1) for number in (1, 2))
    # Each looked before the other had finished, and found the key free.
    monkeypatch.setattr(object_store.ObjectStore, "exists", lambda *_: False)
    store.put_new(bucket, "large", first, media_type=BINARY)
    with pytest.raises(object_store.KeyConflictError):
        store.put_new(bucket, "large", second, media_type=BINARY)
    assert store.digest(bucket, "large") == object_store.digest_of(first)


def test_a_file_that_changes_while_it_is_sent_is_refused(
    store: object_store.ObjectStore, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1000, object_store.PART_SIZE + 1000):
        file = tmp_path / f"{size}.bin"
        file.write_bytes(bytes(size))
        stale = object_store.digest_of(file)
        file.write_bytes(bytes(size - 1) + b"\1")
        monkeypatch.setattr(object_store, "digest_of", lambda _, stale=stale: stale)
        with pytest.raises(object_store.ChecksumRefusedError):
            store.put_new(bucket, f"changing/{size}", file, media_type=BINARY)
        assert not store.exists(bucket, f"changing/{size}")


def test_a_listing_goes_on_after_its_first_page(store: object_store.ObjectStore, bucket: str) -> None:
    keys = [f"many/{number:05d}" for number in range(1050)]
    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put_replace(bucket, key, b"", media_type=BINARY), keys))
    store.put_new(bucket, "other/1", b"x", media_type=BINARY)
    assert [entry.key for entry in store.list(bucket, "many/")] == keys
    assert [(entry.key, entry.size) for entry in store.list(bucket, "other/")] == [("other/1", 1)]
    assert list(store.list(bucket, "nothing/")) == []


def test_a_copy_is_new_and_never_overwrites(store: object_store.ObjectStore, bucket: str) -> None:
    store.put_new("tl-staging", f"{bucket}/a", b"content", media_type="text/plain")
    copied = store.copy("tl-staging", f"{bucket}/a", to_bucket=bucket, to_key="a")
    assert (copied.existed, copied.media_type, store.read(bucket, "a")) == (False, "text/plain", b"content")
    assert store.copy("tl-staging", f"{bucket}/a", to_bucket=bucket, to_key="a").existed
    store.put_new(bucket, "b", b"other", media_type=BINARY)
    with pytest.raises(object_store.KeyConflictError):
        store.copy("tl-staging", f"{bucket}/a", to_bucket=bucket, to_key="b")
    with pytest.raises(object_store.ObjectMissingError):
        store.copy("tl-staging", "nothing", to_bucket=bucket, to_key="c")
    assert store.read(bucket, "b") == b"other"


def test_only_staging_may_be_deleted_from(store: object_store.ObjectStore, bucket: str) -> None:
    store.put_new("tl-staging", f"{bucket}/s", b"x", media_type=BINARY)
    store.delete("tl-staging", f"{bucket}/s")
    store.delete("tl-staging", f"{bucket}/s")
    assert not store.exists("tl-staging", f"{bucket}/s")
    store.put_new(bucket, "k", b"x", media_type=BINARY)
    with pytest.raises(object_store.DeletionRefusedError):
        store.delete(bucket, "k")
    assert store.exists(bucket, "k")


def test_what_is_not_there_is_named(store: object_store.ObjectStore, bucket: str) -> None:
    for missing in (store.read, store.head, store.digest):
        with pytest.raises(object_store.ObjectMissingError, match=f"{bucket}/nothing"):
            missing(bucket, "nothing")
    with pytest.raises(object_store.ObjectMissingError, match="tl-nowhere"):
        list(store.list("tl-nowhere"))


def test_a_store_that_is_down_is_unavailable(server: object_store_server.RunningServer) -> None:
    down = object_store.ObjectStore(
        endpoint="http://127.0.0.1:1", credentials=server.credentials, attempts=2, timeout=1.0
    )
    with pytest.raises(object_store.StoreUnavailableError):
        down.buckets()


def test_a_store_travels_between_processes(store: object_store.ObjectStore, bucket: str) -> None:
    store.put_new(bucket, "k", b"x", media_type=BINARY)
    travelled = pickle.loads(pickle.dumps(store))  # noqa: S301
    assert travelled.read(bucket, "k") == b"x"
    travelled.close()
