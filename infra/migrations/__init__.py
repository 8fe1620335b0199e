"""Schema migrations of ledger and catalogue, run by `infra.database.upgrade`."""
