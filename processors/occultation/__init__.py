"""Carrier phase to excess phase: level 1B of a radio occultation."""
