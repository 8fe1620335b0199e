"""Stage of the sector products: every product of a fused scene as a package of files."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from infra import archive, granule_format
from infra.stages import package_document
from infra.stages.execution import NotApplicableError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from products import stac
from products.sectors import definition, package, registry


def product_codes() -> tuple[str, ...]:
    """Codes of all products, the variants every fused scene is made in."""
    return tuple(product.code for product in registry.definitions())


def build(unit: Unit, workspace: Workspace) -> UnitResult:
    """Build one product of one fused scene."""
    (granule,) = unit.granules
    chosen = registry.definition_of(str(unit.variant))
    fused = granule_format.decode(workspace.read(granule), name=granule.id)
    try:
        built = package.build(fused, definition=chosen)
    except definition.NotApplicableError as error:
        if error.cause == "no_usable_pixel":
            return UnitResult(partial=str(error), report={"cause": error.cause})
        raise NotApplicableError(str(error)) from error
    document = package_document.PackageDocument(
        item_id=built.item_id,
        collection=chosen.code,
        sector=chosen.sector,
        bucket="products",
        fields=_fields(built, tuple(package.inputs_of(fused))),
        files=dict(_files(built, workspace)),
    )
    made = NewGranule(
        kind="sector_product",
        id=archive.identity(built.item_id),
        group=unit.group,
        body=document.to_json(),
        suffix=".json",
        media_type="application/json",
        attributes={"product": chosen.code, "sector": chosen.sector},
    )
    return UnitResult((made,), report={"item": built.item_id, "quality": built.quality["level"]})


def _fields(built: package.ProductPackage, inputs: tuple[Mapping[str, Any], ...]) -> stac.ItemFields:
    properties = built.properties
    several = built.start_datetime != built.end_datetime
    return stac.ItemFields(
        product_code=built.definition.code,
        title=properties["title"],
        title_zh=properties["title_zh"],
        description=properties["description"],
        description_zh=properties["description_zh"],
        keywords=tuple(properties["keywords"]),
        geometry=built.geometry,
        bbox=built.bbox,
        start=built.start_datetime,
        end=built.end_datetime if several else None,
        quality_level=properties["validity"],
        quality_reasons=tuple(built.quality["reasons"]),
        clear_fraction=properties["clear_fraction"],
        uncertainty={"kind": properties["uncertainty"], "asset": "uncertainty.tif"},
        inputs=inputs,
        level="L3",
        software={"terralimb": properties["software_version"]},
        projection=_projection(built),
        extra={"gsd": properties["gsd"]},
    )


def _projection(built: package.ProductPackage) -> stac.Projection | None:
    if built.proj_code is None:
        return None
    return stac.Projection(code=built.proj_code, shape=built.proj_shape, transform=built.proj_transform)


def _files(built: package.ProductPackage, workspace: Workspace) -> Iterator[tuple[str, package_document.PackagedFile]]:
    for name, asset in sorted(built.assets.items()):
        written = workspace.write_asset(asset.content, PurePosixPath(name).suffix, asset.media_type)
        yield (
            name,
            package_document.PackagedFile(
                key=written["key"],
                sha256=written["sha256"],
                media_type=asset.media_type,
                roles=asset.roles,
                title=asset.title_en,
                title_zh=asset.title_zh,
                projection=_projection(built) if name.endswith(".tif") else None,
            ),
        )
