"""The bill of materials names everything that is locked, is the same whenever it is made, and holds to the licences.

What is linked into a wheel (GDAL and GEOS into rasterio, PostgreSQL into its server) is not a package and not listed.
"""

import json
import re
import subprocess
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from packaging import requirements, utils

pytestmark = pytest.mark.chain

REPOSITORY = Path(__file__).parents[2]

#: Packages that name the GPL and may stay, none of them in what runs the core.
KNOWN_GPL = {
    "docutils": "GPL for an Emacs mode that the wheel does not hold; the rest is BSD or public domain",
    "text-unidecode": "Artistic License or GPL, as one likes; a slug maker of the scheduler",
}

#: Packages whose metadata name no licence a machine could read, and what the text that comes with them says.
READ_BY_HAND = {
    "cligj": "BSD-3-Clause",
    "eccodeslib": "Apache-2.0",
    "eckitlib": "Apache-2.0",
    "exactextract": "Apache-2.0",
    "multipledispatch": "BSD-3-Clause",
    "odc-stac": "Apache-2.0",
    "owslib": "BSD-3-Clause",
    "partd": "BSD-3-Clause",
    "protobuf": "BSD-3-Clause",
}

# The Lesser (or Library) GPL is not meant: what it covers is linked to, not part of this.
_GPL = re.compile(r"(?<![A-Z])A?GPL|GNU (Affero )?General Public", re.IGNORECASE)


def made(path: Path) -> dict[str, Any]:
    subprocess.run(
        ["make", "--silent", "--old-file=setup", "sbom", f"SBOM={path}"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    bill: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return bill


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made(tmp_path_factory.mktemp("sbom") / "new" / "sbom.cdx.json")


def licences(component: dict[str, Any]) -> str:
    found = [entry.get("expression") or entry["license"].get("id") or entry["license"].get("name", "")
             for entry in component.get("licenses", ())]  # fmt: skip
    return "; ".join(found)


def names_gpl(bill: dict[str, Any]) -> set[str]:
    return {named(each) for each in bill["components"] if _GPL.search(licences(each))}


def named(component: dict[str, Any]) -> str:
    return str(utils.canonicalize_name(component["name"]))


@pytest.fixture(scope="module")
def validator() -> Any:
    """The schema of CycloneDX as its own library brings it; that library takes a minute over a bill of this length."""
    folder = resources.files("cyclonedx.schema").joinpath("_res")
    parts = {
        f"http://cyclonedx.org/schema/{path.name}": json.loads(path.read_text(encoding="utf-8"))
        for path in folder.iterdir()
        if path.name.endswith(".schema.json") and not path.name.startswith("bom-")
    }
    whole = json.loads(folder.joinpath("bom-1.6.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
    registry = jsonschema_rs.Registry([*parts.items()])
    return jsonschema_rs.Draft7Validator(whole, registry=registry, validate_formats=True)


def core() -> set[str]:
    """Names of everything the project needs to run, without its extras."""
    found: set[str] = set()
    asked = [("terralimb", "")]
    seen = set()
    while asked:
        name, extra = asked.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found.add(str(utils.canonicalize_name(name)))
        for text in metadata.requires(name) or ():
            wanted = requirements.Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                asked += [(wanted.name, each) for each in ("", *wanted.extras)]
    return found - {"terralimb"}


def test_the_bill_is_valid(bill: dict[str, Any], validator: Any) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert [str(each) for each in validator.iter_errors(bill)] == []
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(set(references)) == len(references)


@pytest.mark.parametrize(
    "fault",
    [
        {"licenses": [{"license": {"id": "No-Such-Licence"}}]},
        {"type": "something"},
        {"name": None},
        {"hashes": [{"alg": "SHA-256", "content": "abc"}]},
        {"externalReferences": [{"type": "website"}]},
    ],
)
def test_a_planted_fault_of_the_bill_is_seen(bill: dict[str, Any], validator: Any, fault: dict[str, Any]) -> None:
    broken = {**bill, "components": [bill["components"][0] | fault, *bill["components"][1:]]}
    assert not validator.is_valid(broken)


def test_everything_locked_is_in_it_with_its_version_and_nothing_else(bill: dict[str, Any]) -> None:
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    locked = {
        (str(utils.canonicalize_name(name)), version)
        for name, version in re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^ ;\\]+)", lock, re.MULTILINE)
    }
    assert len(locked) > 200
    assert {(named(component), component["version"]) for component in bill["components"]} == locked
    assert bill["metadata"]["component"]["name"] == "terralimb"


def test_the_bill_is_the_same_whenever_it_is_made_and_tells_of_no_machine(bill: dict[str, Any], tmp_path: Path) -> None:
    assert made(tmp_path / "again.json") == bill
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]
    text = json.dumps(bill)
    assert "file://" not in text
    assert str(REPOSITORY) not in text


def test_every_package_has_a_licence_and_none_the_core_runs_on_is_under_the_gpl(bill: dict[str, Any]) -> None:
    by_name = {named(component): component for component in bill["components"]}
    assert {name for name, component in by_name.items() if not licences(component)} == set(READ_BY_HAND)
    assert names_gpl(bill) == set(KNOWN_GPL)
    needed = core()
    assert {"numpy", "rasterio", "sqlalchemy", "botocore"} <= needed
    assert needed <= set(by_name)
    assert not needed & set(KNOWN_GPL)
    by_name["numpy"]["licenses"] = [{"expression": "BSD-3-Clause AND AGPL-3.0-only"}]
    assert names_gpl(bill) == {*KNOWN_GPL, "numpy"}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("GPL-2.0-or-later", True),
        ("MIT AND AGPL-3.0-only", True),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", True),
        ("GNU Affero General Public License", True),
        ("LGPL-3.0-only", False),
        ("License :: OSI Approved :: GNU Library or Lesser General Public License (LGPL)", False),
    ],
)
def test_the_gpl_is_known_by_all_its_names_and_the_lesser_one_is_not_it(text: str, meant: bool) -> None:
    assert bool(_GPL.search(text)) is meant
