"""Imagery from file to file: windows are read, pure functions called, cloud-optimized GeoTIFFs written."""
