"""Measurements of the land surface from fused imagery: indices, vegetation, water, land cover, change."""
