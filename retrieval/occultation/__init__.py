"""Excess phase to bending angle, refractivity and dry temperature."""
