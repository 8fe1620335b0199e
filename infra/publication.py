"""Publication: a product package becomes visible all at once, or not at all.

Order: hash the assets, build and validate the item, write assets under keys that carry the content's hash, read them
back, write item and manifest, then one database transaction, then announcements. A crash before the transaction
leaves objects nobody refers to; a repeated run finds them identical and goes on. A crash after it leaves
announcements outstanding, which the next delivery makes. Announcements may be made twice, never not at all.

The content's hash is taken over the sorted names and hashes of the assets and of the item's document, so that a
change of either is a new revision. Revision and time of publication are in the database only: the same package gives
the same objects wherever and whenever it is published.
"""

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from infra import catalog_store, object_store
from products import stac, streams

ITEM_NAME = "item.json"
MANIFEST_NAME = "MANIFEST.json"
SIGNATURE_SUFFIX = ".minisig"
SIGNATURE_NAME = f"{MANIFEST_NAME}{SIGNATURE_SUFFIX}"

_GEOJSON = "application/geo+json"
_JSON = "application/json"
_TEXT = "text/plain"
_RESERVED = frozenset({ITEM_NAME, MANIFEST_NAME, SIGNATURE_NAME})

Clock = Callable[[], dt.datetime]
#: Gives the detached signature of a body with a comment that is signed too.
Signer = Callable[[bytes, str], bytes]
#: Called with the name of each step when it is done; what it raises interrupts the publication there.
StepHook = Callable[[str], None]


class PublicationError(Exception):
    """A package cannot be published as it is."""


class VerificationError(PublicationError):
    """What the store holds is not what was written."""


@dataclasses.dataclass(frozen=True)
class AssetContent:
    """One file of a package.

    Attributes
    ----------
    body : bytes or Path
        Content, or the file that holds it.
    media_type : str
        Content type.
    roles : tuple of str
        Roles such as ``data``, ``thumbnail``, ``metadata``.
    title, title_zh : str or None
        English and Chinese title.
    projection : stac.Projection or None
        Grid, where it is a raster.
    bands : tuple of stac.Band
        Bands, where it is a raster.
    """

    body: bytes | Path
    media_type: str
    roles: tuple[str, ...]
    title: str | None = None
    title_zh: str | None = None
    projection: stac.Projection | None = None
    bands: tuple[stac.Band, ...] = ()


