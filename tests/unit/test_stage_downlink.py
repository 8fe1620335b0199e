"""The downlink stage on our own pass: what one instrument's packets lack costs no other, and no spacecraft another."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from infra import ledger, settings
from infra.demonstration import modelled_input
from infra.stages import downlink, execution
from infra.stages.workspace import Workspace
from processors import quality

CADU = 1024


class OneObjectStore:
    """A store that holds one recording."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self, _bucket: str, _key: str) -> bytes:
        return self._body


@pytest.fixture(scope="module")
def cadus() -> bytes:
    return modelled_input.modelled_pass(1).cadus


def ingest(body: bytes, link: str = "terralimb") -> execution.UnitResult:
    sha256 = hashlib.sha256(body).hexdigest()
    key = f"downlink/kashi/{link}/pass.cadu"
    landed = ledger.Granule("landed_downlink", key, sha256, "landed_downlink", "tl-landing", key, len(body))
    store: Any = OneObjectStore(body)
    nothing: Any = None
    workspace = Workspace(settings.Settings(home=Path()), store, nothing, nothing)
    return downlink.ingest(execution.Unit("ingest_downlink", key, "landed_downlink", (landed,)), workspace)


def kinds(result: execution.UnitResult) -> dict[str, int]:
    counted: dict[str, int] = {}
    for granule in result.granules:
        counted[granule.kind] = counted.get(granule.kind, 0) + 1
    return counted


def test_a_whole_pass_gives_every_record_and_is_not_partial(cadus: bytes) -> None:
    result = ingest(cadus)
    assert result.partial is None
    made = kinds(result)
    assert (made["navigation"], made["level0_occultation"], made["level0_strip"]) == (1, 3, 1)


def test_a_pass_cut_in_mid_frame_gives_what_arrived_and_says_so(cadus: bytes) -> None:
    whole = len(cadus) // CADU
    result = ingest(cadus[: (whole // 2) * CADU + 500])
    assert result.partial is not None
    assert "500 octets of tail" in result.partial
    assert kinds(result)["level0_occultation"] >= 1


def test_an_instrument_without_its_table_costs_the_others_nothing(
    cadus: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise quality.BadInputError("ancillary_missing", "no strip without ancillary packets")

    monkeypatch.setattr(downlink.imager, "strip_from_packets", refuse)
    result = ingest(cadus)
    assert result.partial == "spacecraft 76: no strip without ancillary packets"
    assert "level0_strip" not in kinds(result)
    assert kinds(result)["level0_occultation"] == 3


def test_a_recording_of_another_link_is_refused(cadus: bytes) -> None:
    with pytest.raises(quality.BadInputError, match="link suomi-npp"):
        ingest(cadus[: 200 * CADU], link="suomi-npp")


def test_the_same_pass_gives_the_same_granules(cadus: bytes) -> None:
    first, second = ([(granule.id, granule.body) for granule in ingest(cadus).granules] for _ in range(2))
    assert first == second
