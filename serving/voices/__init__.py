"""Recordings that users add as voices: what is taken, and where it is kept. For any model that clones; no torch."""
