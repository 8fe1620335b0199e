"""Products of the surface from files: one module per command, each with a function that writes files and reports."""
