"""Alembic's entry: connects to the database `infra.database.upgrade` names and runs what is missing."""

from alembic import context

from infra import catalog_store, database, ledger

engine = database.engine(context.config.attributes["url"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=[ledger.metadata, catalog_store.metadata])
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
