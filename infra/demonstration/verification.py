"""Proof of what was published: every file read back from the store, its hash compared, its convention checked."""

import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from infra import catalog_store, publication
from infra.stages import occultation_day
from infra.stages.workspace import Workspace
from products import netcdf, profile, profile_aggregate, schema


@dataclass(frozen=True)
class Verification:
    """How many items and files were checked, and what is wrong with them."""

    items: int
    checked: int
    problems: tuple[str, ...]


def verify(workspace: Workspace) -> Verification:
    """Check every published item: present, hash, size, catalogue record, and the convention of each file."""
    catalogue = workspace.settings.bucket("catalogue")
    report = publication.verify_published(workspace.store, workspace.catalog, catalogue_bucket=catalogue)
    problems = [
        *map(str, report.failures),
        *_unannounced(report),
        *_unpublished(workspace),
        *(problem for item in workspace.catalog.published() for problem in _convention_problems(workspace, item)),
    ]
    return Verification(items=report.items, checked=report.assets, problems=tuple(problems))


def _unannounced(report: publication.VerificationReport) -> Iterator[str]:
    if report.undelivered:
        yield f"{report.undelivered} announcements are not delivered"


def _unpublished(workspace: Workspace) -> Iterator[str]:
    """Packages that were built and are not in the catalogue."""
    built = workspace.ledger.granules(["profile", "profile_aggregate", "sector_product"])
    published = sum(1 for _ in workspace.catalog.published())
    if len(built) != published:
        yield f"{len(built)} packages were built, {published} items are published"


def _convention_problems(workspace: Workspace, item: catalog_store.CatalogItem) -> Iterator[str]:
    for asset in item.assets:
        check = _day if asset.name == occultation_day.DATA_NAME else _CHECKS.get(asset.name.rpartition(".")[2])
        if check is None:
            continue
        try:
            wrong = check(workspace.store.read(asset.bucket, asset.key))
        except Exception as error:  # noqa: BLE001  a file no reader opens is what this looks for
            wrong = f"cannot be read: {error}"
        if wrong:
            yield f"{item.item_id} {asset.name}: {wrong}"


def _netcdf(body: bytes) -> str | None:
    try:
        schema.check(netcdf.decode(body), product=profile.PRODUCT)
    except schema.SchemaError as error:
        return str(error)
    return None


def _day(body: bytes) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / occultation_day.DATA_NAME
        path.write_bytes(body)
        try:
            with profile_aggregate.decode(path) as day:
                profile_aggregate.check(day)
        except schema.SchemaError as error:
            return str(error)
    return None


def _cog(body: bytes) -> str | None:
    import rasterio
    from rio_cogeo import cogeo

    with rasterio.MemoryFile(body) as memory:
        valid, errors, warnings = cogeo.cog_validate(memory.name, quiet=True)
    return None if valid and not warnings else "; ".join([*errors, *warnings])


def _png(body: bytes) -> str | None:
    import matplotlib.image

    return None if matplotlib.image.imread(io.BytesIO(body), format="png").size else "an empty picture"


_CHECKS: dict[str, Callable[[bytes], str | None]] = {"nc": _netcdf, "tif": _cog, "png": _png}
