"""The life of the engine: start, signs of life, death, restart, end."""
