"""Ray Serve's request router by serving/cluster/placing.py. It runs where a handle is used, not in a replica."""

from __future__ import annotations

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from serving.cluster.placing import ranks


class VoiceRouter(RequestRouter):
    """Reads two keywords of a call: `replica`, which must take it, or `voice`, whose home should."""

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
        # What is not known yet counts as nothing; a replica tells with every call how much it has.
        cache = self.replica_queue_len_cache
        loads = {name: cache.get(replica.replica_id) or 0 for name, replica in named.items()}
        voice = pending_request.kwargs.get("voice", "")
        chosen = [[named[name] for name in rank] for rank in ranks(voice, loads)]
        if chosen:
            # Counted at once: of many that come together each must see the others. The replica's own count, which its
            # answer brings, puts this right.
            home = chosen[0][0].replica_id
            cache.update(home, loads[home.unique_id] + 1)
        return chosen
