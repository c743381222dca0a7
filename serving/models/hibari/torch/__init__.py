"""The voice in torch operations, on any device."""
