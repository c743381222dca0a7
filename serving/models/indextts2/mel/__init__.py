"""Codes to a mel spectrogram: length regulator and conditional flow matching."""
