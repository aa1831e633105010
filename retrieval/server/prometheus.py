"""What the server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One server's figures: several may run in one process.

    Attributes:
        requests: how many, by route, method and status.
        seconds: how long they took, by route.
        batches: sizes of the batches that formed, by what was done to them.
        generation: of the index that answers.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "xmodal_requests", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "xmodal_request_seconds",
            "Seconds to the end of the answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "xmodal_batch_size",
            "Things worked on at once.",
            ["work"],
            buckets=_BATCHES,
            registry=self.registry,
        )
        self.generation = Gauge(
            "xmodal_generation", "Generation of the index that answers.", registry=self.registry
        )
