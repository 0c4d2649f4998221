"""Prometheus metrics of one process. Everything is registered at start, under the prefix `kasal_`."""

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class HttpMetrics:
    """Requests by service, method, route template and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        labels = ("service", "method", "route")
        self._requests = Counter("kasal_http_requests", "Requests answered.", (*labels, "status"), registry=registry)
        self._seconds = Histogram(
            "kasal_http_request_seconds", "Time to answer.", labels, registry=registry, buckets=BUCKETS
        )

    def observe(self, service: str, method: str, route: str, status: int, took_s: float) -> None:
        self._requests.labels(service, method, route, str(status)).inc()
        self._seconds.labels(service, method, route).observe(took_s)


def new_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(namespace="kasal", registry=registry)
    return registry
