"""Ray Serve's request router by serving/cluster/placing.py. It runs where a handle is used, not in a replica."""

from __future__ import annotations

import asyncio
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, ReplicaResult, RequestRouter, RunningReplica

from serving.cluster.placing import UnderWay, ranks


class VoiceRouter(RequestRouter):
    """Reads two keywords of a call: `replica`, which must take it, or `voice`, whose home should."""

    def initialize_state(self, **_: Any) -> None:
        """Serve calls this once."""
        self._under_way = UnderWay()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ranks of replicas; one that is full is passed over for the next."""
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True
        named = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        if (wanted := pending_request.kwargs.get("replica")) is not None:
            return [[named[wanted]]] if wanted in named else []
        # Serve forgets after 10 s what a replica told, and a request may take longer.
        told = {name: self.replica_queue_len_cache.get(one.replica_id) or 0 for name, one in named.items()}
        voice = pending_request.kwargs.get("voice", "")
        chosen = ranks(voice, self._under_way.loads(told))
        if chosen:
            # Counted at once: of many that come together each must see the others.
            request = pending_request.metadata.internal_request_id
            self._under_way.chosen(request, chosen[0][0])
            pending_request.future.add_done_callback(lambda future: self._settled(request, future))
        return [[named[name] for name in rank] for rank in chosen]

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: ReplicaResult
    ) -> None:
        """It has been taken, perhaps by another than the first choice."""
        self._under_way.taken(pending_request.metadata.internal_request_id, replica_id.unique_id)

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """It has ended, in whatever way."""
        self._under_way.ended(internal_request_id)

    def _settled(self, request: str, future: asyncio.Future[Any]) -> None:
        """A replica was found, or nobody waits for one any more: then none tells that it has ended."""
        if future.cancelled():
            self._under_way.ended(request)
