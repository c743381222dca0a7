"""Any speech server, spoken to in its own way: how a request is made, and how its answer becomes timed audio."""
