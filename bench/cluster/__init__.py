"""Engines on Ray Serve: what the way there costs, what a second engine brings, what is lost when one is killed."""
