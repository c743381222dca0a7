"""Markup of every format, read into blocks."""
