"""Mel to samples: the vocoder."""
