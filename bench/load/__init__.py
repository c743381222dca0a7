"""Load on a server, sample by sample, and what makes a load point count."""
