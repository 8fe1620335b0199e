"""Streams of publication: what agencies work with, and test data of a coming format beside it.

What belongs to the test stream is told by the identity of its collection alone, `<collection>-test`, so that there is
one rule, nothing to look up, and nobody who names a collection can be mistaken about what is in it.
"""

import dataclasses
from typing import Literal

from products import stac

Stream = Literal["operational", "test"]

OPERATIONAL: Stream = "operational"
TEST: Stream = "test"
STREAMS: tuple[Stream, ...] = (OPERATIONAL, TEST)

#: First part of the keys of test data in a bucket.
TEST_FOLDER = "test"


def of_collection(collection: str) -> Stream:
    """Stream of a collection and of every item in it.

    Parameters
    ----------
    collection : str
        Identity of the collection.

    Returns
    -------
    str
        One of `STREAMS`.
    """
    return TEST if stac.holds_test_data(collection) else OPERATIONAL


def identity(operational: str, stream: Stream) -> str:
    """Identity an item or a collection has in a stream.

    Parameters
    ----------
    operational : str
        Its identity among what agencies work with.
    stream : str
        One of `STREAMS`.

    Returns
    -------
    str
        The identity; in the test stream another, as both stand in the catalogue at the same time.
    """
    return operational if stream == OPERATIONAL else f"{operational}{stac.TEST_SUFFIX}"


def item_fields(fields: stac.ItemFields, stream: Stream) -> stac.ItemFields:
    """What an item says of itself in a stream.

    Parameters
    ----------
    fields : products.stac.ItemFields
        What it says among what agencies work with.
    stream : str
        One of `STREAMS`.

    Returns
    -------
    products.stac.ItemFields
        In the test stream marked as such.
    """
    return fields if stream == OPERATIONAL else dataclasses.replace(fields, stream=TEST)


def collection_fields(fields: stac.CollectionFields, stream: Stream) -> stac.CollectionFields:
    """What a collection says of itself in a stream.

    Parameters
    ----------
    fields : products.stac.CollectionFields
        What it says among what agencies work with.
    stream : str
        One of `STREAMS`.

    Returns
    -------
    products.stac.CollectionFields
        In the test stream with its own identity and titles that say what it is.
    """
    if stream == OPERATIONAL:
        return fields
    return dataclasses.replace(
        fields,
        collection_id=identity(fields.collection_id, stream),
        title=f"{fields.title} (test data)",
        title_zh=f"{fields.title_zh}（测试数据）",
        description=f"Test data of a coming format, not for use. {fields.description}",
        description_zh=f"新格式测试数据，不作业务使用。{fields.description_zh}",
    )
