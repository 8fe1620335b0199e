"""Why: measurements to geophysical quantities. Pure functions on arrays, no input or output."""
