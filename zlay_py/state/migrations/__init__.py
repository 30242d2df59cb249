"""Alembic's folder: `env.py` is its way in, `versions/` the steps, written by hand and never changed afterwards."""
