"""Metrics and traces: what a real run exports, a dashboard that asks for nothing else, and no harm from a collector."""

import json
import logging
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, time
from typing import Any

import duckdb
import numpy as np
import pytest
from made_site import DAY, Site
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from emolake import telemetry
from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.pipeline.execution import run_here
from emolake.pipeline.run_request import RunRequest
from emolake.settings import Settings
from emolake.telemetry import METRICS, TelemetryOptions, started

from http_receiver import HttpReceiver, receiving
from made_lake import sqlite_warehouse

DASHBOARD = Path(__file__).parents[1] / "deployments" / "grafana.json"


@pytest.fixture(scope="module")
def collector() -> Iterator[HttpReceiver]:
    with receiving() as made:
        yield made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory, collector: HttpReceiver) -> dict[str, set[str]]:
    """Names of the samples that a run of two calls leaves for Prometheus, with their labels; OTLP is on as well."""
    site = Site(tmp_path_factory.mktemp("site"))
    site.put("good.wav", np.random.default_rng(0).normal(0, 0.1, (64_000, 1)).astype(np.float32))
    site.put("bad.wav", np.zeros((16_000, 1), np.float32)).write_bytes(b"junk")
    options = {
        "otlp_endpoint": f"http://{collector.address}",
        "textfile": str(site.folder / "metrics" / "emolake.prom"),
    }
    settings = site.settings(
        telemetry=options, source={"uri": str(site.folder / "calls"), "lookback_days": 0}
    )
    run_here(RunRequest("nightly", (DAY,)), settings, logging.getLogger("test"))
    text = (site.folder / "metrics" / "emolake.prom").read_text()
    assert "oslo" not in text
    assert not list((site.folder / "metrics").glob("*.tmp*"))
    found: dict[str, set[str]] = {}
    values: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
            values.setdefault(sample.name, []).append((sample.labels, sample.value))
    with open_lake(settings.warehouse, read_only=True) as lake:
        ((segments, sizes),) = lake.rows(
            "SELECT (FROM segments SELECT count(*)), (FROM recordings SELECT sum(size_bytes))"
        )
        ((speech,),) = lake.rows("SELECT speech_seconds FROM runs")
    _check_values(values, segments=segments, source_bytes=sizes, speech=speech)
    return found


def _check_values(values: dict[str, list[tuple[dict[str, str], float]]], **lake: float) -> None:
    """Compare what was exported with what the lake has."""

    def one(name: str) -> float:
        ((labels, value),) = values[name]
        assert not labels
        return value

    assert one("emolake_audio_seconds_total") == pytest.approx(4.0)
    assert one("emolake_speech_seconds_total") == pytest.approx(lake["speech"])
    assert one("emolake_segments_total") == lake["segments"] > 0
    assert one("emolake_source_bytes_total") == lake["source_bytes"] > 0
    assert one("emolake_recordings_total") == 2
    assert values["emolake_quarantined_total"] == [({"reason": "undecodable"}, 1.0)]
    assert values["emolake_runs_total"] == [({"flow": "nightly", "outcome": "completed"}, 1.0)]
    assert {labels["stage"] for labels, _ in values["emolake_stage_seconds_total"]} >= {
        "decode",
        "classify",
        "commit",
    }
    assert all(seconds > 0 for _, seconds in values["emolake_stage_seconds_total"])
    assert {labels["queue"]: depth for labels, depth in values["emolake_queue_depth"]} == {
        "fetch": 0,
        "decode": 0,
    }
    assert 0 < one("emolake_device_busy_share") <= 1
    assert one("emolake_real_time_factor") > 0
    assert one("emolake_commit_retries_total") >= 0
    assert one("emolake_planning_seconds_count") >= 1
    ((labels, ended),) = values["emolake_last_run_seconds"]
    assert labels == {"flow": "nightly", "outcome": "completed"}
    assert abs(ended - time()) < 600


def test_a_commit_that_is_made_again_is_counted(tmp_path: Path) -> None:
    textfile, tries = tmp_path / "emolake.prom", list[int]()

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise duckdb.TransactionException("Transaction conflict")

    with started(TelemetryOptions(textfile=str(textfile))), open_lake(sqlite_warehouse(tmp_path)) as lake:
        lake.transact(work, author="a test", message="made", extra={})
    assert "emolake_commit_retries_total 2.0" in textfile.read_text()


