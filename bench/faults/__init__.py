"""Faults done to a real server, and what came of each: what was lost, and how long until all was well again."""
