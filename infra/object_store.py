"""Object store: immutable, checksummed objects over the S3 interface.

A key is written once (conditional PUT with SHA-256) and never overwritten; only pointers, which exist to move,
are replaced. The client library is imported at the first connection, so that a command that stores nothing does
not pay for it.
"""

import base64
import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, BinaryIO, cast

from infra import deletion_plan, settings

#: Content above this size travels in parts of this size [octet].
PART_SIZE = 16 * 1024 * 1024

_READ_SIZE = 1024 * 1024
_WRITE_ATTEMPTS = 3


class ObjectStoreError(Exception):
    """The object store could not do what was asked."""


class ObjectMissingError(ObjectStoreError):
    """There is no such object or bucket."""


class KeyConflictError(ObjectStoreError):
    """The key exists with other content; keys are never overwritten."""


class AccessRefusedError(ObjectStoreError):
    """The store refused the credentials, the signature or the permission."""


class ChecksumRefusedError(ObjectStoreError):
    """The content that arrived is not the content that was announced."""


class DeletionRefusedError(ObjectStoreError):
    """Objects are deleted from staging buckets, or where a signed plan lists them; nothing else is."""


class StoreUnavailableError(ObjectStoreError):
    """The store did not answer, or answered that it cannot serve now; trying again later may help."""


@dataclasses.dataclass(frozen=True)
class Credentials:
    """Access key and secret of one identity; the secret stays out of every representation.

    Attributes
    ----------
    access_key : str
        Public name of the key.
    secret_key : str
        The secret that signs requests.
    """

    access_key: str
    secret_key: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class StoredObject:
    """What the store knows about one object.

    Attributes
    ----------
    bucket, key : str
        Where it is.
    size : int
        Length [octet].
    sha256 : str or None
        SHA-256 in hex; None where only the parts carry checksums or the answer was a listing.
    media_type : str or None
        Content type; None in listings.
    metadata : Mapping[str, str]
        User metadata; a claim of the writer, never evidence.
    existed : bool
        True where a write found identical content already there.
    etag : str or None
        The store's own mark of the content, which changes when the content does; in listings and descriptions.
    modified : datetime.datetime or None
        When it was written, by the store's clock; in listings and descriptions.
    """

    bucket: str
    key: str
    size: int
    sha256: str | None = None
    media_type: str | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    existed: bool = False
    etag: str | None = None
    modified: dt.datetime | None = None


@dataclasses.dataclass(frozen=True)
class UnfinishedUpload:
    """An upload in parts that was neither completed nor given up; its parts take room and are in no listing.

    Attributes
    ----------
    bucket, key : str
        What it would have become.
    upload_id : str
        The store's name for it.
    begun : datetime.datetime
        When it began, by the store's clock.
    """

    bucket: str
    key: str
    upload_id: str
    begun: dt.datetime


@dataclasses.dataclass(frozen=True)
class ContentDigest:
    """Size and hash of content that was read in full.

    Attributes
    ----------
    size : int
        Length [octet].
    sha256 : str
        SHA-256 in hex.
    """

    size: int
    sha256: str


_ERRORS: Mapping[str, type[ObjectStoreError]] = {
    "404": ObjectMissingError,
    "NoSuchKey": ObjectMissingError,
    "NoSuchBucket": ObjectMissingError,
    "412": KeyConflictError,
    "PreconditionFailed": KeyConflictError,
    "409": KeyConflictError,
    "ConditionalRequestConflict": KeyConflictError,
    # A repeated completion whose first answer was lost: the key tells whether the content arrived.
    "NoSuchUpload": KeyConflictError,
    "403": AccessRefusedError,
    "AccessDenied": AccessRefusedError,
    "SignatureDoesNotMatch": AccessRefusedError,
    "InvalidAccessKeyId": AccessRefusedError,
    "RequestTimeTooSkewed": AccessRefusedError,
    "BadDigest": ChecksumRefusedError,
    "InvalidDigest": ChecksumRefusedError,
    "XAmzContentChecksumMismatch": ChecksumRefusedError,
    "XAmzContentSHA256Mismatch": ChecksumRefusedError,
}

