"""What `bench fuzz` takes for a failure, and what not. `nox -s fuzz` runs these first."""
