"""Where satellites are: ephemerides and their interpolation."""
