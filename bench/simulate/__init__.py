"""Capacity in virtual time: the engine's own loop, scheduler and windows, with a clock that a table of costs moves."""
