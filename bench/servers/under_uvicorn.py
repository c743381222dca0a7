"""Our application and engine under uvicorn: parts what the HTTP server brings from what the engine brings."""

from __future__ import annotations

import argparse

import uvicorn

from serving.http.app import create_app
from serving.profile import load_profile


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="Our application under uvicorn.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8009)
    parser.add_argument("--profile", default="default")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    app = create_app(load_profile(arguments.profile, arguments.overrides))
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
