"""An AT Protocol relay on gevent. See docs/architecture.md for the tree."""

__version__ = "0.1.0"
