"""Servers this installation runs itself: object store, metadata database, scheduler."""
