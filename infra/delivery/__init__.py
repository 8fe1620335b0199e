"""Delivery: the catalogue as a service, with who may see what, feeds, downloads and a record of all of it."""
