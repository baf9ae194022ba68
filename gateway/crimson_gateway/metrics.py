"""Counts for the operator, on a bind of their own. Nothing here is per site, and no value of any model."""

from dataclasses import dataclass, field
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server


def _registry() -> CollectorRegistry:
    return CollectorRegistry()


@dataclass
class Metrics:
    """Everything that is counted."""

    registry: CollectorRegistry = field(default_factory=_registry)

    def __post_init__(self) -> None:
        registry = self.registry
        self.requests = Counter(
            "crimson_gateway_requests", "Requests answered", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "crimson_gateway_request_seconds", "Time to the answer", ["route"], registry=registry
        )
        self.refused = Counter(
            "crimson_gateway_signatures_refused", "Requests refused at the gate", ["code"], registry=registry
        )
        self.enrolments_refused = Counter(
            "crimson_gateway_enrolments_refused",
            "Requests of sites that were refused",
            ["code"],
            registry=registry,
        )
        self.policies_refused = Counter(
            "crimson_gateway_policies_refused",
            "Policy bundles that were refused",
            ["code"],
            registry=registry,
        )
        self.fresh_until = Gauge(
            "crimson_gateway_policy_fresh_until_seconds",
            "When the policy's proof is too old",
            registry=registry,
        )
        self.bodies = Counter(
            "crimson_gateway_body_bytes", "Bytes of bodies", ["route", "direction"], registry=registry
        )
        self.received = Counter("crimson_gateway_spooled_bytes", "Bytes of uploads kept", registry=registry)
        self.link_up = Gauge("crimson_gateway_enclave_up", "Whether the enclave answers", registry=registry)
        self.deliveries = Counter(
            "crimson_gateway_deliveries", "Messages given to the enclave", ["outcome"], registry=registry
        )
        self.rounds_over = Counter(
            "crimson_gateway_rounds_over", "Rounds by how they ended", ["state"], registry=registry
        )
        self.endorsed = Gauge(
            "crimson_gateway_nodes_endorsed", "Nodes that vouch for the instance", registry=registry
        )

    def serve(self, host: str, port: int) -> WSGIServer:
        """Serve the counts in a thread; `server_port` of the result says where."""
        server, _ = start_http_server(port, host, self.registry)
        return server
