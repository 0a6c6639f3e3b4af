"""What this process counts, in Prometheus' text format at ``/metrics``: for who asks from this machine, or with a token.

Counting is an addition under a lock of its own, and on the way of a message done once for a batch. No metric has the name or
number of a person or a conversation in it.
"""

from __future__ import annotations

import hmac
import os
import platform
import resource
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from securechat import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "securechat_"
_STARTED_AT = time.time()
_PAGE_BYTES = resource.getpagesize()

Labels = tuple[tuple[str, str], ...]
Samples = Iterator[tuple[str, Labels, float]]


class Counter:
    """Only ever grows. ``labels`` are few and known: codes, kinds, never input."""

    def __init__(self, name: str, help: str) -> None:
        self.name, self.help, self.kind = f"{_PREFIX}{name}", help, "counter"
        self._lock = threading.Lock()
        self._values: dict[Labels, float] = {}
        _register(self)

    def inc(self, by: float = 1, **labels: str) -> None:
        key = tuple(labels.items())
        with self._lock:
            self._values[key] = self._values.get(key, 0) + by

    def value(self, **labels: str) -> float:
        return self._values.get(tuple(labels.items()), 0)

    def samples(self) -> Samples:
        with self._lock:
            values = dict(self._values) or {(): 0.0}
        for labels, value in sorted(values.items()):
            yield self.name, labels, value


class Gauge:
    """Goes up and down; with ``read`` it is asked for when somebody looks."""

    def __init__(self, name: str, help: str, read: Callable[[], float] | None = None) -> None:
        self.name, self.help, self.kind = f"{_PREFIX}{name}", help, "gauge"
        self._lock = threading.Lock()
        self._value = 0.0
        self._read = read
        _register(self)

    def inc(self, by: float = 1) -> None:
        with self._lock:
            self._value += by

    def set(self, value: float) -> None:
        self._value = value

    def value(self) -> float:
        return self._read() if self._read else self._value

    def samples(self) -> Samples:
        with suppress(Exception):  # What cannot be said is left out: a number would be believed.
            yield self.name, (), self.value()


class Readings:
    """Several gauges of one name that are read together when somebody looks."""

    def __init__(self, name: str, help: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        self.name, self.help, self.kind = f"{_PREFIX}{name}", help, "gauge"
        self._label, self._read = label, read
        _register(self)

    def samples(self) -> Samples:
        for value_of_label, value in self._read().items():
            yield self.name, ((self._label, value_of_label),), value


class Histogram:
    """How often what was observed was at most so much. ``bounds`` ascend."""

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:
        self.name, self.help, self.kind = f"{_PREFIX}{name}", help, "histogram"
        self._lock = threading.Lock()
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        _register(self)

    def observe(self, value: float) -> None:
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    def samples(self) -> Samples:
        with self._lock:
            counts, total = list(self._counts), self._sum
        below = 0
        for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
            below += count
            yield f"{self.name}_bucket", (("le", _number(bound)),), below
        yield f"{self.name}_sum", (), total
        yield f"{self.name}_count", (), below


_metrics: dict[str, Counter | Gauge | Readings | Histogram] = {}


def _register(metric: Counter | Gauge | Readings | Histogram) -> None:
    assert metric.name not in _metrics, metric.name
    _metrics[metric.name] = metric


SOCKETS = Gauge("sockets", "Chat sockets that are open in this process.")
WAITING_ENVELOPES = Gauge(
    "writer_waiting_envelopes", "Envelopes that wait for the next batch, or are being stored."
)
ENVELOPES_STORED = Counter("envelopes_stored_total", "Envelopes that were stored and acknowledged.")
ENVELOPES_REPEATED = Counter(
    "envelopes_repeated_total", "Envelopes that were stored before, and answered again."
)
ENVELOPES_DELIVERED = Counter(
    "envelopes_delivered_total", "Times an envelope was given to a socket of this process."
)
BATCHES = Histogram(
    "store_batch_envelopes", "Envelopes of one transaction.", (1, 2, 5, 10, 20, 50, 100, 200, 500)
)
STORE_SECONDS = Histogram(
    "store_seconds",
    "Seconds to store a batch, with its commit.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
REFUSALS = Counter("refusals_total", "Things that were refused, by where and by code.")
LOG_INS = Counter("log_ins_total", "Log-ins, by whether they were right.")
SIGN_UPS = Counter("sign_ups_total", "New accounts.")


def answer(request: HttpRequest) -> HttpResponse:
    """404 for who may not ask: they learn nothing of it."""
    if not _may_ask(request):
        return HttpResponse("Not found.\n", status=404, content_type="text/plain; charset=utf-8")
    return HttpResponse("\n".join(_lines()) + "\n", content_type=CONTENT_TYPE)


def _may_ask(request: HttpRequest) -> bool:
    token, given = settings.METRICS_TOKEN, request.headers.get("Authorization", "")
    if token:
        return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())
    if settings.TRUSTED_PROXIES:
        return False  # Addresses are then a proxy's word, and its own machine is 127.0.0.1 to it, too.
    try:
        address = ip_address(str(request.META.get("REMOTE_ADDR", "")))
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    except ValueError:
        return False


def _lines() -> Iterator[str]:
    for metric in _metrics.values():
        yield from _described(metric.name, metric.help, metric.kind, metric.samples())
    for name, help, kind, samples in _of_the_process():
        yield from _described(name, help, kind, samples)


def _of_the_process() -> Iterator[tuple[str, str, str, Samples]]:
    """Under the names that Prometheus' own clients give them."""
    build = (("python", platform.python_version()), ("version", __version__))
    yield f"{_PREFIX}build_info", "What runs.", "gauge", iter([(f"{_PREFIX}build_info", build, 1)])
    plain = {
        "process_cpu_seconds_total": ("CPU time.", "counter", time.process_time()),
        "process_start_time_seconds": ("When it started, since 1970.", "gauge", _STARTED_AT),
    }
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        plain["process_resident_memory_bytes"] = ("Memory.", "gauge", pages * _PAGE_BYTES)
        plain["process_open_fds"] = ("Open files and sockets.", "gauge", len(os.listdir("/proc/self/fd")))
        plain["process_max_fds"] = (
            "As many it may have.",
            "gauge",
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )
    for name, (help, kind, value) in plain.items():
        yield name, help, kind, iter([(name, (), value)])


def _described(name: str, help: str, kind: str, samples: Samples) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {kind}"
    for sample, labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        yield f"{sample}{{{shown}}} {_number(value)}" if shown else f"{sample} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
