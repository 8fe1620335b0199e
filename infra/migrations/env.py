"""Alembic's entry: connects to the database `infra.database.upgrade` names and runs what is missing."""

from alembic import context

from infra import catalog_store, completeness_ledger, database, ledger
from infra.delivery import identity, push

engine = database.engine(context.config.attributes["url"])
with engine.connect() as connection:
    tables = [ledger.metadata, catalog_store.metadata, completeness_ledger.metadata, identity.metadata, push.metadata]
    context.configure(connection=connection, target_metadata=tables)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