_UNAVAILABLE_STATUS = 500


def _error_from_response(response: Mapping[str, Any], place: str) -> ObjectStoreError:
    error = response.get("Error", {})
    code, status = str(error.get("Code", "")), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    unavailable = status >= _UNAVAILABLE_STATUS or code in {"SlowDown", "RequestTimeout", "ServiceUnavailable"}
    kind = StoreUnavailableError if unavailable else _ERRORS.get(code, ObjectStoreError)
    return kind(f"{place}: {code or status} {error.get('Message', '')}".rstrip())


@contextlib.contextmanager
def _translated(place: str) -> Iterator[None]:
    """Turn errors of the client library into ours, naming the place."""
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        raise _error_from_response(error.response, place) from error
    except exceptions.FlexibleChecksumError as error:
        raise ChecksumRefusedError(f"{place}: {error}") from error
    except (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError) as error:
        raise StoreUnavailableError(f"{place}: {error}") from error
    except exceptions.BotoCoreError as error:
        raise ObjectStoreError(f"{place}: {error}") from error


def _digest(source: BinaryIO) -> ContentDigest:
    sha, size = hashlib.sha256(), 0
    while block := source.read(_READ_SIZE):
        sha.update(block)
        size += len(block)
    return ContentDigest(size, sha.hexdigest())


def digest_of(content: bytes | Path) -> ContentDigest:
    """Size and SHA-256 of content in memory or on disk.

    Parameters
    ----------
    content : bytes or Path
        The content itself, or the file that holds it.

    Returns
    -------
    ContentDigest
        Length [octet] and hash in hex.
    """
    if isinstance(content, bytes):
        return ContentDigest(len(content), hashlib.sha256(content).hexdigest())
    with content.open("rb") as source:
        return _digest(source)


