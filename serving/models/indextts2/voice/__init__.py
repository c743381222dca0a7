"""Recordings to what a request is conditioned on: speaker, style, emotion, the flow's prompt."""
