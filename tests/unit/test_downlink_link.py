"""LINK.yaml and what is said of a wrong one."""

import copy
from pathlib import Path

import pytest
import yaml

from processors import quality
from processors.ccsds import link

LINKS = Path(__file__).parents[2] / "infra/parameters/links"
GOOD = {
    "name": "test",
    "stream": "cadu",
    "frame": {"type": "aos", "length": 892, "fecf": False, "ocf": False, "insert_zone": 0, "fhec": False},
    "coding": {"randomizer": "ccsds", "reed_solomon": {"e": 16, "interleave": 4, "basis": "dual", "virtual_fill": 0}},
    "spacecraft": [157],
    "virtual_channels": {16: "packets", 63: "idle"},
    "packet_check": "none",
}


@pytest.mark.parametrize("path", sorted(LINKS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_links_carry_the_name_of_their_file(path):
    assert link.link_from_mapping(yaml.safe_load(path.read_text())).name == path.stem


def test_lengths_follow_from_the_fields():
    parsed = link.link_from_mapping(GOOD)
    assert parsed.cadu_length == 1024
    assert parsed.layout.zone == slice(8, 892)
    assert (parsed.role(16), parsed.role(17), parsed.role(63)) == ("packets", "packets", "idle")
    trailers = link.Frame("aos", 892, fecf=True, ocf=True, insert_zone=10)
    assert trailers.zone == slice(18, 886)
    assert link.Frame("tm", 1115, fecf=True).zone == slice(6, 1113)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("name",), None, "name: missing"),
        (("stream",), "bits", "stream: expected one of"),
        (("frame",), None, "frame: missing"),
        (("frame",), 892, "frame: expected a mapping"),
        (("frame", "type"), "uslp", r"frame\.type"),
        (("frame", "length"), "892", r"frame\.length"),
        (("frame", "length"), 17, "fit frame.length|no room"),
        (("frame", "fecf"), 1, r"frame\.fecf"),
        (("frame", "fhec"), 1, r"frame\.fhec: expected true or false"),
        (("frame", "insert_zone"), -1, r"frame\.insert_zone"),
        (("frame", "insert_zone"), 880, "no room for packets"),
        (("frame", "lenght"), 892, r"frame\.lenght: no such field"),
        (("coding", "randomizer"), "ccsds16", r"coding\.randomizer: expected one of"),
        (("coding", "reed_solomon", "e"), 8, "do not fit frame.length"),
        (("coding", "reed_solomon", "e"), 12, r"reed_solomon\.e: expected 8 or 16"),
        (("coding", "reed_solomon", "interleave"), 9, r"interleave"),
        (("coding", "reed_solomon", "interleave"), 6, "do not fit frame.length"),
        (("coding", "reed_solomon", "interleave"), 5, "do not fit frame.length"),
        (("coding", "reed_solomon", "basis"), "natural", r"basis"),
        (("coding", "reed_solomon", "virtual_fill"), 3, "do not fit frame.length"),
        (("spacecraft",), [300], "spacecraft"),
        (("spacecraft",), 157, "spacecraft"),
        (("virtual_channels",), {64: "packets"}, "virtual_channels: 64"),
        (("virtual_channels",), {3: "video"}, r"virtual_channels\.3"),
        (("packet_check",), "crc32", "packet_check"),
        (("packet_time",), "unix", "packet_time: expected one of none, cuc, cds"),
        (("comment",), "x", "comment: no such field"),
    ],
)
def test_every_impossible_field_is_named(path, value, complaint):
    mapping = copy.deepcopy(GOOD)
    section = mapping
    for key in path[:-1]:
        section = section[key]
    if value is None:
        del section[path[-1]]
    else:
        section[path[-1]] = value
    with pytest.raises(link.LinkError, match=complaint) as caught:
        link.link_from_mapping(mapping)
    assert caught.value.cause == "link_invalid"
    assert isinstance(caught.value, quality.BadInputError)


@pytest.mark.parametrize("fill", [23, 4 * 23])
def test_virtual_fill_may_count_a_codeword_or_the_block(fill):
    mapping = copy.deepcopy(GOOD)
    mapping["frame"]["length"] = 800
    mapping["coding"]["reed_solomon"]["virtual_fill"] = fill
    assert link.link_from_mapping(mapping).reed_solomon.virtual_fill == 23


@pytest.mark.parametrize("field", [{"fhec": True}, {"insert_zone": 4}])
def test_tm_frames_have_neither_header_control_nor_insert_zone(field):
    mapping = {**GOOD, "frame": {**GOOD["frame"], "type": "tm", **field}}
    with pytest.raises(link.LinkError, match=f"frame.{next(iter(field))}: TM frames have none"):
        link.link_from_mapping(mapping)


@pytest.mark.parametrize("interleave", range(1, 9))
@pytest.mark.parametrize(("e", "symbols"), [(8, 239), (16, 223)])
def test_both_codes_are_accepted_at_every_interleave(e, symbols, interleave):
    mapping = copy.deepcopy(GOOD)
    mapping["frame"]["length"] = symbols * interleave
    mapping["coding"]["reed_solomon"].update(e=e, interleave=interleave)
    parsed = link.link_from_mapping(mapping)
    assert parsed.reed_solomon.e == e
    assert parsed.cadu_length == 4 + 255 * interleave
    assert parsed.reed_solomon.data_length == symbols * interleave


def test_header_control_and_insert_zone_move_the_packets_back():
    mapping = {**GOOD, "frame": {**GOOD["frame"], "fhec": True, "insert_zone": 10}}
    layout = link.link_from_mapping(mapping).layout
    assert (layout.header_length, layout.data_field, layout.zone) == (8, 18, slice(20, 892))


@pytest.mark.parametrize("name", ["none", "ccsds", "ccsds17"])
def test_randomizers_are_kept_by_name(name):
    mapping = copy.deepcopy(GOOD)
    mapping["coding"]["randomizer"] = name
    assert link.link_from_mapping(mapping).randomizer == name


def test_frames_without_markers_have_no_coding_left():
    with pytest.raises(link.LinkError, match="no coding left"):
        link.link_from_mapping({**GOOD, "stream": "frames"})


def test_a_stream_of_packets_needs_no_frame():
    parsed = link.link_from_mapping({"name": "p", "stream": "packets"})
    assert parsed.frame is None
    with pytest.raises(link.LinkError, match="no transfer frame"):
        _ = parsed.layout
