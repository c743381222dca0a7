"""Ray and its Serve: connect, deploy the engines, ask how many run. Every function here blocks: call it in a thread."""

from __future__ import annotations

import logging

import msgspec
import ray
from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.deployment import Deployment
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus

from serving.cluster.replica import Replica
from serving.cluster.wire import DEPLOYMENT, application
from serving.profile import ClusterProfile, Profile, ProfileError

logger = logging.getLogger(__name__)

_SPEAKING = (ApplicationStatus.RUNNING, ApplicationStatus.DEPLOYING, ApplicationStatus.UNHEALTHY)
HEALTH_S = 2.0
"""Replicas are asked this often whether their engine speaks."""


def connect(cluster: ClusterProfile) -> None:
    """Join the Ray of cluster.address, or start one here, without its dashboard. Raises ConnectionError.

    Ray's processes listen on every address of a machine, and ask everybody for the token of RAY_AUTH_MODE.
    """
    if ray.is_initialized():
        return
    if cluster.address:
        ray.init(address=cluster.address, logging_level=logging.WARNING)
        return
    ray.init(address="local", include_dashboard=False, logging_level=logging.WARNING)


def deploy(profile: Profile) -> DeploymentHandle[Replica]:
    """Have Serve keep the engines of this profile, and return its handle; they start meanwhile.

    No proxy of Ray's listens. Engines that another HTTP process has had started are shared. Raises ProfileError.
    """
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
    name = application(profile)
    known = serve.status().applications.get(name)
    if known is None or known.status not in _SPEAKING:
        target = serve.RunTarget(_deployment(profile).bind(_as_json(profile)), name=name, route_prefix=None)
        serve.run_many([target], wait_for_applications_running=False)
    return serve.get_deployment_handle(DEPLOYMENT, name)


def _as_json(profile: Profile) -> bytes:
    """What a replica is told: on a CPU it has as many workers as cores."""
    cluster, engine = profile.cluster, profile.engine
    if engine.device in ("auto", "cpu") and not cluster.gpus:
        cores = max(int(cluster.cpus), 1)
        workers = msgspec.structs.replace(
            engine, workers=engine.workers or cores, threads=engine.threads or 1
        )
        profile = msgspec.structs.replace(profile, engine=workers)
    return msgspec.json.encode(profile)


def _deployment(profile: Profile) -> Deployment:
    cluster, engine = profile.cluster, profile.engine
    made: Deployment = serve.deployment(
        name=DEPLOYMENT,
        ray_actor_options={"num_cpus": cluster.cpus, "num_gpus": cluster.gpus},
        autoscaling_config=_autoscaling(cluster),
        # More than the queue that a newcomer may find, so that a full one is refused by admission, with its reason.
        max_ongoing_requests=2 * profile.admission.max_requests,
        request_router_config=RequestRouterConfig(request_router_class="serving.cluster.router:VoiceRouter"),
        health_check_period_s=HEALTH_S,
        health_check_timeout_s=engine.silence_s,
        # One that is taken away speaks what it has begun.
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=engine.request_timeout_s,
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )(Replica)
    return made


def _autoscaling(cluster: ClusterProfile) -> AutoscalingConfig:
    most = cluster.max_replicas or cluster.replicas
    if most < cluster.replicas:
        raise ProfileError(f"cluster.max_replicas: {most} is less than cluster.replicas, {cluster.replicas}")
    return AutoscalingConfig(
        min_replicas=cluster.replicas,
        max_replicas=most,
        initial_replicas=cluster.replicas,
        target_ongoing_requests=cluster.queue_depth,
        metrics_interval_s=min(1.0, max(cluster.upscale_s, 0.1)),
        look_back_period_s=max(cluster.upscale_s, 1.0),
        upscale_delay_s=cluster.upscale_s,
        downscale_delay_s=cluster.downscale_s,
    )


def running_replicas(name: str) -> tuple[int, str | None]:
    """How many engines of an application take requests; and why none ever will, if that is so."""
    known = serve.status().applications.get(name)
    if known is None:
        return 0, None
    deployment = known.deployments.get(DEPLOYMENT)
    running = 0 if deployment is None else int(deployment.replica_states.get("RUNNING", 0))
    if known.status == ApplicationStatus.DEPLOY_FAILED:
        return running, (deployment.message if deployment else "") or known.message
    return running, None


def leave(cluster: ClusterProfile, handle: DeploymentHandle[Replica] | None) -> None:
    """End what connect() started. In a Ray that was joined the engines stay, for other HTTP processes share them."""
    if handle is not None:
        handle.shutdown()
    if not cluster.address:
        serve.shutdown()
    ray.shutdown()