def _base64_from_hex(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _hex_from_checksum(checksum: str | None) -> str | None:
    """Hex of a full-object checksum; a composite one ("...-<parts>") says nothing about the content as a whole."""
    if not checksum or "-" in checksum:
        return None
    return base64.b64decode(checksum).hex()


def connect_client(
    *,
    endpoint: str | None,
    credentials: Credentials | None,
    region: str = "us-east-1",
    attempts: int = 5,
    timeout: float = 30.0,
) -> Any:
    """Open an S3 client with signature version 4, path addressing and retries with back-off.

    Parameters
    ----------
    endpoint : str or None
        Address of the store; None for AWS itself.
    credentials : Credentials or None
        Identity that signs; None for what the environment of the client library offers.
    region : str
        Region that enters the signature.
    attempts : int
        Attempts per request, the first included [1].
    timeout : float
        Limit for connecting and for each read [s].

    Returns
    -------
    botocore.client.S3
        The client; safe to share between threads.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": attempts, "mode": "standard"},
        connect_timeout=timeout,
        read_timeout=timeout,
        max_pool_connections=32,
    )
    keys = {}
    if credentials is not None:
        keys = {"aws_access_key_id": credentials.access_key, "aws_secret_access_key": credentials.secret_key}
    session = boto3.session.Session(region_name=region, **keys)
    return session.client("s3", endpoint_url=endpoint, config=config)


def read_credentials(path: Path) -> Credentials:
    """Read an identity from a JSON file with ``access_key`` and ``secret_key``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Credentials
        The identity.

    Raises
    ------
    ObjectStoreError
        The file is missing or is not of that form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(content["access_key"], content["secret_key"])
    except OSError as error:
        raise ObjectStoreError(f"{path}: the credentials cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        raise ObjectStoreError(f"{path}: not a JSON object with access_key and secret_key") from None


def from_settings(chosen: settings.Settings) -> "ObjectStore":
    """Object store of an installation; nothing is connected before the first request.

    Parameters
    ----------
    chosen : infra.settings.Settings
        Endpoint, file of credentials, region and names of buckets.

    Returns
    -------
    ObjectStore
        The store.
    """
    file = chosen.s3_credentials_file
    return ObjectStore(
        endpoint=chosen.s3_endpoint_url,
        credentials=None if file is None else read_credentials(file),
        region=chosen.s3_region,
        # What agencies find in theirs are copies: they go when the product is withdrawn or its time is over.
        staging_buckets={chosen.bucket("staging"), chosen.bucket("agencies")},
    )


class ObjectStore:
    """Objects by bucket and key; written once, verified by content.

    Parameters
    ----------
    endpoint : str or None
        Address of the store; None for AWS itself.
    credentials : Credentials or None
        Identity that signs; None for what the environment of the client library offers.
    region : str
        Region that enters the signature.
    staging_buckets : Set[str]
        The only buckets objects may be deleted from.
    attempts : int
        Attempts per request, the first included [1].
    timeout : float
        Limit for connecting and for each read [s].
    """

    def __init__(
        self,
        *,
        endpoint: str | None,
        credentials: Credentials | None,
        region: str = "us-east-1",
        staging_buckets: Set[str] = frozenset({"tl-staging"}),
        attempts: int = 5,
        timeout: float = 30.0,
    ) -> None:
        self.endpoint = endpoint
        self.region = region
        self.staging_buckets = frozenset(staging_buckets)
        self._connection = {"credentials": credentials, "attempts": attempts, "timeout": timeout}
        self._opened: Any = None

    @property
    def _client(self) -> Any:
        if self._opened is None:
            self._opened = connect_client(endpoint=self.endpoint, region=self.region, **cast(Any, self._connection))
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        """A store travels between processes without its open connection."""
        return {**self.__dict__, "_opened": None}

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    # Buckets

    def create_bucket(self, bucket: str) -> bool:
        """Create a bucket unless it is there.

        Parameters
        ----------
        bucket : str
            Name of the bucket.

        Returns
        -------
        bool
            True where it was created now.
        """
        from botocore import exceptions

        with _translated(bucket):
            # An account that may not create buckets can still use those that are there.
            with contextlib.suppress(exceptions.ClientError):
                self._client.head_bucket(Bucket=bucket)
                return False
            try:
                self._client.create_bucket(Bucket=bucket)
            except exceptions.ClientError as error:
                if error.response["Error"].get("Code") != "BucketAlreadyOwnedByYou":
                    raise
                return False
        return True

    def buckets(self) -> tuple[str, ...]:
        """Names of the buckets this identity sees, sorted.

        Returns
        -------
        tuple of str
            The names.
        """
        with _translated(str(self.endpoint)):
            answer = self._client.list_buckets()
        return tuple(sorted(entry["Name"] for entry in answer.get("Buckets", [])))

    # Writing

    def put_new(
        self, bucket: str, key: str, body: bytes | Path, *, media_type: str, metadata: Mapping[str, str] | None = None
    ) -> StoredObject:
        """Write an object under a key that has none; identical content already there is success.

        Parameters
        ----------
        bucket, key : str
            Where to write.
        body : bytes or Path
            Content, or the file that holds it; above 16 MiB it travels in parts.
        media_type : str
            Content type.
        metadata : Mapping[str, str] or None
            User metadata (ASCII).

        Returns
        -------
        StoredObject
            The object, with ``existed`` telling a repeated write from a first one.

        Raises
        ------
        KeyConflictError
            The key holds other content.
        ChecksumRefusedError
            The content was damaged on its way, or the file changed while it was sent.
        """
        digest = digest_of(body)
        written = StoredObject(bucket, key, digest.size, digest.sha256, media_type, dict(metadata or {}))
        for _ in range(_WRITE_ATTEMPTS):
            try:
                self._write(written, body)
            except KeyConflictError as conflict:
                # A rival that loses its own write leaves the key empty: then the turn is ours again.
                with contextlib.suppress(ObjectMissingError):
                    return self._identical(written, conflict)
            else:
                return written
        raise StoreUnavailableError(f"{bucket}/{key}: writers kept colliding and none left an object")

    def put_replace(
        self, bucket: str, key: str, body: bytes, *, media_type: str, metadata: Mapping[str, str] | None = None
    ) -> StoredObject:
        """Write a pointer or a note, whatever the key holds: only for what exists to change, such as ``latest/``.

        Parameters
        ----------
        bucket, key : str
            Where to write.
        body : bytes
            Content.
        media_type : str
            Content type.
        metadata : Mapping[str, str] or None
            User metadata (ASCII).

        Returns
        -------
        StoredObject
            The object as written.
        """
        digest = digest_of(body)
        written = StoredObject(bucket, key, digest.size, digest.sha256, media_type, dict(metadata or {}))
        with _translated(f"{bucket}/{key}"):
            self._client.put_object(Body=body, **self._put_arguments(written))
        return written

    def copy(self, bucket: str, key: str, *, to_bucket: str, to_key: str) -> StoredObject:
        """Copy an object inside the store to a key that has none; identical content already there is success.

        Parameters
        ----------
        bucket, key : str
            Source.
        to_bucket, to_key : str
            Destination.

        Returns
        -------
        StoredObject
            The copy.

        Raises
        ------
        ObjectMissingError
            There is no source.
        KeyConflictError
            The destination holds other content.
        """
        source = self.digest(bucket, key)
        expected = StoredObject(to_bucket, to_key, source.size, source.sha256)
        try:
            with _translated(f"{to_bucket}/{to_key}"):
                self._client.copy_object(
                    Bucket=to_bucket, Key=to_key, CopySource={"Bucket": bucket, "Key": key}, IfNoneMatch="*"
                )
        except KeyConflictError as conflict:
            return self._identical(expected, conflict)
        return dataclasses.replace(self.head(to_bucket, to_key), sha256=source.sha256)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object from a staging bucket; deleting what is not there is success.

        Parameters
        ----------
        bucket, key : str
            What to delete.

        Raises
        ------
        DeletionRefusedError
            The bucket is not a staging bucket.
        """
        if bucket not in self.staging_buckets:
            raise DeletionRefusedError(f"{bucket}/{key}: only {sorted(self.staging_buckets)} may be deleted from")
        with _translated(f"{bucket}/{key}"):
            self._client.delete_object(Bucket=bucket, Key=key)

    def delete_planned(self, bucket: str, key: str, *, warrant: deletion_plan.Warrant, now: dt.datetime) -> bool:
        """Delete an object outside staging that a signed plan lists, if it is still what the plan says.

        Parameters
        ----------
        bucket, key : str
            What to delete.
        warrant : infra.deletion_plan.Warrant
            The verified plan.
        now : datetime.datetime
            Time; aware.

        Returns
        -------
        bool
            False where the object was not there.

        Raises
        ------
        DeletionRefusedError
            The plan has expired or does not list the object, or the object has another content than listed.
        """
        listed = warrant.listed(bucket, key, now=now)
        if listed is None:
            raise DeletionRefusedError(f"{bucket}/{key}: no plan that holds now lists it for deletion")
        try:
            present = self.head(bucket, key)
            sha256 = present.sha256 or self.digest(bucket, key).sha256
        except ObjectMissingError:
            return False
        if (present.size, sha256) != (listed.size, listed.sha256):
            raise DeletionRefusedError(f"{bucket}/{key}: the object is not the one the plan lists")
        with _translated(f"{bucket}/{key}"):
            self._client.delete_object(Bucket=bucket, Key=key)
        return True

    def give_up(self, upload: UnfinishedUpload) -> None:
        """Remove the parts of an upload that nobody will complete; no object is touched.

        Parameters
        ----------
        upload : UnfinishedUpload
            Which.
        """
        with _translated(f"{upload.bucket}/{upload.key}"):
            self._client.abort_multipart_upload(Bucket=upload.bucket, Key=upload.key, UploadId=upload.upload_id)

    # Reading

    def read(self, bucket: str, key: str) -> bytes:
        """Read an object in full.

        Parameters
        ----------
        bucket, key : str
            What to read.

        Returns
        -------
        bytes
            The content.

        Raises
        ------
        ObjectMissingError
            There is no such object.
        """
        with self.open(bucket, key) as stream:
            return stream.read()

    def read_range(self, bucket: str, key: str, *, start: int, length: int) -> bytes:
        """Read a part of an object.

        Parameters
        ----------
        bucket, key : str
            What to read.
        start : int
            First octet, from 0 [octet].
        length : int
            Most to read; less comes back at the end of the object [octet].

        Returns
        -------
        bytes
            The octets asked for.
        """
        with self.open(bucket, key, start=start, length=length) as stream:
            return stream.read()

    @contextlib.contextmanager
    def open(self, bucket: str, key: str, *, start: int = 0, length: int | None = None) -> Iterator[BinaryIO]:
        """Open an object, or a part of it, as a stream that is read forward.

        Parameters
        ----------
        bucket, key : str
            What to open.
        start : int
            First octet, from 0 [octet].
        length : int or None
            Octets to read; None for all that follow [octet].

        Yields
        ------
        BinaryIO
            The stream; closed at the end of the block.
        """
        selection = _range_arguments(start, length)
        with _translated(f"{bucket}/{key}"):
            body = self._client.get_object(Bucket=bucket, Key=key, **selection)["Body"]
            with contextlib.closing(body):
                yield cast(BinaryIO, body)

    def head(self, bucket: str, key: str) -> StoredObject:
        """Describe an object without reading it.

        Parameters
        ----------
        bucket, key : str
            What to describe.

        Returns
        -------
        StoredObject
            Size, type, metadata and, where the store holds one of the whole, the checksum.

        Raises
        ------
        ObjectMissingError
            There is no such object.
        """
        with _translated(f"{bucket}/{key}"):
            answer = self._client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        checksum = _hex_from_checksum(answer.get("ChecksumSHA256"))
        return StoredObject(
            bucket,
            key,
            answer["ContentLength"],
            checksum,
            answer.get("ContentType"),
            answer.get("Metadata", {}),
            etag=answer.get("ETag"),
            modified=answer.get("LastModified"),
        )

    def exists(self, bucket: str, key: str) -> bool:
        """Tell whether there is such an object.

        Parameters
        ----------
        bucket, key : str
            What to look for.

        Returns
        -------
        bool
            True where there is.
        """
        try:
            self.head(bucket, key)
        except ObjectMissingError:
            return False
        return True

    def answers(self, bucket: str) -> bool:
        """Tell whether a bucket can be listed: a read that failed is then a matter of the object alone.

        Parameters
        ----------
        bucket : str
            What to list the beginning of.

        Returns
        -------
        bool
            True where it can.
        """
        try:
            next(self.list(bucket), None)
        except ObjectStoreError:
            return False
        return True

    def digest(self, bucket: str, key: str) -> ContentDigest:
        """Size and SHA-256 of an object, found by reading all of it.

        Parameters
        ----------
        bucket, key : str
            What to read.

        Returns
        -------
        ContentDigest
            Length [octet] and hash in hex.
        """
        with self.open(bucket, key) as stream:
            return _digest(stream)

    def list(self, bucket: str, prefix: str = "") -> Iterator[StoredObject]:
        """List objects in the order of their keys, page after page.

        Parameters
        ----------
        bucket : str
            Where to look.
        prefix : str
            What the keys start with.

        Yields
        ------
        StoredObject
            Key, size and mark of each object.
        """
        with _translated(f"{bucket}/{prefix}"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield StoredObject(
                        bucket, entry["Key"], entry["Size"], etag=entry.get("ETag"), modified=entry.get("LastModified")
                    )

    def unfinished_uploads(self, bucket: str) -> Iterator[UnfinishedUpload]:
        """List uploads in parts that were begun and neither completed nor given up.

        Parameters
        ----------
        bucket : str
            Where to look.

        Yields
        ------
        UnfinishedUpload
            Each of them.
        """
        with _translated(bucket):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
                for entry in page.get("Uploads", []):
                    yield UnfinishedUpload(bucket, entry["Key"], entry["UploadId"], entry["Initiated"])

    def presigned_url(self, bucket: str, key: str, *, lifetime: int, file_name: str | None = None) -> str:
        """Make an address that lets its holder read one object for a while.

        Parameters
        ----------
        bucket, key : str
            What may be read.
        lifetime : int
            How long [s].
        file_name : str or None
            Name under which a browser saves it; None leaves it to the browser.

        Returns
        -------
        str
            The address; treat it as a secret, and never store it.
        """
        arguments = {"Bucket": bucket, "Key": key}
        if file_name is not None:
            arguments["ResponseContentDisposition"] = f'attachment; filename="{file_name}"'
        with _translated(f"{bucket}/{key}"):
            return str(self._client.generate_presigned_url("get_object", Params=arguments, ExpiresIn=lifetime))

    # Parts of writing

    def _write(self, written: StoredObject, body: bytes | Path) -> None:
        if written.size > PART_SIZE:
            if self.exists(written.bucket, written.key):
                raise KeyConflictError(f"{written.bucket}/{written.key}: the key exists")
            return self._write_parts(written, body)
        content = body if isinstance(body, bytes) else body.read_bytes()
        with _translated(f"{written.bucket}/{written.key}"):
            self._client.put_object(Body=content, IfNoneMatch="*", **self._put_arguments(written))
        return None

    @staticmethod
    def _put_arguments(written: StoredObject) -> dict[str, Any]:
        return {
            "Bucket": written.bucket,
            "Key": written.key,
            "ContentType": written.media_type,
            "ChecksumSHA256": _base64_from_hex(str(written.sha256)),
            "Metadata": {**written.metadata, "sha256": str(written.sha256)},
        }

    def _write_parts(self, written: StoredObject, body: bytes | Path) -> None:
        from botocore import exceptions

        place = {"Bucket": written.bucket, "Key": written.key}
        with _translated(f"{written.bucket}/{written.key}"):
            upload = self._client.create_multipart_upload(
                **place,
                ContentType=written.media_type,
                ChecksumAlgorithm="SHA256",
                Metadata={**written.metadata, "sha256": str(written.sha256)},
            )["UploadId"]
            try:
                parts = self._send_parts(written, body, upload)
                self._client.complete_multipart_upload(
                    **place, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
                )
            except BaseException:
                with contextlib.suppress(exceptions.ClientError, exceptions.BotoCoreError):
                    self._client.abort_multipart_upload(**place, UploadId=upload)
                raise

    def _send_parts(self, written: StoredObject, body: bytes | Path, upload: str) -> tuple[dict[str, Any], ...]:
        whole, parts = hashlib.sha256(), []
        for number, part in enumerate(_parts(body), start=1):
            whole.update(part)
            checksum = base64.b64encode(hashlib.sha256(part).digest()).decode()
            answer = self._client.upload_part(
                Bucket=written.bucket,
                Key=written.key,
                UploadId=upload,
                PartNumber=number,
                Body=part,
                ChecksumSHA256=checksum,
            )
            parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum})
        if whole.hexdigest() != written.sha256:
            raise ChecksumRefusedError(f"{written.bucket}/{written.key}: the file changed while it was sent")
        return tuple(parts)

    def _identical(self, expected: StoredObject, conflict: KeyConflictError) -> StoredObject:
        """Describe what the key holds where it is what we meant to write; else the conflict stands."""
        present = self.head(expected.bucket, expected.key)
        if present.size != expected.size:
            raise conflict
        sha256 = present.sha256 or self.digest(expected.bucket, expected.key).sha256
        if sha256 != expected.sha256:
            raise conflict
        return dataclasses.replace(present, sha256=sha256, existed=True)


def _parts(body: bytes | Path) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield from (body[start : start + PART_SIZE] for start in range(0, len(body), PART_SIZE))
        return
    with body.open("rb") as source:
        while part := source.read(PART_SIZE):
            yield part


def _range_arguments(start: int, length: int | None) -> dict[str, str]:
    if start < 0 or (length is not None and length < 1):
        raise ValueError(f"a range starts at 0 or later and holds at least one octet, not {start}, {length}")
    if start == 0 and length is None:
        return {}
    return {"Range": f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"}
