"""The package document: what a stage that builds a product hands to the one that publishes it.

It names the product's files by content and says what its catalogue item will say; it is a granule like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pydantic

from infra import publication
from infra.stages.workspace import Workspace
from products import stac


@dataclass(frozen=True)
class PackagedFile:
    """One file of a package, already in the archive under its content's key."""

    key: str
    sha256: str
    media_type: str
    roles: tuple[str, ...]
    title: str
    title_zh: str
    projection: stac.Projection | None = None


@dataclass(frozen=True)
class PackageDocument:
    """A product ready for publication."""

    item_id: str
    collection: str
    sector: str
    bucket: Literal["products", "profiles"]
    fields: stac.ItemFields
    files: Mapping[str, PackagedFile]

    def to_json(self) -> bytes:
        """Document as JSON; the same package gives the same bytes."""
        return _ADAPTER.dump_json(self, indent=1)


_ADAPTER = pydantic.TypeAdapter(PackageDocument)


def from_json(body: bytes) -> PackageDocument:
    """Package document from JSON.

    Raises
    ------
    pydantic.ValidationError
        The bytes are no package document.
    """
    return _ADAPTER.validate_json(body)


def contents(document: PackageDocument, workspace: Workspace) -> dict[str, publication.AssetContent]:
    """Files of a package with their bytes, checked."""
    return {
        name: publication.AssetContent(
            body=workspace.read_asset(file.key, file.sha256),
            media_type=file.media_type,
            roles=file.roles,
            title=file.title,
            title_zh=file.title_zh,
            projection=file.projection,
        )
        for name, file in document.files.items()
    }
