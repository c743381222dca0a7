"""How many listeners a server holds: the search, its statistics, its report."""
