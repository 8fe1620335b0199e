"""Where a product comes from: inputs, parameters and software, as W3C PROV-JSON without any wall-clock."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from importlib import metadata
from typing import Any

import numpy as np

SIGNIFICANT_DIGITS = 9


def canonical_json(content: Any) -> bytes:
    """Bytes of a JSON document that depend on its content only.

    Keys are sorted, floats carry nine significant digits (summation order differs between machines beyond that) and
    values that are not finite become null.

    Parameters
    ----------
    content : object
        Nested mappings, sequences, dataclasses and scalars.

    Returns
    -------
    bytes
        UTF-8 with a final line feed.

    Raises
    ------
    TypeError
        Where a value has no JSON form.
    """
    text = json.dumps(plain(content), sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False)
    return (text + "\n").encode()


def plain(content: Any) -> Any:
    """Mappings, lists, strings, numbers and None only.

    Parameters
    ----------
    content : object
        Nested mappings, sequences, dataclasses and scalars.

    Returns
    -------
    object
        The same content in JSON types.

    Raises
    ------
    TypeError
        Where a value has no JSON form.
    """
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        return {field.name: plain(getattr(content, field.name)) for field in dataclasses.fields(content)}
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, np.ndarray):
        return plain(content.tolist())
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        return [plain(value) for value in content]
    return _plain_scalar(content)


def parameters_hash(parameters: Any) -> str:
    """SHA-256 of the canonical form of algorithm parameters.

    Parameters
    ----------
    parameters : object
        Frozen dataclass of parameters.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(canonical_json(parameters)).hexdigest()


def software_version() -> str:
    """Version of the installed distribution.

    Returns
    -------
    str
        Version, or ``unknown`` when run from sources that were not installed.
    """
    try:
        return metadata.version("terralimb")
    except metadata.PackageNotFoundError:
        return "unknown"


def document(
    entity: str, *, activity: str, inputs: Sequence[Mapping[str, Any]], parameters: Any, attributes: Mapping[str, Any]
) -> bytes:
    """PROV-JSON record of one product.

    Parameters
    ----------
    entity : str
        Identifier of the product.
    activity : str
        Name of the algorithm that made it.
    inputs : sequence of mapping
        Inputs, each with an ``id`` and whatever is known of it.
    parameters : object
        Frozen dataclass of parameters.
    attributes : mapping
        Further attributes of the product.

    Returns
    -------
    bytes
        UTF-8 JSON.
    """
    product, run, agent = f"tl:item/{entity}", f"tl:run/{entity}", "tl:software/terralimb"
    sources = {f"tl:input/{source['id']}": dict(source) for source in inputs}
    return canonical_json(
        {
            "prefix": {"prov": "http://www.w3.org/ns/prov#", "tl": "urn:terralimb:"},
            "entity": {product: dict(attributes), **sources},
            "activity": {
                run: {
                    "tl:algorithm": activity,
                    "tl:parameters": parameters,
                    "tl:parameters_sha256": parameters_hash(parameters),
                }
            },
            "agent": {agent: {"prov:type": "prov:SoftwareAgent", "tl:version": software_version()}},
            "wasGeneratedBy": {"_:generated": {"prov:entity": product, "prov:activity": run}},
            "wasAssociatedWith": {"_:associated": {"prov:activity": run, "prov:agent": agent}},
            "used": {
                f"_:used{number}": {"prov:activity": run, "prov:entity": name}
                for number, name in enumerate(sorted(sources))
            },
            "wasDerivedFrom": {
                f"_:derived{number}": {"prov:generatedEntity": product, "prov:usedEntity": name}
                for number, name in enumerate(sorted(sources))
            },
        }
    )


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no JSON form")
