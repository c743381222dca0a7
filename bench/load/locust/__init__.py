"""Locust users in stages: python -m bench load."""
