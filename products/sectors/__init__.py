"""Sector products: one definition each, one package for all."""
