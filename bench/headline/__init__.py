"""This server against others, and the reports on it: python -m bench run and report."""
