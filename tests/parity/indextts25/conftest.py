"""Collects the parity suite only where the peer is installed: `nox -s parity`."""

import importlib.util

import pytest

if importlib.util.find_spec("indextts25") is None or importlib.util.find_spec("indextts") is None:
    collect_ignore_glob = ["test_*.py"]
else:

    @pytest.fixture(scope="session", params=[0, 1, 2], ids=lambda seed: f"seed{seed}")
    def seed(request: pytest.FixtureRequest) -> int:
        """Seeds of the small checkpoints that a stage is compared on."""
        value: int = request.param
        return value