@dataclasses.dataclass(frozen=True)
class Publication:
    """Outcome of publishing one package.

    Attributes
    ----------
    item_id : str
        Identity.
    revision : int
        The current revision [1].
    created : bool
        False where the current revision had this content already.
    content_sha256 : str
        Hash over names and hashes of assets and item, in hex.
    keys : Mapping[str, str]
        Key of every asset, of ``item.json`` and of ``MANIFEST.json``, by name.
    """

    item_id: str
    revision: int
    created: bool
    content_sha256: str
    keys: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class VerificationFailure:
    """Something published that is not as it should be.

    Attributes
    ----------
    item_id : str
        Identity.
    revision : int
        Revision [1].
    name : str
        Asset, ``item.json``, ``MANIFEST.json`` or ``latest``.
    reason : str
        What is wrong.
    """

    item_id: str
    revision: int
    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class VerificationReport:
    """Outcome of reading everything that is published.

    Attributes
    ----------
    items : int
        Published items looked at [1].
    assets : int
        Assets read in full [1].
    size : int
        Sum of what was read of them [octet].
    undelivered : int
        Announcements outstanding [1].
    failures : tuple of VerificationFailure
        Everything wrong.
    """

    items: int
    assets: int
    size: int
    undelivered: int
    failures: tuple[VerificationFailure, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong.

        Returns
        -------
        bool
            True where nothing is wrong.
        """
        return not self.failures


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _pass(_step: str) -> None:
    """Let every step pass."""


def content_hash(hashes: Mapping[str, str]) -> str:
    """Hash over the sorted names and hashes of everything a package holds.

    Parameters
    ----------
    hashes : Mapping[str, str]
        SHA-256 in hex by name.

    Returns
    -------
    str
        SHA-256 in hex of lines ``<hash>  <name>``, as sha256sum would list them.
    """
    lines = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Package:
    """A package with everything computed and nothing written yet."""

    item_id: str
    collection: str
    sector: str
    fields: stac.ItemFields
    assets: Mapping[str, AssetContent]
    digests: Mapping[str, object_store.ContentDigest]
    document: Mapping[str, Any]
    item: bytes
    manifest: bytes
    content_sha256: str
    bucket: str
    folder: str

    def key(self, name: str) -> str:
        return f"{self.folder}/{name}"


def publish_package(
    *,
    item_id: str,
    collection: str,
    sector: str,
    fields: stac.ItemFields,
    assets: Mapping[str, AssetContent],
    store: object_store.ObjectStore,
    catalog: catalog_store.CatalogStore,
    bucket: str,
    key_prefix: str,
    catalogue_bucket: str,
    stream: streams.Stream = streams.OPERATIONAL,
    signer: Signer | None = None,
    deliver: bool = True,
    clock: Clock = _now,
    on_step: StepHook = _pass,
) -> Publication:
    """Publish a product package; doing it again with the same content changes nothing.

    Parameters
    ----------
    item_id : str
        Identity of ``a-z 0-9 _ -``, without a version.
    collection, sector : str
        Where it belongs and whom it serves.
    fields : stac.ItemFields
        What its item says.
    assets : Mapping[str, AssetContent]
        Its files by name; the name is the last part of the key.
    store : object_store.ObjectStore
        Where the objects go.
    catalog : catalog_store.CatalogStore
        Where it becomes visible.
    bucket, key_prefix : str
        Keys are ``{key_prefix}/{item_id}/{first 8 of the content's hash}/{name}``.
    catalogue_bucket : str
        Bucket of collections, pointers and feed.
    stream : str
        What agencies work with, or test data of a coming format: these get an identity, a collection and a folder of
        their own and are shown to whoever asks for them only. One of `products.streams.STREAMS`.
    signer : callable or None
        Signs the manifest; None leaves it unsigned.
    deliver : bool
        Whether to deliver outstanding announcements afterwards.
    clock : callable
        Tells the time of publication, which enters the database and the announcements only.
    on_step : callable
        Told each step when it is done; for tests of interruption.

    Returns
    -------
    Publication
        The current revision and its keys.

    Raises
    ------
    PublicationError
        There are no assets, or a name cannot be the last part of a key.
    products.stac.StacError
        The item breaks a rule; nothing was written.
    VerificationError
        The store gives back something else than was written; nothing became visible.
    infra.catalog_store.ContentWithdrawnError
        Exactly this content was withdrawn.
    infra.object_store.ObjectStoreError
        The store failed; repeating is safe.
    """
    item_id, collection = (streams.identity(name, stream) for name in (item_id, collection))
    package = _assembled(
        item_id=item_id,
        collection=collection,
        sector=sector,
        fields=streams.item_fields(fields, stream),
        assets=assets,
        bucket=bucket,
        key_prefix=key_prefix if stream == streams.OPERATIONAL else f"{streams.TEST_FOLDER}/{key_prefix.strip('/')}",
        collection_href=f"s3://{catalogue_bucket}/{collection_key(collection)}",
    )
    on_step("assembled")
    _write_objects(package, store, on_step)
    if signer is not None:
        _write_signature(package, store, signer)
        on_step(SIGNATURE_NAME)
    with catalog.writing() as connection:
        outcome = catalog.publish(_entry(package), published_at=clock(), connection=connection)
        if outcome.created:
            _require_all_there(package, store)
        on_step("inside transaction")
    on_step("transaction")
    if deliver:
        deliver_outbox(store=store, catalog=catalog, catalogue_bucket=catalogue_bucket, clock=clock, on_step=on_step)
    keys = {name: package.key(name) for name in (*sorted(package.assets), ITEM_NAME, MANIFEST_NAME)}
    return Publication(item_id, outcome.revision, outcome.created, package.content_sha256, keys)


def deliver_outbox(
    *,
    store: object_store.ObjectStore,
    catalog: catalog_store.CatalogStore,
    catalogue_bucket: str,
    clock: Clock = _now,
    on_step: StepHook = _pass,
) -> int:
    """Deliver every outstanding announcement: pointer, feed object, then the mark. At least once.

    Parameters
    ----------
    store : object_store.ObjectStore
        Where pointers and feed go.
    catalog : catalog_store.CatalogStore
        Whose outbox.
    catalogue_bucket : str
        Bucket of pointers and feed.
    clock : callable
        Tells the time of delivery, which enters the database only.
    on_step : callable
        Told each step when it is done; for tests of interruption.

    Returns
    -------
    int
        Announcements delivered now [1].
    """
    delivered = 0
    while outstanding := catalog.undelivered():
        for announcement in outstanding:
            refresh_pointer(announcement.item_id, store=store, catalog=catalog, catalogue_bucket=catalogue_bucket)
            told = catalog.item(announcement.item_id)
            if told is not None:
                refresh_latest(told.collection, store=store, catalog=catalog, catalogue_bucket=catalogue_bucket)
            on_step("pointer")
            write_feed(announcement, store=store, catalogue_bucket=catalogue_bucket)
            on_step("feed")
            delivered += catalog.mark_delivered(announcement.sequence, delivered_at=clock())
            on_step("marked")
    return delivered


def publish_collection(
    fields: stac.CollectionFields, *, store: object_store.ObjectStore, catalogue_bucket: str
) -> dict[str, Any]:
    """Write the document of a collection; its extent may grow, so it replaces the earlier one.

    Parameters
    ----------
    fields : stac.CollectionFields
        What the collection says.
    store : object_store.ObjectStore
        Where it goes.
    catalogue_bucket : str
        Bucket of collections.

    Returns
    -------
    dict
        The document.

    Raises
    ------
    products.stac.StacError
        It breaks a rule; nothing was written.
    """
    document = stac.build_collection(fields)
    stac.validate_collection(document)
    key = collection_key(fields.collection_id)
    store.put_replace(catalogue_bucket, key, stac.encoded(document), media_type=_JSON)
    return document


def verify_published(
    store: object_store.ObjectStore, catalog: catalog_store.CatalogStore, *, catalogue_bucket: str | None = None
) -> VerificationReport:
    """Read everything that is published and compare it with what the catalogue says.

    Parameters
    ----------
    store : object_store.ObjectStore
        Where the objects are.
    catalog : catalog_store.CatalogStore
        What should be there.
    catalogue_bucket : str or None
        Bucket of pointers, to check them too; None leaves them out.

    Returns
    -------
    VerificationReport
        What was read, and everything wrong.
    """
    items = assets = size = 0
    failures: list[VerificationFailure] = []
    for item in catalog.published():
        items += 1
        assets += len(item.assets)
        size += sum(asset.size for asset in item.assets)
        checks = (_asset_failures(item, store), _item_failures(item, store), _manifest_failures(item, store))
        found = [failure for check in checks for failure in check]
        if catalogue_bucket is not None:
            found += _pointer_failures(item, store, catalogue_bucket)
        failures += [VerificationFailure(item.item_id, item.revision, name, reason) for name, reason in found]
    return VerificationReport(items, assets, size, catalog.counts().undelivered, tuple(failures))


# Keys of the catalogue bucket


def collection_key(collection: str) -> str:
    """Key of a collection's document.

    Parameters
    ----------
    collection : str
        Identity of the collection.

    Returns
    -------
    str
        Key in the catalogue bucket.
    """
    return f"collections/{collection}.json"


def latest_key(collection: str, item_id: str) -> str:
    """Key of the pointer to an item's current revision.

    Parameters
    ----------
    collection, item_id : str
        Identities.

    Returns
    -------
    str
        Key in the catalogue bucket.
    """
    return f"latest/{collection}/{item_id}.json"


def collection_latest_key(collection: str) -> str:
    """Key of the pointer to the newest current item of a collection.

    Parameters
    ----------
    collection : str
        Identity of the collection.

    Returns
    -------
    str
        Key in the catalogue bucket.
    """
    return f"latest/{collection}.json"


def feed_key(sequence: int, stream: streams.Stream = streams.OPERATIONAL) -> str:
    """Key of one announcement in the feed of its stream; key order is feed order.

    Parameters
    ----------
    sequence : int
        Position in the feed [1].
    stream : str
        One of `products.streams.STREAMS`.

    Returns
    -------
    str
        Key in the catalogue bucket.
    """
    folder = "feed" if stream == streams.OPERATIONAL else "feed-test"
    return f"{folder}/{sequence:012d}.json"


def announcement_key(announcement: catalog_store.Announcement) -> str:
    """Key of an announcement in the feed of its stream.

    Parameters
    ----------
    announcement : catalog_store.Announcement
        The announcement.

    Returns
    -------
    str
        Key in the catalogue bucket.
    """
    return feed_key(announcement.sequence, streams.of_collection(announcement.payload["collection"]))


# Steps of a publication


def _assembled(
    *,
    item_id: str,
    collection: str,
    sector: str,
    fields: stac.ItemFields,
    assets: Mapping[str, AssetContent],
    bucket: str,
    key_prefix: str,
    collection_href: str,
) -> _Package:
    _check_names(item_id, assets)
    digests = {name: object_store.digest_of(assets[name].body) for name in sorted(assets)}
    document = stac.build_item(
        fields,
        item_id=item_id,
        collection=collection,
        sector=sector,
        assets={name: _asset_fields(name, assets[name], digests[name]) for name in digests},
        collection_href=collection_href,
    )
    stac.validate_item(document)
    item = stac.encoded(document)
    contents = {**digests, ITEM_NAME: object_store.digest_of(item)}
    content_sha256 = content_hash({name: digest.sha256 for name, digest in contents.items()})
    return _Package(
        item_id=item_id,
        collection=collection,
        sector=sector,
        fields=fields,
        assets=assets,
        digests=digests,
        document=document,
        item=item,
        manifest=_manifest(item_id, content_sha256, contents),
        content_sha256=content_sha256,
        bucket=bucket,
        folder=f"{key_prefix.strip('/')}/{item_id}/{content_sha256[:8]}",
    )


def _check_names(item_id: str, assets: Mapping[str, AssetContent]) -> None:
    if not assets:
        raise PublicationError(f"{item_id}: a package without assets")
    for name in assets:
        if not name or name in _RESERVED or name in {".", ".."} or set(name) & set("/\\\r\n\t"):
            raise PublicationError(f"{item_id}: {name!r} cannot be the name of an asset")


def _asset_fields(name: str, content: AssetContent, digest: object_store.ContentDigest) -> stac.AssetFields:
    return stac.AssetFields(
        href=f"./{name}",
        media_type=content.media_type,
        roles=content.roles,
        size=digest.size,
        sha256=digest.sha256,
        title=content.title,
        title_zh=content.title_zh,
        projection=content.projection,
        bands=content.bands,
    )


def _manifest(item_id: str, content_sha256: str, contents: Mapping[str, object_store.ContentDigest]) -> bytes:
    files = {name: {"sha256": digest.sha256, "size": digest.size} for name, digest in contents.items()}
    return stac.encoded({"id": item_id, "content_sha256": content_sha256, "files": files})


def _write_objects(package: _Package, store: object_store.ObjectStore, on_step: StepHook) -> None:
    for name, digest in package.digests.items():
        asset = package.assets[name]
        store.put_new(package.bucket, package.key(name), asset.body, media_type=asset.media_type)
        on_step(f"asset {name}")
        _read_back(store, package.bucket, package.key(name), digest)
    on_step("verified")
    for name, body, media_type in ((ITEM_NAME, package.item, _GEOJSON), (MANIFEST_NAME, package.manifest, _JSON)):
        store.put_new(package.bucket, package.key(name), body, media_type=media_type)
        _read_back(store, package.bucket, package.key(name), object_store.digest_of(body))
        on_step(name)


def _write_signature(package: _Package, store: object_store.ObjectStore, signer: Signer) -> None:
    comment = f"{package.item_id} {package.content_sha256}"
    _put_signature(package.bucket, package.key(MANIFEST_NAME), package.manifest, comment, store, signer)


def _put_signature(
    bucket: str, manifest_key: str, manifest: bytes, comment: str, store: object_store.ObjectStore, signer: Signer
) -> None:
    """Sign a manifest; a signature that is there already stands, though the key may have changed since."""
    key = f"{manifest_key}{SIGNATURE_SUFFIX}"
    if store.exists(bucket, key):
        return
    signature = signer(manifest, comment)
    try:
        store.put_new(bucket, key, signature, media_type=_TEXT)
    except object_store.KeyConflictError:
        return
    _read_back(store, bucket, key, object_store.digest_of(signature))


def _read_back(store: object_store.ObjectStore, bucket: str, key: str, expected: object_store.ContentDigest) -> None:
    found = store.digest(bucket, key)
    if found != expected:
        raise VerificationError(
            f"{bucket}/{key}: {found.size} octets with SHA-256 {found.sha256} came back, "
            f"{expected.size} with {expected.sha256} were written"
        )


def _require_all_there(package: _Package, store: object_store.ObjectStore) -> None:
    """Look again with the writer's turn in hand: what was there already may have been removed as expired since."""
    for name in (*package.digests, ITEM_NAME, MANIFEST_NAME):
        if not store.exists(package.bucket, package.key(name)):
            raise VerificationError(f"{package.bucket}/{package.key(name)} was removed meanwhile: publish again")


def _entry(package: _Package) -> catalog_store.CatalogEntry:
    fields = package.fields
    return catalog_store.CatalogEntry(
        item_id=package.item_id,
        collection=package.collection,
        sector=package.sector,
        product=fields.product_code,
        start=fields.start,
        end=fields.end or fields.start,
        bbox=fields.bbox,
        content_sha256=package.content_sha256,
        manifest_sha256=hashlib.sha256(package.manifest).hexdigest(),
        bucket=package.bucket,
        item_key=package.key(ITEM_NAME),
        manifest_key=package.key(MANIFEST_NAME),
        document=package.document,
        assets=tuple(
            catalog_store.AssetRecord(
                name=name, bucket=package.bucket, key=package.key(name), sha256=digest.sha256, size=digest.size
            )
            for name, digest in package.digests.items()
        ),
    )


# Steps of a delivery


def refresh_pointer(
    item_id: str, *, store: object_store.ObjectStore, catalog: catalog_store.CatalogStore, catalogue_bucket: str
) -> None:
    """Let an item's pointer follow the catalogue, not an announcement: a late delivery must not turn it back.

    Parameters
    ----------
    item_id : str
        Identity of the item.
    store : object_store.ObjectStore
        Where the pointer goes.
    catalog : catalog_store.CatalogStore
        What it follows.
    catalogue_bucket : str
        Bucket of pointers.
    """
    item = catalog.item(item_id)
    while item is not None:
        body = pointer(item)
        store.put_replace(catalogue_bucket, latest_key(item.collection, item.item_id), body, media_type=_JSON)
        # A revision published while we wrote may have been overtaken by our older pointer: look again.
        again = catalog.item(item_id)
        if again is None or pointer(again) == body:
            return
        item = again


def refresh_latest(
    collection: str, *, store: object_store.ObjectStore, catalog: catalog_store.CatalogStore, catalogue_bucket: str
) -> None:
    """Let a collection's pointer follow its newest current item, whatever was announced last.

    Parameters
    ----------
    collection : str
        Identity of the collection.
    store : object_store.ObjectStore
        Where the pointer goes.
    catalog : catalog_store.CatalogStore
        What it follows.
    catalogue_bucket : str
        Bucket of pointers.
    """
    body = newest_pointer(collection, catalog)
    while True:
        store.put_replace(catalogue_bucket, collection_latest_key(collection), body, media_type=_JSON)
        # As with an item's pointer: what changed while we wrote may have been overtaken by what we wrote.
        again = newest_pointer(collection, catalog)
        if again == body:
            return
        body = again


def newest_pointer(collection: str, catalog: catalog_store.CatalogStore) -> bytes:
    """Content of a collection's pointer; where no item is current, it says so rather than naming one taken back.

    Parameters
    ----------
    collection : str
        Identity of the collection.
    catalog : catalog_store.CatalogStore
        The catalogue.

    Returns
    -------
    bytes
        JSON.
    """
    found = catalog.search(collection=collection, limit=1)
    return pointer(found[0]) if found else stac.encoded({"collection": collection, "id": None, "status": "empty"})


def pointer(item: catalog_store.CatalogItem) -> bytes:
    """Content of an item's pointer.

    Parameters
    ----------
    item : catalog_store.CatalogItem
        Its latest revision.

    Returns
    -------
    bytes
        JSON.
    """
    content = {
        "id": item.item_id,
        "revision": item.revision,
        "collection": item.collection,
        "status": item.state,
        "published_at": item.published_at.isoformat(),
        "sha256": {"content": item.content_sha256, "manifest": item.manifest_sha256},
        "item": f"s3://{item.bucket}/{item.item_key}",
        "manifest": f"s3://{item.bucket}/{item.manifest_key}",
    }
    reason = {} if item.state_reason is None else {"reason": item.state_reason}
    return stac.encoded(content | reason)


def sign_manifest(item: catalog_store.CatalogItem, *, store: object_store.ObjectStore, signer: Signer) -> None:
    """Sign the manifest of a published revision anew where its signature was lost.

    Parameters
    ----------
    item : catalog_store.CatalogItem
        The revision.
    store : object_store.ObjectStore
        Where the manifest lies and the signature goes.
    signer : Signer
        Signs.

    Raises
    ------
    VerificationError
        The manifest is not the one that was published.
    """
    manifest = store.read(item.bucket, item.manifest_key)
    if hashlib.sha256(manifest).hexdigest() != item.manifest_sha256:
        raise VerificationError(f"{item.bucket}/{item.manifest_key} is not the manifest that was published")
    comment = f"{item.item_id} {item.content_sha256}"
    _put_signature(item.bucket, item.manifest_key, manifest, comment, store, signer)


def write_feed(
    announcement: catalog_store.Announcement, *, store: object_store.ObjectStore, catalogue_bucket: str
) -> None:
    """Write an announcement into the feed; it is never changed there.

    Parameters
    ----------
    announcement : catalog_store.Announcement
        The announcement.
    store : object_store.ObjectStore
        Where it goes.
    catalogue_bucket : str
        Bucket of the feed.
    """
    body = stac.encoded({"sequence": announcement.sequence, **announcement.payload})
    store.put_new(catalogue_bucket, announcement_key(announcement), body, media_type=_JSON)


# Steps of a verification


def _asset_failures(item: catalog_store.CatalogItem, store: object_store.ObjectStore) -> Iterator[tuple[str, str]]:
    if set(item.document["assets"]) != {asset.name for asset in item.assets}:
        yield ITEM_NAME, "the item and the catalogue name different assets"
    for asset in item.assets:
        yield from _content_failures(store, asset.bucket, asset.key, asset.name, asset.sha256, asset.size)
        declared = item.document["assets"].get(asset.name, {})
        if (declared.get("file:checksum"), declared.get("file:size")) != (stac.multihash(asset.sha256), asset.size):
            yield asset.name, "the item declares another checksum or size than the catalogue"


def _content_failures(
    store: object_store.ObjectStore, bucket: str, key: str, name: str, sha256: str, size: int
) -> Iterator[tuple[str, str]]:
    try:
        found = store.digest(bucket, key)
    except object_store.ObjectMissingError:
        yield name, f"{bucket}/{key} is missing"
        return
    if found.size != size:
        yield name, f"{bucket}/{key} holds {found.size} octets, not {size}"
    elif found.sha256 != sha256:
        yield name, f"{bucket}/{key} has SHA-256 {found.sha256}, not {sha256}"


def _item_failures(item: catalog_store.CatalogItem, store: object_store.ObjectStore) -> Iterator[tuple[str, str]]:
    expected = object_store.digest_of(stac.encoded(item.document))
    yield from _content_failures(store, item.bucket, item.item_key, ITEM_NAME, expected.sha256, expected.size)
    for document in (item.document, item.item):
        try:
            stac.validate_item(document)
        except stac.StacError as error:
            yield ITEM_NAME, str(error)


def _manifest_failures(item: catalog_store.CatalogItem, store: object_store.ObjectStore) -> Iterator[tuple[str, str]]:
    try:
        body = store.read(item.bucket, item.manifest_key)
    except object_store.ObjectMissingError:
        yield MANIFEST_NAME, f"{item.bucket}/{item.manifest_key} is missing"
        return
    if hashlib.sha256(body).hexdigest() != item.manifest_sha256:
        yield MANIFEST_NAME, f"{item.bucket}/{item.manifest_key} is not the manifest of this revision"
        return
    listed = {name: entry["sha256"] for name, entry in json.loads(body)["files"].items()}
    if content_hash(listed) != item.content_sha256:
        yield MANIFEST_NAME, "the manifest's hashes do not give the content's hash"


def _pointer_failures(
    item: catalog_store.CatalogItem, store: object_store.ObjectStore, bucket: str
) -> list[tuple[str, str]]:
    key = latest_key(item.collection, item.item_id)
    expected = object_store.digest_of(pointer(item))
    return list(_content_failures(store, bucket, key, "latest", expected.sha256, expected.size))
