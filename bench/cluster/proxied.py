"""The other way: the whole server as a replica behind Ray Serve's own HTTP proxy. Only for measuring against it.

python -m bench.cluster.proxied --address HOST:PORT --port 8124 --set model.name=tone
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from types import FrameType
from typing import Any

import ray
from litestar import Litestar
from ray import serve

from serving.profile import load_profile


def main() -> None:
    """Serve until SIGTERM; "ready at URL: " on standard error once it speaks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    profile = load_profile("default", arguments.overrides)

    def build() -> Litestar:
        from serving.http.app import create_app

        return create_app(profile)

    ray.init(address=arguments.address, logging_level=logging.WARNING)
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    serve.start(
        proxy_location="HeadOnly",
        http_options={"port": arguments.port},
        logging_config={"log_level": "WARNING"},
    )

    class Proxied:
        def __init__(self) -> None:
            pass

    deployed: Any = serve.deployment(
        name="proxied",
        num_replicas=arguments.replicas,
        ray_actor_options={"num_cpus": 1},
        max_ongoing_requests=128,
        logging_config=quiet,
    )(serve.ingress(build)(Proxied))
    serve.run(deployed.bind(), name="proxied", route_prefix="/")
    print(f"ready at http://127.0.0.1:{arguments.port}: proxied", file=sys.stderr, flush=True)

    def end(_: int, __: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    try:
        while True:
            signal.pause()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
