"""One function per task: read, call pure functions, check, write, commit."""
