"""The routine stage of the products: alerts of the whole only, nothing usable is no failure, reasons are kept."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
import yaml
from affine import Affine
from odc.geo.geobox import GeoBox

from infra import granule_format, ledger, settings
from infra.stages import alerting, emergency, emergency_flood, sector_packages, sectors, static_layers
from infra.stages.execution import Unit
from infra.stages.workspace import NewGranule
from processors.imagery import grid
from products.sectors import statistics

GEOBOX = GeoBox((4, 4), Affine(10, 0, 600_000, 0, -10, 3_270_000), "EPSG:32648")


def fused() -> xr.Dataset:
    dataset = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), np.ones((1, 1, 4, 4), dtype=np.float32))},
        coords={"time": np.array(["2026-07-15"], dtype="datetime64[ns]"), "band": ["red"]},
        attrs={"area": "here"},
    )
    return grid.assign(dataset, GEOBOX)


def made(name: str) -> NewGranule:
    return NewGranule(
        kind=name, id=name, group="g", body=b"", suffix=".json", media_type="application/json", attributes={}
    )


@pytest.fixture
def stage(monkeypatch):
    """The stage with a package builder that keeps what it is given."""
    kept = SimpleNamespace(district=[], judged=[], partial=None, trouble=None, error=None)
    zone = statistics.Zone(code="500112", name_en="a", name_zh="甲", geometry=None)

    def build(_fused, chosen, _workspace, *, group, district):
        kept.district.append(district)
        if kept.error is not None:
            raise kept.error
        return sector_packages.Made(
            SimpleNamespace(), made("sector_product"), {"item": chosen.code}, (), (), kept.partial
        )

    def alerts_of(_made, _workspace, *, group, any_age):
        kept.judged.append(any_age)
        return alerting.Alerts((made("alert"),), kept.trouble)

    monkeypatch.setattr(sector_packages, "build", build)
    monkeypatch.setattr(alerting, "alerts_of", alerts_of)
    monkeypatch.setattr(static_layers, "zones", lambda _workspace: [zone])
    monkeypatch.setattr(static_layers, "joined", lambda series, _workspace: series)
    here = SimpleNamespace(read=lambda _granule: granule_format.encode(fused()))

    def run(variant: str):
        granule = ledger.Granule("fused", "f", "0" * 64, "g", "granules", "f", 1, {})
        return sectors.build(Unit("build_sector_products", "u", "g", (granule,), variant=variant), here)

    return SimpleNamespace(run=run, kept=kept, zone=zone)


def test_the_whole_alerts_and_its_districts_do_not_again(stage):
    whole, part = stage.run("flood-extent"), stage.run("flood-extent@500112")
    assert [granule.kind for granule in whole.granules] == ["sector_product", "alert"]
    assert [granule.kind for granule in part.granules] == ["sector_product"]
    assert whole.report == {"item": "flood-extent", "alerts": ["alert"]}
    assert part.report["alerts"] == []
    assert stage.kept.district == [None, stage.zone]
    # Archives that are worked through again alert nobody.
    assert stage.kept.judged == [False]


def test_nothing_usable_is_partial_with_its_cause_and_trouble_with_alerts_is_told(stage):
    stage.kept.error = sector_packages.NothingUsableError("cloud everywhere")
    result = stage.run("flood-extent")
    assert (result.granules, result.partial) == ((), "cloud everywhere")
    assert result.report["cause"] == "no_usable_pixel"
    stage.kept.error, stage.kept.trouble = None, "no alerts were judged"
    assert stage.run("flood-extent").partial == "no alerts were judged"
    stage.kept.partial = "less than was asked for"
    assert stage.run("flood-extent").partial == "less than was asked for"


def test_segments_follow_the_flood_in_force_unless_they_have_their_own(tmp_path, monkeypatch):
    path = tmp_path / "products.yaml"
    here = settings.current()
    monkeypatch.setattr(settings, "current", lambda: here.model_copy(update={"product_parameters": path}))

    def shares(products: dict) -> tuple[float, str]:
        path.unlink(missing_ok=True)
        path.write_text(yaml.safe_dump({"version": "reservoir", "products": products}), encoding="utf-8")
        os.utime(path, ns=(len(str(products)), len(str(products))))
        chosen = sector_packages.definition_in_force("exposed-segments")
        return chosen.parameters.flood.minimum_share, chosen.parameters_version

    assert shares({}) == (0.05, "")
    assert shares({"flood-extent": {"minimum_share": 0.2}}) == (0.2, "reservoir")
    own = {"exposed-segments": {"flood": {"minimum_share": 0.3}}, "flood-extent": {"minimum_share": 0.2}}
    assert shares(own) == (0.3, "reservoir")


@pytest.mark.parametrize("radar", [True, False])
def test_an_emergency_over_cloud_ends_without_a_product_and_without_failure(monkeypatch, radar):
    wish = emergency.request(bbox=(106.0, 29.4, 106.2, 29.7), since="2026-07-10", products=["flood"])
    asked = ledger.Granule("emergency_request", wish.identity, "0" * 64, "g", "p", "k", 1, wish.__dict__)
    about = {"polarizations": ["vv"] if radar else [], "time": "2026-07-15T00:00:00+00:00", "bands": [], "sensor": "x"}
    facts = ledger.Granule("scene_facts", "s", "0" * 64, "g", "p", "k", 1, about)
    here = SimpleNamespace(
        ledger=SimpleNamespace(granules=lambda kinds, ids=None: [asked] if kinds == [emergency.REQUEST] else [])
    )

    def nothing(*_given, **_named):
        raise sector_packages.NothingUsableError("cloud everywhere")

    monkeypatch.setattr(emergency_flood if radar else sector_packages, "build", nothing)
    monkeypatch.setattr(emergency, "_series", lambda *_given: None)
    unit = Unit("respond_emergency", "u", "g", (facts,), variant=f"{wish.identity}.flood-extent")
    result = emergency.respond(unit, here)
    assert (result.granules, result.partial) == ((), "cloud everywhere")
    assert result.report["cause"] == "no_usable_pixel"
