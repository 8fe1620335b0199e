"""Stage of the publication: a package document to an item of the catalogue, in one transaction."""

from infra import archive, publication, signing
from infra.stages import package_document
from infra.stages.execution import Unit, UnitResult
from infra.stages.workspace import Workspace
from products import stac, streams

#: Kinds of granules that are packages.
PACKAGES = ("profile", "sector_product", "alert")


def publish(unit: Unit, workspace: Workspace) -> UnitResult:
    """Publish one package; the same content again changes nothing."""
    (granule,) = unit.granules
    document = package_document.from_json(workspace.read(granule))
    published = publish_document(document, workspace, streams.OPERATIONAL)
    report = {"item": published.item_id, "revision": published.revision, "new": published.created}
    return UnitResult(report=report)


def publish_document(
    document: package_document.PackageDocument, workspace: Workspace, stream: streams.Stream
) -> publication.Publication:
    """Publish a package with its collection in a stream; both streams go the same way."""
    catalogue = workspace.settings.bucket("catalogue")
    _publish_collection(document, workspace, catalogue, stream)
    return publication.publish_package(
        item_id=document.item_id,
        collection=document.collection,
        sector=document.sector,
        fields=document.fields,
        assets=package_document.contents(document, workspace),
        store=workspace.store,
        catalog=workspace.catalog,
        bucket=workspace.settings.bucket(document.bucket),
        key_prefix=archive.product_prefix(document.collection, document.fields.start.isoformat()),
        catalogue_bucket=catalogue,
        stream=stream,
        signer=signing.signer(workspace.settings.home),
    )


def _publish_collection(
    document: package_document.PackageDocument, workspace: Workspace, catalogue: str, stream: streams.Stream
) -> None:
    fields = document.fields
    collection = stac.CollectionFields(
        collection_id=document.collection,
        product_code=fields.product_code,
        title=fields.title,
        title_zh=fields.title_zh,
        description=fields.description or fields.title,
        description_zh=fields.description_zh or fields.title_zh,
        sector=document.sector,
    )
    collection = streams.collection_fields(collection, stream)
    written = publication.publish_collection(collection, store=workspace.store, catalogue_bucket=catalogue)
    workspace.catalog.put_collection(written)
