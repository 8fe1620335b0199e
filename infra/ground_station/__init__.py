"""Live reception: octets of a downlink over TCP, safe on disk before they are acknowledged, then decoded as files are.

A sender opens a connection and streams. After every write that has reached the disk the receiver answers with the
total of octets it holds of the session. A sender that names its session first is told that total and goes on from
there, whoever of the two was restarted. docs/reception.md is the protocol's description.

On disk a session is `spool/<station>.<session>.part` while it grows, with what is known of it in the `.json` beside it,
and one or several recordings `recordings/<UTC>-<station>.<session>.cadu`, each with a `.json`, once it is finished. The
order of the writes makes each step repeatable: whatever moment the process is killed at, the files say where to go on.
"""

from infra.ground_station.aftercare import Aftercare, Decoding, Landing, decode_with, land_in, link_from_file
from infra.ground_station.protocol import (
    NAME,
    Channel,
    Header,
    HeaderError,
    ReceptionError,
    SessionName,
    acknowledgment,
    header_from_line,
    opening_from_octets,
)
from infra.ground_station.receiver import Receiver, Session, address_from_text
from infra.ground_station.spool import Intake, MarkerCount, Recording, Spool

__all__ = [
    "NAME",
    "Aftercare",
    "Channel",
    "Decoding",
    "Header",
    "HeaderError",
    "Intake",
    "Landing",
    "MarkerCount",
    "Receiver",
    "ReceptionError",
    "Recording",
    "Session",
    "SessionName",
    "Spool",
    "acknowledgment",
    "address_from_text",
    "decode_with",
    "header_from_line",
    "land_in",
    "link_from_file",
    "opening_from_octets",
]
