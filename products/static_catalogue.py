"""The static catalogue: STAC documents that lie in folders and need no service, by collection and month.

All links are relative, so a copy opens wherever it lies; addresses of files are those the caller gives.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from products import stac

_JSON, _GEOJSON = "application/json", "application/geo+json"


def documents(
    collections: Mapping[str, Mapping[str, Any]],
    months: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]] | None]],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Build every document of the catalogue but the items.

    Parameters
    ----------
    collections : Mapping[str, Mapping]
        STAC collections by identity.
    months : Mapping[str, Mapping[str, Sequence[Mapping] or None]]
        Items by month (yyyy-mm) by collection; of each item its identity is read. None for a month that has items and
        whose document stays as it is.

    Yields
    ------
    tuple of (str, dict)
        Path in the catalogue and document: the root, then each collection with its months.
    """
    root = _links("./catalog.json", None)
    root += [_link("child", f"./{name}/collection.json", _JSON) for name in sorted(collections)]
    yield (
        "catalog.json",
        _catalog("terralimb", "Products of terralimb as a static catalogue 静态产品目录", root),
    )
    for name in sorted(collections):
        held = months.get(name, {})
        links = _links("../catalog.json", "../catalog.json")
        links += [_link("child", f"./{month}/catalog.json", _JSON) for month in sorted(held) if held[month] != []]
        yield f"{name}/collection.json", {**collections[name], "links": links}
        for month, items in sorted(held.items()):
            if items is not None:
                yield f"{name}/{month}/catalog.json", _month(name, month, items)


def _month(collection: str, month: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    links = _links("../../catalog.json", "../collection.json")
    links += [_link("item", f"./{item['id']}.json", _GEOJSON) for item in sorted(items, key=lambda one: str(one["id"]))]
    return _catalog(f"{collection}-{month}", f"{collection} of {month}", links)


def item(document: Mapping[str, Any], hrefs: Mapping[str, str]) -> dict[str, Any]:
    """Build an item of the static catalogue.

    Parameters
    ----------
    document : Mapping[str, Any]
        The item as users see it.
    hrefs : Mapping[str, str]
        Address of every asset by name.

    Returns
    -------
    dict
        The item.
    """
    assets = {name: {**asset, "href": hrefs[name]} for name, asset in document["assets"].items()}
    links = _links("../../catalog.json", "./catalog.json")
    links.append(_link("collection", "../collection.json", _JSON))
    return {**document, "assets": assets, "links": links}


def tombstone(document: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
    """Build what stands in place of an item that is gone: where and when it was, and that it is not to be used.

    Parameters
    ----------
    document : Mapping[str, Any]
        The item as users saw it, with its state by now.
    reason : str or None
        Why it is gone.

    Returns
    -------
    dict
        The item: deprecated, with status and reason as a pointer tells them, without assets. It declares no more
        extensions than those of versions and timestamps, for the others describe assets.
    """
    told = document["properties"]
    kept = ("title", "datetime", "start_datetime", "end_datetime", "version", "published")
    properties = {name: told[name] for name in kept if name in told}
    properties |= {"deprecated": True, "status": told["cqeo:status"]} | ({} if reason is None else {"reason": reason})
    stripped = {**document, "properties": properties, "assets": {}}
    return item(stripped, {}) | {"stac_extensions": [stac.TIMESTAMPS, stac.VERSIONING]}


def _catalog(identity: str, description: str, links: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": stac.VERSION,
        "id": identity,
        "description": description,
        "links": list(links),
    }


def _links(root: str, parent: str | None) -> list[dict[str, str]]:
    links = [_link("root", root, _JSON)]
    return links if parent is None else [*links, _link("parent", parent, _JSON)]


def _link(relation: str, href: str, media_type: str) -> dict[str, str]:
    return {"rel": relation, "href": href, "type": media_type}
