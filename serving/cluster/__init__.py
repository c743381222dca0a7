"""Engines on several devices and machines, kept by Ray Serve. Only `tts-serving cluster` imports it."""
