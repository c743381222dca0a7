"""Keys at the door: who is let in to which route."""
