"""Metrics of the server, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Metrics of one server; several servers may run in one process.

    Attributes:
        requests: number of requests, by route, method and status.
        seconds: duration of requests, by route.
        batches: sizes of the processed batches, by kind of work.
        generation: number of the served generation of the index.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "xmodal_requests", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "xmodal_request_seconds",
            "Duration of requests in seconds, to the end of the response.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "xmodal_batch_size",
            "Number of requests processed in one batch.",
            ["work"],
            buckets=_BATCHES,
            registry=self.registry,
        )
        self.generation = Gauge(
            "xmodal_generation", "Number of the served generation of the index.", registry=self.registry
        )
