"""CCSDS space data link: synchronisation, coding, transfer frames, space packets, time codes."""
