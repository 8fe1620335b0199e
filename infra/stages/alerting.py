"""Alerts of a product that was just built: thresholds against figures, in sequence with the alerts in force."""

import datetime as dt
from typing import Any, NamedTuple

import numpy as np
import shapely

from infra import alert_thresholds, archive, settings
from infra.stages import package_document, sector_packages
from infra.stages.workspace import NewGranule, Workspace
from infra.surface import vector_file
from processors import quality
from products import alert, feature_table, stac
from products.sectors import statistics

KIND = "alert"
COLLECTION = "alerts"


class Alerts(NamedTuple):
    """What a package gives rise to."""

    granules: tuple[NewGranule, ...] = ()
    """One per new, updated or cancelled alert, as documents to be published."""
    trouble: str | None = None
    """Why the thresholds could not be applied; a wrong line in their file holds up no product."""


def alerts_of(made: sector_packages.Made, workspace: Workspace, *, group: str, any_age: bool) -> Alerts:
    """Alerts a package gives rise to.

    Parameters
    ----------
    made : Made
        The package.
    workspace : Workspace
        Stores; the alerts in force are read from the ledger.
    group : str
        Group of the granules.
    any_age : bool
        Whether what was seen long ago alerts too: in an emergency somebody asked for just that; in routine, archives
        that are worked through again do not.

    Returns
    -------
    Alerts
        Documents, or why there are none.
    """
    try:
        rules, parameters = alert_thresholds.in_force(), alert_thresholds.parameters_in_force()
    except quality.BadInputError as error:
        return Alerts(trouble=f"no alerts were judged: {error}")
    code, now = made.package.definition.code, dt.datetime.now(dt.UTC)
    places = _places(made)
    granules = []
    for rule in rules:
        old = now - made.package.datetime > dt.timedelta(hours=rule.valid_hours)
        if rule.product != code or (old and not any_age):
            continue
        for finding in alert.findings(rule, made.package.statistics, places=places, tables=_states(made, rule.table)):
            identity = archive.identity("alert", rule.product, rule.measure, rule.table, finding.place.code)
            sent = alert.follow(
                rule,
                finding,
                previous=_in_force(identity, workspace),
                sender=settings.current().alert_sender,
                sent=now,
                onset=made.package.datetime,
                item_id=made.package.item_id,
                parameters=parameters,
            )
            if sent is not None:
                granules.append(_granule(identity, sent, made, workspace, group))
    return Alerts(tuple(granules))


def _places(made: sector_packages.Made) -> dict[str, alert.Place]:
    """Districts of the figures and, under no code, the whole."""
    whole = shapely.geometry.shape(made.package.geometry)
    places = {"": alert.Place(made.package.area, made.package.area, made.package.area, whole)}
    for zone in made.zones:
        shape = vector_file.carried(np.array([zone.geometry], dtype=object), zone.crs, "EPSG:4326")[0]
        # An alert speaks of what was seen of the district, not of the rest of it.
        part = shape.intersection(whole)
        outline = part if part.area > 0 else shape
        places[zone.code] = alert.Place(zone.code, zone.name_en, zone.name_zh, outline)
    return places


def _states(made: sector_packages.Made, name: str) -> dict[str, list[str]]:
    """States of the assets of a table, by place."""
    table = next((table for table in made.tables if table.name == name and "state" in table.columns), None)
    if table is None:
        return {}
    states = {f"{name}@": _sure(table)}
    for zone in made.zones:
        states[f"{name}@{zone.code}"] = _sure(statistics.features_inside(table, zone))
    return states


def _sure(table: feature_table.FeatureTable) -> list[str]:
    """States of assets, where one that is exposed counts only if the lower limit of its share is above nothing."""
    low = np.asarray(table.columns["exposed_share_low"], dtype=np.float64)
    return [
        "doubtful" if state == "exposed" and not share > 0 else state
        for state, share in zip(table.columns["state"], low, strict=True)
    ]


def _in_force(identity: str, workspace: Workspace) -> alert.Previous | None:
    held = workspace.ledger.granules([KIND], ids=[identity])
    if not held or held[0].attributes["message"] == "Cancel":
        return None
    said = held[0].attributes
    return alert.Previous(said["identifier"], said["sent"], said["sender"], said["severity"])


def _granule(
    identity: str, sent: alert.Alert, made: sector_packages.Made, workspace: Workspace, group: str
) -> NewGranule:
    attributes = {
        "identifier": sent.identifier,
        "sent": alert.cap_time(sent.sent),
        "sender": sent.sender,
        "severity": sent.severity,
        "message": sent.message,
        "item": sent.item_id,
    }
    return NewGranule(
        kind=KIND,
        id=identity,
        group=group,
        body=_document(sent, made, workspace).to_json(),
        suffix=".json",
        media_type="application/json",
        attributes=attributes,
    )


def _document(sent: alert.Alert, made: sector_packages.Made, workspace: Workspace) -> package_document.PackageDocument:
    """The record as an item of the catalogue, so that it is announced and kept like any product."""
    outline = sent.finding.place.outline
    west, south, east, north = shapely.convex_hull(outline).bounds
    files = {
        "alert.cap.xml": (alert.record(sent), "application/cap+xml", "CAP 1.2 record", "CAP 1.2 预警信息"),
        "alert.json": (alert.document(sent), "application/json", "Alert", "预警信息"),
    }
    return package_document.PackageDocument(
        item_id=archive.identity(sent.identifier),
        collection=COLLECTION,
        sector=made.package.definition.sector,
        bucket="products",
        fields=stac.ItemFields(
            product_code=COLLECTION,
            title="Alerts",
            title_zh="预警信息",
            description=alert.headline(sent, "en-US"),
            description_zh=alert.headline(sent, "zh-CN"),
            keywords=(made.package.definition.sector, sent.rule.product, sent.severity, sent.message),
            geometry=shapely.geometry.mapping(shapely.box(west, south, east, north)),
            bbox=(west, south, east, north),
            start=sent.onset,
            end=None,
            quality_level=made.package.properties["validity"],
            quality_reasons=tuple(made.package.quality["reasons"]),
            clear_fraction=made.package.properties["clear_fraction"],
            uncertainty={"kind": "interval_95", "asset": "alert.json"},
            inputs=({"id": sent.item_id},),
            level="L4",
            software={"terralimb": made.package.properties["software_version"]},
            projection=None,
            extra={},
        ),
        files={name: _file(workspace, name, *about) for name, about in files.items()},
    )


def _file(workspace: Workspace, name: str, content: bytes, media_type: str, title: str, title_zh: str) -> Any:
    written = workspace.write_asset(content, name[name.rindex(".") :], media_type)
    return package_document.PackagedFile(
        key=written["key"],
        sha256=written["sha256"],
        media_type=media_type,
        roles=("data",),
        title=title,
        title_zh=title_zh,
        projection=None,
    )
