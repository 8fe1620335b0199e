"""Where: stages, archive, stores, settings, command line and deployment."""
