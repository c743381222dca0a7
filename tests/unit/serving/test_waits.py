"""Every wait of the server that has no time limit in its own line, and what ends it all the same."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3] / "serving"
WAITS = {"wait", "join", "recv", "recv_multipart", "readline", "result", "acquire", "receive"}

ENDED_BY = {
    "cluster/link.py: self._changed.wait()": "under asyncio.timeout in wait_ready",
    "cluster/replica.py: self._wake.wait()": "under asyncio.timeout in speak",
    "engine/client.py: utterance.wake.wait()": "the deadline of the request, EngineClient._overdue, wakes it",
    "engine/utterance.py: self.wake.wait()": "the deadline of the request, EngineClient._overdue, wakes it",
    "engine/life/lifeline.py: parent.join()": "a thread that waits for the end of its parent, and has no other task",
    "engine/life/supervisor.py: self._changed.wait()": "under asyncio.timeout in wait_ready",
    "engine/life/supervisor.py: self._rest.wait()": "one of several events that the supervisor waits for",
    "engine/life/supervisor.py: event.wait()": "of an unloaded engine: the next request or stop()",
    "engine/life/supervisor.py: self._stop.wait()": "stop(); nothing waits for it but the supervisor's own task",
    "engine/life/supervisor.py: exited.result()": "the future is done, or raises",
    "engine/many.py: self._room.wait()": "requests of the same caller, each with a deadline, make the room",
    "engine/loop.py: self._pair.receive()": "takes what is there",
    "engine/life/start.py: pair.receive()": "takes what is there",
    "engine/transport.py: self.receive()": "takes what is there",
    "engine/process.py: child.wait()": "a thread that waits for the end of the engine, which the watchdog sees to",
    "engine/process.py: parent.readline()": "the parent writes one line; its end closes the pipe",
    "engine/client.py: rest.result()": "the future is done",
    "engine/workers.py: begun.result()": "the future is done",
    "engine/workers.py: thread.join()": "its queue has told it to end; a step that never ends is the watchdog's",
    "http/front/guard.py: receive()": "under asyncio.timeout_at until the body is there, then bounded by the request",
    "http/access/door.py: receive()": "looks on; the connection within it and the server around it have the limits",
    "http/observe/calls.py: receive()": "looks on; the guard within it and the server around it have the limits",
    "http/cached.py: self._server.result()": "the future is done",
    "http/events.py: pending.result()": "the future is done",
    "http/front/server.py: refused.recv()": "after poll() said that something is there",
    "http/live/turn.py: self._changed.wait()": "under asyncio.timeout, or the connection's limit for the next one",
    "http/live/turn.py: self._came.wait()": "in a task of the turn, which the connection's own limit ends",
    "http/live/turn.py: self._submitted_one.wait()": "sentences in flight, each with a deadline, make the room",
    "http/live/turn.py: self._room.acquire()": "sentences in flight, each with a deadline, make the room",
    "http/speech.py: self.receive()": "under asyncio.timeout",
    "http/speech.py: receive()": "waits for the client to leave; cancelled when the stream ends, which has a deadline",
    "http/waiting.py: receive()": "waits for the client to leave; cancelled when the work ends, which has a deadline",
    "http/waiting.py: task.result()": "the task is done",
    "http/live/connection.py: self._socket.receive()": "in a task that Connection.receive waits for with a limit",
    "http/live/connection.py: self._coming.result()": "the task is done",
}
"""File and call, to its reason."""


def waits() -> set[str]:
    """Calls of a waiting method without an argument that could be a limit."""
    found = set()
    for folder in ("cluster", "engine", "http"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or node.args or node.keywords:
                    continue
                name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
                if name in WAITS:
                    found.add(f"{path.relative_to(ROOT).as_posix()}: {ast.unparse(node)}")
    return found


def test_every_wait_without_a_limit_has_a_reason() -> None:
    assert waits() == set(ENDED_BY)
