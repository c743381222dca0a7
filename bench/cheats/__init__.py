"""Servers that cheat, which the checks of the bench must name, and honest ones, which they must let pass."""
