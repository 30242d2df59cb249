"""Run by Alembic for every upgrade. The connection, its transaction included, is `state.migrate`'s."""

from alembic import context

from zlay_py.state.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
