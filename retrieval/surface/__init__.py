"""Fused imagery to quantities of the land surface."""
