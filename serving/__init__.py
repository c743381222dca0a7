"""A server for neural speech: HTTP in, audio out. See docs/architecture.md for the map."""

__version__ = "0.1.0"
