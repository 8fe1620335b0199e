"""Commands of delivery: the service, and verified downloads from it."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from infra import settings

if TYPE_CHECKING:
    from infra import signing
    from infra.delivery import fetching
    from infra.stages import workspace


def serve(
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on; others than this machine need TLS."),
    port: int = typer.Option(8600, "--port", min=0, max=65535, help="Port; 0 for any that is free."),
    count: int | None = typer.Option(
        None,
        "--workers",
        min=1,
        max=64,
        help="Processes that answer; limits by agency hold in each. Default: by cores.",
    ),
) -> None:
    """Serve the catalogue (STAC API under /stac), the feed (/feed, /feed.atom), downloads and /health.

    Every request needs a key: make one with `terralimb access create-key`. Behind a proxy that ends TLS, set
    TERRALIMB_SERVICE_STORE_URL to the address under which clients reach the object store. Starts the object store of
    this home where it does not run yet.
    """
    from infra.delivery import workers
    from infra.embedded import daemon, installation

    chosen = settings.current()
    console = Console(soft_wrap=True)
    with installation.attached(chosen, announce=lambda text: console.print(text)) as here:
        os.environ.update(installation.environment(here.settings))
        settings.current.cache_clear()
        port = port or daemon.free_port(None)
        address = f"http://{host}:{port}"

        def listening() -> None:
            console.print(f"STAC API  {address}/stac/")
            console.print(f"feed      {address}/feed   (Atom: /feed.atom)")
            console.print(f"health    {address}/health")
            console.print("keys      terralimb access create-key --help")
            console.print("Ctrl-C stops it.")

        workers.run(host, port, count or workers.COUNT, listening=listening)


def fetch(
    item: str = typer.Argument(..., help="Identity of the item, as `terralimb catalogue search` shows it."),
    out: Path = typer.Option(..., "--out", file_okay=False, help="Folder; files go to OUT/ITEM/r<revision>."),
    url: str | None = typer.Option(
        None, "--url", help="Service to ask; TERRALIMB_SERVICE_URL, else the stores of this home, where not given."
    ),
    key_file: Path | None = typer.Option(
        None, "--key-file", exists=True, dir_okay=False, help="File with the API key; TERRALIMB_SERVICE_KEY_FILE."
    ),
    name: list[str] = typer.Option([], "--name", help="Only this file of the item; may be repeated."),
    trust: Path | None = typer.Option(
        None,
        "--trust",
        exists=True,
        dir_okay=False,
        help="Key list (/.well-known/terralimb-keys.json) obtained another way; what the service states otherwise.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Fetch an item and verify it: signature of its manifest, then length and SHA-256 of every file.

    A file that broke off goes on where it stopped when the same command is run again. Nothing stands under its final
    name before it was verified; files already there and right are not fetched again. MANIFEST.json and its signature
    are left beside the files, for `minisign -V -m MANIFEST.json`; item.json comes with every file.
    """
    from infra.cli import progress
    from infra.delivery import fetching

    chosen = settings.current()
    trusted = None if trust is None else _trusted(trust)
    console = Console(stderr=True)
    with _source(chosen, url, key_file, console) as source, progress.transfers(console) as shown:
        fetched = fetching.fetch(source, item, out, names=frozenset(name) or None, trusted=trusted, progress=shown)
    if as_json:
        sys.stdout.write(json.dumps(_as_mapping(fetched), ensure_ascii=False) + "\n")
        return
    table = Table(Column("file", overflow="fold"), Column("octets", justify="right"), "sha256", "came", box=None)
    for file in fetched.files:
        came = "was here" if not file.transferred else f"{file.transferred:,}"
        table.add_row(str(file.path), f"{file.size:,}", file.sha256[:16], came)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    sys.stdout.write(f"{fetched.item_id} revision {fetched.revision}, signed: {fetched.signature}\n")


def _trusted(path: Path) -> "tuple[signing.PublicKey, ...]":
    """Keys of a list that was obtained another way."""
    from infra import signing

    try:
        return signing.keys_of(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, signing.SigningKeyError) as error:
        raise typer.BadParameter(f"--trust {path} holds no list of signing keys ({error})") from error


def _as_mapping(fetched: "fetching.FetchedItem") -> dict[str, Any]:
    files = [
        {"path": str(file.path), "sha256": file.sha256, "size": file.size, "transferred": file.transferred}
        for file in fetched.files
    ]
    return {
        "id": fetched.item_id,
        "revision": fetched.revision,
        "signature": fetched.signature,
        "manifest": str(fetched.manifest),
        "files": files,
    }


@contextlib.contextmanager
def _source(
    chosen: settings.Settings, url: str | None, key_file: Path | None, console: Console
) -> Iterator["fetching.Source"]:
    from infra.delivery import fetching
    from infra.embedded import installation

    url = url or chosen.service_url
    if url is not None:
        file = key_file or chosen.service_key_file
        if file is None:
            raise typer.BadParameter("a service wants a key: --key-file, or TERRALIMB_SERVICE_KEY_FILE")
        with fetching.ServiceSource(url, file.read_text(encoding="utf-8").strip()) as service:
            yield service
        return
    if chosen.database_url is None and not (chosen.home / "terralimb.sqlite").exists():
        raise FileNotFoundError(
            f"nothing has been published in {chosen.home} yet: give --url of a service, or set TERRALIMB_HOME"
        )
    with installation.attached(chosen, announce=lambda text: console.print(text)) as here:
        yield _LocalSource(here)


class _LocalSource:
    """Items of this home, for whoever may read its files anyway."""

    def __init__(self, here: "workspace.Workspace") -> None:
        self.here = here

    def find(self, item_id: str) -> "fetching.RemoteItem":
        from infra.delivery import fetching

        found = self.here.catalog.item(item_id)
        if found is None:
            raise fetching.FetchError(f"{item_id}: the catalogue has no such item")
        if found.state in {"withdrawn", "expired"}:
            what = "was withdrawn" if found.state == "withdrawn" else "has expired"
            raise fetching.FetchError(f"{item_id} {what}: {found.state_reason}")
        return fetching.RemoteItem(
            item_id=item_id,
            revision=found.revision,
            checksums={asset.name: asset.sha256 for asset in found.assets},
        )

    def link(self, item: "fetching.RemoteItem", name: str) -> "fetching.Link":
        from infra.delivery import download, fetching

        found = self.here.catalog.item(item.item_id, item.revision)
        file = None if found is None else download.file_of(found, name)
        if file is None:
            raise fetching.FetchError(f"{item.item_id}: there is no file {name}")
        url = self.here.store.presigned_url(file.bucket, file.key, lifetime=download.lifetime(file.size))
        return fetching.Link(url=url, sha256=file.sha256 or None)

    def public_keys(self) -> tuple[Any, ...]:
        from infra import signing

        return signing.public_keys(self.here.settings.home)
