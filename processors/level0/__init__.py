"""Packets to instrument records, and the account of what arrived and what did not."""
