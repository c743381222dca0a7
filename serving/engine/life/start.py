"""An engine from its profile to its last message: load, warm up, serve."""

from __future__ import annotations

import gc
import logging
import os
import time
from typing import TYPE_CHECKING

import torch

from serving.engine.life.watchdog import Steps
from serving.engine.loop import EngineLoop
from serving.engine.runner import DeviceError, Runner, pick_device, pick_workers
from serving.models import load_model
from serving.models.base import ModelError
from serving.native.cores import usable_cores
from serving.observe.words import described, requests_come
from serving.profile import Profile, ProfileError
from serving.protocol import Broken, Ready, Shutdown, Warming

if TYPE_CHECKING:
    import zmq

    from serving.engine.transport import EnginePair

logger = logging.getLogger(__name__)


class Stopped(Exception):
    """Shutdown came while the engine was loading or warming."""


def run_engine(
    profile: Profile, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, steps: Steps | None = None
) -> None:
    """Load, warm up, then serve until Shutdown. Sends Broken before it returns if it cannot go on.

    `steps`, which a process of its own has, is told what the loop does, for whoever watches it.
    """
    import zmq

    from serving.engine.transport import EnginePair

    pair = EnginePair(context, endpoint)
    try:
        loop = _start(profile, pair, {} if steps is None else steps)
        if steps is not None:
            gc.freeze()  # a full collection would look at all that torch brought: 0.1 s without a step
        loop.run()
    except (Stopped, zmq.ContextTerminated):
        logger.info("engine stopped before its time")
    except (DeviceError, ModelError, ProfileError) as error:
        pair.send_last(Broken(message=str(error)))
    except Exception as error:
        logger.exception("engine broke")
        pair.send_last(Broken(message=described(error)))
    finally:
        pair.close()


def _start(profile: Profile, pair: EnginePair, steps: Steps) -> EngineLoop:
    """Load the model and warm it, telling the client how far it is."""
    started_s = time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        if any(isinstance(message, Shutdown) for message in pair.receive()):
            raise Stopped
        elapsed_s = time.monotonic() - started_s
        pair.send(Warming(what=what, done=done, total=total, elapsed_s=elapsed_s))

    report(f"load {profile.model.name}", 0, 1)
    engine = profile.engine
    device = pick_device(engine)
    workers, threads = pick_workers(engine, device, usable_cores())
    torch.set_num_threads(threads)
    model = load_model(profile, device, getattr(torch, engine.dtype))
    runner = Runner(model, engine, device)
    runner.warm(report)
    warmup_s = time.monotonic() - started_s
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    requests_come(log_texts=profile.observe.log_texts)
    pair.send(
        Ready(
            model=model.spec.name,
            device=name,
            dtype=engine.dtype,
            kernels=getattr(model, "kernels", None),
            warmup_s=warmup_s,
            pid=os.getpid(),
        )
    )
    return EngineLoop(profile, pair, model, runner, workers, steps=steps)
