"""Stage of the sector products: every product of a fused scene as a package of files, for the whole and by district."""

from infra import granule_format, ledger
from infra.stages import alerting, sector_packages, static_layers
from infra.stages.execution import Unit, UnitResult
from infra.stages.workspace import Workspace
from products.sectors import registry


def products_and_districts(unit: Unit, book: ledger.Ledger) -> list[str]:
    """Products of a fused scene, `<code>` for all of it and `<code>@<district>` for each district it reaches into.

    A scene within a single district is made once: the whole is then the district's.
    """
    codes = [product.code for product in registry.definitions() if product.kind != "objects"]
    reached = _districts_reached(unit.granules[0], book)
    here = reached if len(reached) > 1 else []
    return [*codes, *(f"{code}@{district}" for district in here for code in codes)]


def _districts_reached(fused: ledger.Granule, book: ledger.Ledger) -> list[str]:
    """Codes of districts whose box meets that of the scene; the outlines are looked at when the product is made."""
    box = fused.attributes.get("bbox")
    boxes: dict[str, list[float]] = {}
    for granule in book.granules(["auxiliary"]):
        boxes |= granule.attributes.get("districts", {})
    if box is None:
        return []
    west, south, east, north = box
    return sorted(
        code
        for code, (left, bottom, right, top) in boxes.items()
        if left < east and right > west and bottom < north and top > south
    )


def build(unit: Unit, workspace: Workspace) -> UnitResult:
    """Build one product of one fused scene, for the whole or for one district."""
    (granule,) = unit.granules
    code, _, district = str(unit.variant).partition("@")
    fused = granule_format.decode(workspace.read(granule), name=granule.id)
    zone = next((zone for zone in static_layers.zones(workspace) if zone.code == district), None)
    chosen = sector_packages.definition_in_force(code)
    try:
        made = sector_packages.build(
            static_layers.joined(fused, workspace), chosen, workspace, group=unit.group, district=zone
        )
    except sector_packages.NothingUsableError as error:
        return UnitResult(partial=str(error), report={"cause": "no_usable_pixel"})
    alerts = alerting.Alerts() if district else alerting.alerts_of(made, workspace, group=unit.group, any_age=False)
    report = {**made.report, "alerts": [alert.id for alert in alerts.granules]}
    return UnitResult((made.granule, *alerts.granules), report=report, partial=made.partial or alerts.trouble)
