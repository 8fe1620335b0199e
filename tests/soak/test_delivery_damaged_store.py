"""A store whose disk lost octets: it takes half a minute to say so of each read, which is too long for every day."""

from pathlib import Path

import pytest

from tests.chain import test_delivery_store_security as store_security

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


def test_an_object_damaged_on_disk_holds_up_no_other_item_and_comes_when_it_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_security.test_a_damaged_object_of_the_store_holds_up_no_other_item_and_comes_when_it_is_put_right(
        tmp_path, monkeypatch, "damaged on disk"
    )
