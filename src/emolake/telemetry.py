"""Metrics and traces of a run, by OpenTelemetry: off unless the configuration turns them on, and then an extra.

Whatever is counted here costs nothing while it is off. The names are those of METRICS and of nothing else, so that a
dashboard can be checked against them. No key, URI or dimension is a label or an attribute.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Literal

from pydantic import Field

from emolake.errors import ConfigurationError
from emolake.messages import redacted
from emolake.options import Options

_log = logging.getLogger(__name__)
_SECONDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)


class TelemetryOptions(Options):
    """Where metrics and traces go; all of it is off by default, and needs the extra emolake[telemetry]."""

    otlp_endpoint: str | None = None
    """Collector that takes OTLP over HTTP; its headers come from OTEL_EXPORTER_OTLP_HEADERS."""
    traces: bool = True
    """Whether traces go to the collector beside the metrics."""
    prometheus_port: int | None = Field(None, ge=1, le=65_535)
    """Port on which a run at work shows its metrics to Prometheus."""
    prometheus_host: str = "127.0.0.1"
    """Address of that port."""
    textfile: str | None = None
    """File for the textfile collector of Prometheus' node exporter, written during a run and at its end."""
    interval_s: float = Field(15.0, gt=0)
    """How often metrics are sent or written."""
    timeout_s: float = Field(5.0, gt=0)
    """How long a collector may take to answer, at the end of a run too."""

    @property
    def is_on(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.otlp_endpoint or self.prometheus_port or self.textfile)


@dataclass(frozen=True)
class Metric:
    """One metric; Prometheus has its dots as underscores, its unit behind its name, and `_total` behind a counter's."""

    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    "emolake.audio": Metric("counter", "s", "Audio of the recordings committed"),
    "emolake.speech": Metric("counter", "s", "Speech in it"),
    "emolake.segments": Metric("counter", "", "Segments committed"),
    "emolake.source": Metric("counter", "By", "Size of the objects committed"),
    "emolake.recordings": Metric("counter", "", "Recordings committed, quarantined ones included"),
    "emolake.quarantined": Metric("counter", "", "Recordings quarantined", ("reason",)),
    "emolake.stage": Metric(
        "counter", "s", "Time of the shards by stage; stages run side by side", ("stage",)
    ),
    "emolake.commit.retries": Metric(
        "counter", "", "Transactions made again because another writer was first"
    ),
    "emolake.runs": Metric("counter", "", "Runs that have ended", ("flow", "outcome")),
    "emolake.last_run": Metric("gauge", "s", "When the newest run ended, as Unix time", ("flow", "outcome")),
    "emolake.queue.depth": Metric("gauge", "", "Items that wait between two steps of the shards", ("queue",)),
    "emolake.device.busy_share": Metric(
        "gauge", "", "Share of the shards' time in which the model had audio to work on"
    ),
    "emolake.real_time_factor": Metric("gauge", "", "Seconds of work per second of audio of the run so far"),
    "emolake.planning": Metric("histogram", "s", "Time to list a day and compare it with the lake"),
}


@dataclass
class _Active:
    """What is counted with, while it is on."""

    instruments: dict[str, Any] = field(default_factory=dict)
    tracer: Any = None
    parts: dict[tuple[str, ...], dict["Part", float]] = field(default_factory=dict)


_active: _Active | None = None
_collected: Callable[[str, float, Mapping[str, str]], None] | None = None


def count(name: str, amount: float = 1, **labels: str) -> None:
    """Add to a counter."""
    if _collected is not None:
        _collected(name, amount, labels)
    if _active is not None and amount:
        _active.instruments[name].add(amount, labels)


def collect(take: Callable[[str, float, Mapping[str, str]], None]) -> None:
    """Hand what is counted in this process from now on to `take`, for another one to count."""
    global _collected
    _collected = take


def level(name: str, value: float, **labels: str) -> None:
    """Set a gauge."""
    if _active is not None:
        _active.instruments[name].set(value, labels)


class Part:
    """One's part of a gauge with one label, that several set: it shows the sum of the parts."""

    _lock = Lock()

    def __init__(self, name: str, **label: str) -> None:
        self._name, self._label = name, label

    def set(self, value: float) -> None:
        """Set the part; one that has ended is 0."""
        active = _active
        if active is None:
            return
        with self._lock:
            parts = active.parts.setdefault((self._name, *self._label.values()), {})
            parts[self] = value
            if not value:
                del parts[self]
            level(self._name, sum(parts.values()), **self._label)


def observe(name: str, value: float, **labels: str) -> None:
    """Add a value to a histogram."""
    if _active is not None:
        _active.instruments[name].record(value, labels)


@contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[None]:
    """Trace the block, below the span that the thread is in."""
    if _active is None or _active.tracer is None:
        yield
        return
    # What an exception says may hold a key: its type is enough.
    with _active.tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except BaseException as error:
            from opentelemetry.trace import StatusCode

            current.set_status(StatusCode.ERROR, type(error).__name__)
            raise


@contextmanager
def started(options: TelemetryOptions) -> Iterator[None]:
    """Send metrics and traces of the block; one within another adds to it. A collector that is down harms nothing.

    Raises:
        ConfigurationError: they are asked for, and the extra is not installed.
    """
    global _active
    if not options.is_on or _active is not None:
        yield
        return
    with ExitStack() as ending:
        _active = _begun(options, ending)
        ending.callback(_stop)
        yield


def _stop() -> None:
    global _active
    _active = None


def _begun(options: TelemetryOptions, ending: ExitStack) -> _Active:
    """Set up what is asked for; the stack ends it."""
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from prometheus_client import CollectorRegistry
    except ImportError as error:
        raise ConfigurationError(
            f"[telemetry] is on, and {error.name} is not installed: pip install 'emolake[telemetry]', or turn it off"
        ) from error
    # A traceback of each of its errors would hide the run's own lines.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    resource = Resource.create({"service.name": "emolake"})
    readers: list[MetricReader] = []
    if options.otlp_endpoint:
        sent = OTLPMetricExporter(_url(options.otlp_endpoint, "metrics"), timeout=options.timeout_s)
        readers.append(
            PeriodicExportingMetricReader(
                sent,
                export_interval_millis=options.interval_s * 1000,
                export_timeout_millis=options.timeout_s * 1000,
            )
        )
    if options.prometheus_port or options.textfile:
        registry = CollectorRegistry()
        readers.append(
            PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=registry)
        )
        ending.enter_context(_shown_to_prometheus(options, registry))
    provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    ending.callback(_ended, lambda: provider.shutdown(timeout_millis=options.timeout_s * 1000))
    # Before the readers end: what was counted last is written, and sent.
    if options.textfile:
        ending.callback(_write, options.textfile, registry)
    active = _Active(_instruments(provider.get_meter("emolake")))
    if options.otlp_endpoint and options.traces:
        active.tracer = _tracer(options, resource, ending)
    return active


def _instruments(meter: Any) -> dict[str, Any]:
    made = {}
    for name, metric in METRICS.items():
        if metric.kind == "histogram":
            made[name] = meter.create_histogram(
                name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=_SECONDS
            )
        else:
            create = meter.create_counter if metric.kind == "counter" else meter.create_gauge
            made[name] = create(name, metric.unit, metric.description)
            if metric.kind == "counter" and not metric.labels:
                made[name].add(0)  # so that it is there before anything was counted
    return made


def _tracer(options: TelemetryOptions, resource: Any, ending: ExitStack) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    sent = OTLPSpanExporter(_url(str(options.otlp_endpoint), "traces"), timeout=int(options.timeout_s) or 1)
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(sent, export_timeout_millis=options.timeout_s * 1000))
    ending.callback(_ended, provider.shutdown)
    return provider.get_tracer("emolake")


def _url(endpoint: str, signal: str) -> str:
    return f"{endpoint.rstrip('/')}/v1/{signal}"


def _ended(end: Any) -> None:
    """End a provider; a collector that is down may let that fail, which is no failure of the run."""
    try:
        end()
    except Exception as error:  # noqa: BLE001 - of whatever transport
        _log.warning("the last metrics or traces were not delivered: %s", type(error).__name__)


@contextmanager
def _shown_to_prometheus(options: TelemetryOptions, registry: Any) -> Iterator[None]:
    """Serve the metrics, and write them to the file now and then."""
    from prometheus_client import start_http_server

    stop, threads = Event(), list[Thread]()
    with ExitStack() as ending:
        if options.prometheus_port:
            try:
                server, serving = start_http_server(
                    options.prometheus_port, options.prometheus_host, registry
                )
            except OSError as error:
                where = f"{options.prometheus_host}:{options.prometheus_port}"
                _log.warning(
                    "Prometheus cannot ask at %s (%s); the run goes on without", where, error.strerror
                )
            else:
                ending.callback(serving.join)
                ending.callback(server.server_close)
                ending.callback(server.shutdown)
        if options.textfile:

            def write() -> None:
                while not stop.wait(options.interval_s):
                    _write(str(options.textfile), registry)

            threads.append(Thread(target=write, name="metrics", daemon=True))
            threads[0].start()
            ending.callback(threads[0].join)
            ending.callback(stop.set)
        yield


def _write(path: str, registry: Any) -> None:
    from prometheus_client import write_to_textfile

    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(path, registry)  # to a file beside it, and renamed
    except OSError as error:
        _log.warning("the metrics could not be written: %s", redacted(str(error)))
