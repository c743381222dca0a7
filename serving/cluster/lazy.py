"""The cluster for whoever has not imported Ray yet: a process that forks must not have."""

from __future__ import annotations

import os

from serving.engine.life.state import Life, OnDown, Receive
from serving.profile import Profile, ProfileError

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to Ray's makers
    # Where other work holds the cores, Ray's own processes need longer than it gives them.
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_raylet_start_wait_time_s": "120",
    # Ray's workers, and so the engines below them, would give way to every other program: it starts them with nice 15.
    "RAY_worker_niceness": "0",
}
"""Ray reads them from the environment, which wins. A Ray that was started before has its own."""


def on_ray(profile: Profile, receive: Receive, on_down: OnDown) -> Life:
    """The Life of engines on Ray Serve. Call it in the process that will speak to them."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from serving.cluster.link import ClusterLink

    return ClusterLink(profile, receive, on_down)


def change_nothing() -> Profile:
    """Raises ProfileError: Serve's own means change what runs on Ray."""
    raise ProfileError("the engines of a cluster change when the server is restarted")
