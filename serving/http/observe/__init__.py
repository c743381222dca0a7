"""Looks on from outside: metrics, a log line for each request, traces. Nothing here decides anything."""