def test_a_run_exports_every_metric_with_its_labels(exposed: dict[str, set[str]]) -> None:
    suffixes = {"counter": "_total", "gauge": "", "histogram": "_count"}
    units = {"s": "_seconds", "By": "_bytes", "": ""}
    for name, metric in METRICS.items():
        sample = name.replace(".", "_") + units[metric.unit] + suffixes[metric.kind]
        assert exposed.get(sample) == set(metric.labels), sample
    assert not {name for name in exposed if not name.startswith("emolake_")}


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_the_dashboard_asks_for_what_is_exported(exposed: dict[str, set[str]]) -> None:
    known = exposed
    assert len(queries()) > 12
    asked: set[str] = set()
    for query in queries():
        assert query.count("(") == query.count(")")
        names = re.findall(r"\bemolake_\w+", query)
        asked.update(names)
        assert names, query
        assert set(names) <= known.keys(), query
        labels = {label for name in names for label in known[name]} | {"le"}
        selected = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', query)
        grouped = [
            word.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for word in group.split(",")
        ]
        assert set(selected + grouped) <= labels, query
        functions = set(re.findall(r"\b([a-z_]+) ?\(", query)) - {"by"}
        assert functions <= {"rate", "increase", "sum", "max", "time", "histogram_quantile"}
        assert all(
            name.endswith(("_total", "_bucket", "_sum", "_count"))
            for name in re.findall(r"(emolake_\w+)(?:{[^}]*})?\[", query)
        )
    assert {
        name.removesuffix(end)
        for name in asked
        for end in ("_bucket", "_sum", "_count")
        if name.endswith(end)
    } <= {"emolake_planning_seconds"}
    stems = {name.replace(".", "_") for name in METRICS}
    assert all(any(name.startswith(stem) for name in asked) for stem in stems), "a metric is on no panel"


def test_a_collector_gets_metrics_and_traces(exposed: dict[str, set[str]], collector: HttpReceiver) -> None:
    assert exposed
    metrics: set[str] = set()
    spans: dict[str, Any] = {}
    for path, body in collector.requests:
        assert b"oslo" not in body
        if path == "/v1/metrics":
            message = ExportMetricsServiceRequest.FromString(body)
            (resource,) = message.resource_metrics
            metrics |= {metric.name for scope in resource.scope_metrics for metric in scope.metrics}
        else:
            assert path == "/v1/traces"
            traced = ExportTraceServiceRequest.FromString(body)
            spans |= {
                span.name: span
                for each in traced.resource_spans
                for scope in each.scope_spans
                for span in scope.spans
            }
    assert metrics == METRICS.keys()
    assert spans.keys() == {"run", "shard"}
    assert spans["shard"].parent_span_id == spans["run"].span_id
    assert {each.key for each in spans["shard"].attributes} == {"run", "shard", "recordings"}


def test_prometheus_can_ask_while_it_runs() -> None:
    port = free_port()
    options = TelemetryOptions(prometheus_port=port)
    with started(options):
        telemetry.count("emolake.audio", 7.5)
        with started(options):  # of a run within another: they share what is counted
            telemetry.count("emolake.audio", 0.5)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert "emolake_audio_seconds_total 8.0" in answer.read().decode()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1)
    with started(options):  # nothing is left of the first
        pass


def test_off_is_off() -> None:
    with started(TelemetryOptions()):
        telemetry.count("no such metric")
        telemetry.level("nor this", 1.0)
        with telemetry.span("nothing"):
            pass
    assert not Settings().telemetry.is_on


def test_nothing_that_is_down_harms_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        blocked = tmp_path / "file"
        blocked.write_text("")
        options = TelemetryOptions(
            otlp_endpoint="http://127.0.0.1:1",
            prometheus_port=port,
            textfile=str(blocked / "emolake.prom"),
            timeout_s=1.0,
        )
        before = monotonic()
        with started(options), telemetry.span("run"):
            telemetry.count("emolake.audio", 1.0)
        assert monotonic() - before < 10
    assert "Prometheus cannot ask at 127.0.0.1" in caplog.text
    assert "the metrics could not be written" in caplog.text
    assert "Traceback" not in caplog.text


def test_an_error_is_told_without_its_words(collector: HttpReceiver) -> None:
    del collector.requests[:]
    with (
        pytest.raises(ValueError, match="oslo"),
        started(TelemetryOptions(otlp_endpoint=f"http://{collector.address}")),
        telemetry.span("bad"),
    ):
        raise ValueError("calls/oslo/a.wav")
    assert collector.requests
    assert all(b"oslo" not in body for _, body in collector.requests)
    assert any(b"ValueError" in body for _, body in collector.requests)


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.prometheus", None)
    with (
        pytest.raises(ConfigurationError, match=r"pip install 'emolake\[telemetry\]'"),
        started(TelemetryOptions(textfile=str(tmp_path / "x"))),
    ):
        pass
