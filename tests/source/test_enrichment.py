"""What is known beyond keys: days by LastModified and metadata, dimensions from beside, and audio without an ending."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from emolake.errors import ConfigurationError
from emolake.schemas.records import SourceObject
from emolake.settings import Settings, load_settings
from emolake.source.access import SourceOptions
from emolake.source.enrichment import enrichment
from emolake.source.folder import FolderSource
from emolake.source.opening import open_source
from emolake.source.policy import Policy
from emolake.source.references import sidecar_key
from emolake.source.s3 import S3Source
from emolake.source.s3_attributes import object_metadata
from emolake.source.store import SourceError, TransientSourceError
from emolake.tasks.plan import PassedOver, list_day, plan_day

from made_lake import KEY

DAY = date(2026, 11, 20)
ALL = Policy()
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
DATED = "{date:%Y/%m/%d}/{call_id}.{ext}"


def put(folder: Path, key: str, content: bytes = WAV, modified: str = "2026-11-20T12:00:00+00:00") -> None:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    seconds = datetime.fromisoformat(modified).timestamp()
    os.utime(path, (seconds, seconds))


def listed(options: SourceOptions, day: date = DAY) -> list[SourceObject | PassedOver]:
    source = open_source(options.uri, options.s3)
    return list(list_day(source, options.key_pattern(), day, enrichment(source, options)))


def keys(options: SourceOptions, day: date = DAY) -> list[str]:
    return [each.key for each in listed(options, day) if isinstance(each, SourceObject)]


def worked(options: SourceOptions, policy: Policy = ALL) -> dict[str, SourceObject]:
    source = open_source(options.uri, options.s3)
    beyond = enrichment(source, options)
    chunks = plan_day(source, options.key_pattern(), None, DAY, key=KEY, policy=policy, beyond=beyond)
    return {item.key: item for chunk in chunks for item in chunk.work}


def test_days_by_last_modified_are_local_ones_and_say_no_time(tmp_path):
    for key, modified in (
        ("a.wav", "2026-11-19T22:59:59+00:00"), ("b.wav", "2026-11-19T23:00:00+00:00"),
        ("x/c.wav", "2026-11-20T22:59:59+00:00"), ("d.wav", "2026-11-20T23:00:00+00:00"),
    ):  # fmt: skip
        put(tmp_path, key, modified=modified)
    options = SourceOptions(
        uri=str(tmp_path), pattern="{**}/{call_id}.{ext}", timezone="Europe/Berlin", date_from="last_modified"
    )
    found = {day: keys(options, date(2026, 11, day)) for day in (18, 19, 20, 21)}
    assert found == {18: [], 19: ["a.wav"], 20: ["b.wav", "x/c.wav"], 21: ["d.wav"]}
    assert all(each.recorded_at is None for each in listed(options) if isinstance(each, SourceObject))
    assert options.key_pattern().notes == [
        "'{**}/{call_id}.{ext}' lists every key of the source for each day that is planned"
    ]


def test_a_list_may_mix_keys_with_and_without_a_date(tmp_path):
    put(tmp_path, "2026/11/20/a.wav", modified="2026-12-24T12:00:00+00:00")
    put(tmp_path, "old/b.wav")
    put(tmp_path, "old/c.txt")
    options = SourceOptions(
        uri=str(tmp_path), pattern=(DATED, "old/{call_id}.{ext}"), date_from="last_modified"
    )
    assert keys(options) == ["2026/11/20/a.wav", "old/b.wav"]
    assert keys(options, date(2026, 12, 24)) == []


MANIFEST = """\
key,agent,started
a.wav,ann,2026-11-20T00:30:00
b.wav,,2026-11-19T23:30:00Z
c.wav,cid,2026-11-20
d.wav,x,soon
"""


def test_days_and_dimensions_of_a_manifest(tmp_path):
    for name in "abcde":
        put(tmp_path / "calls", f"{name}.wav")
    (tmp_path / "list.csv").write_text(MANIFEST)
    options = SourceOptions(
        uri=str(tmp_path / "calls"), pattern="{call_id}.{ext}", timezone="Europe/Berlin", date_from="manifest:started",
        dimensions={"agent": "manifest:agent"}, manifest=str(tmp_path / "list.csv"),
    )  # fmt: skip
    found = worked(options)
    assert {key: item.recorded_at for key, item in found.items()} == {
        "a.wav": datetime(2026, 11, 19, 23, 30, tzinfo=UTC),  # a time without a zone is one of the keys' zone
        "b.wav": datetime(2026, 11, 19, 23, 30, tzinfo=UTC),
        "c.wav": None,
    }
    assert found["a.wav"].dimensions == {"call_id": "a", "ext": "wav", "agent": "ann"}
    assert found["b.wav"].dimensions == {"call_id": "b", "ext": "wav"}
    assert sorted(each.reason for each in listed(options) if isinstance(each, PassedOver)) == [
        f"does not match the pattern: {name}.wav (source.date_from gives it no date)" for name in "de"
    ]


@pytest.mark.parametrize("kind", ["csv", "semicolons", "parquet", "uris"])
def test_a_manifest_may_be_a_table_of_several_kinds(tmp_path, kind):
    put(tmp_path / "calls", "2026/11/20/a,1.wav")
    uri = f"file://{tmp_path.resolve()}/calls/" if kind == "uris" else ""
    rows = {"path": [f"{uri}2026/11/20/a,1.wav", "other.wav"], "team": ["007", "zwölf; 2"], "n": [1, 2]}
    file = tmp_path / ("list.parquet" if kind == "parquet" else "list.csv")
    if kind == "parquet":
        pq.write_table(pa.table(rows), file)
    else:
        mark = ";" if kind == "semicolons" else ","
        lines = [mark.join(f'"{value}"' for value in row) for row in zip(*rows.values(), strict=True)]
        file.write_text("\ufeff" + "\n".join([mark.join(rows), *lines]), "utf-8")
    options = SourceOptions(
        uri=str(tmp_path / "calls"), pattern=DATED, manifest=str(file), manifest_key="path",
        dimensions={"team": "manifest:team", "n": "manifest:n"},
    )  # fmt: skip
    (item,) = worked(options).values()
    assert item.dimensions == {"call_id": "a,1", "ext": "wav", "team": "007", "n": "1"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there; correct source.manifest"),
        ("key,a\nx.wav,1\n", "has no column team; it has key, a"),
        ("key,team\nk.wav,1\nk.wav,2\n", "holds 'k.wav' twice, with different values"),
        ("key,team\nk.wav,1,2,3\n", "cannot be read"),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(tmp_path, content, message):
    put(tmp_path, "k.wav")
    if content is not None:
        (tmp_path / "list.csv").write_text(content)
    options = SourceOptions(
        uri=str(tmp_path), pattern="{call_id}.{ext}", date_from="last_modified", manifest=str(tmp_path / "list.csv"),
        dimensions={"team": "manifest:team"},
    )  # fmt: skip
    with pytest.raises(SourceError, match=message):
        worked(options)


def test_dimensions_of_a_sidecar(tmp_path):
    put(tmp_path, "2026/11/20/a.wav")
    put(tmp_path, "2026/11/20/b.wav")
    put(tmp_path, "2026/11/20/c.wav")
    call = {"agents": [{"name": "ann"}], "queue": "sales", "minutes": 3, "lost": None, "parts": {}}
    put(tmp_path, "2026/11/20/a_metadata.json", json.dumps({"call": call}).encode())
    put(tmp_path, "2026/11/20/b_metadata.json", b'{"call": "none"}')
    options = SourceOptions(
        uri=str(tmp_path), pattern=DATED, sidecar="{stem}_metadata.json",
        dimensions={
            "agent": "sidecar:call.agents.0.name", "queue": "sidecar:call.queue", "minutes": "sidecar:call.minutes",
            "lost": "sidecar:call.lost", "parts": "sidecar:call.parts", "more": "sidecar:call.agents.1.name",
        },
    )  # fmt: skip
    found = worked(options)
    assert {key[11]: dict(list(item.dimensions.items())[2:]) for key, item in found.items()} == {
        "a": {"agent": "ann", "queue": "sales", "minutes": "3"}, "b": {}, "c": {},
    }  # fmt: skip
    put(tmp_path, "2026/11/20/c_metadata.json", b"{")
    with pytest.raises(SourceError, match=r"the sidecar '2026/11/20/c_metadata.json' is no JSON"):
        worked(options)


def test_the_policy_rules_out_by_what_is_looked_up(tmp_path):
    put(tmp_path, "2026/11/20/a.wav")
    put(tmp_path, "2026/11/20/b.wav")
    put(tmp_path, "2026/11/20/a.json", b'{"team": "lab"}')
    options = SourceOptions(
        uri=str(tmp_path), pattern=DATED, sidecar="{stem}.json", dimensions={"team": "sidecar:team"}
    )
    found = worked(options, Policy(exclude={"team": ("lab",)}))
    assert {key: item.excluded is not None for key, item in found.items()} == {
        "2026/11/20/a.wav": True, "2026/11/20/b.wav": False,
    }  # fmt: skip


def test_keys_without_an_ending_are_recordings_where_they_begin_like_one(tmp_path):
    for name, content in (
        ("RE1", WAV), ("RE2", b"ID3\x04"), ("RE3", b"dear diary"), ("RE4", b""), ("1700000000.12", WAV),
        ("x.json", WAV), ("y.wav", b"no"),
    ):  # fmt: skip
        put(tmp_path, f"2026/11/20/{name}", content)
    options = SourceOptions(uri=str(tmp_path), pattern="{date:%Y/%m/%d}/{call_id}", sniff=True)
    source = open_source(options.uri, options.s3)
    (chunk,) = plan_day(
        source, options.key_pattern(), None, DAY, key=KEY, policy=Policy(), beyond=enrichment(source, options)
    )
    assert [item.key[11:] for item in chunk.work] == ["1700000000.12", "RE1", "RE2", "y.wav"]
    assert (chunk.figures.found, chunk.figures.missing, chunk.figures.not_audio) == (4, 4, 3)
    assert [each[:11] for each in chunk.figures.named_keys] == ["is no audio"] * 3
    silent = enrichment(source, options.model_copy(update={"sniff": False}))
    assert [
        each.key
        for each in list_day(source, options.key_pattern(), DAY, silent)
        if isinstance(each, SourceObject)
    ] == ["2026/11/20/y.wav"]


@pytest.mark.parametrize(
    ("key", "template", "beside"),
    [
        ("a/b.wav", "{key}.json", "a/b.wav.json"), ("a/b.c.wav", "{stem}_metadata.json", "a/b.c_metadata.json"),
        ("b.wav", "{stem}.json", "b.json"), ("a/b", "{stem}.json", "a/b.json"),
        ("a.b/c", "meta/{folder}/{name}.json", "meta/a.b/c.json"),
    ],
)  # fmt: skip
def test_the_sidecar_of_a_key(key, template, beside):
    assert sidecar_key(template, key) == beside


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'dimensions = { team = "team" }',
            "'team' names no place that a value comes from; expected one of metadata:NAME",
        ),
        ('dimensions = { team = "tag:" }', "'tag:' names no place"),
        (
            'dimensions = { team = "sidecar:team" }',
            'sidecar: is needed for sidecar:…; for example sidecar = "{stem}.json"',
        ),
        ('dimensions = { team = "manifest:team" }', "manifest: is needed"),
        ('dimensions = { site = "tag:site" }', "source.dimensions names site, which source.pattern gives"),
        ('date_from = "last_modified"', "every pattern has a date of its own"),
        (
            'date_from = "upload"\npattern = "{a}.{ext}"',
            "date_from: 'upload' names no place .*, or last_modified",
        ),
        ('pattern = "{a}.{ext}"', "or source.date_from where no key holds one"),
        ('pattern = "{date:%Y/%m}/{a}.{ext}"\ndate_from = "last_modified"', "does not give a full date"),
        ('sidecar = "call.json"', "the same for every recording"),
        ('sidecar = "{id}.json"', "expected a key made of"),
        ("pattern = []", "needs one pattern at least"),
        ('key_timezone = "Berlin"', "no time zone is called 'Berlin'"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(tmp_path, text, message):
    (tmp_path / "emolake.toml").write_text(f"[source]\n{text}\n")
    with pytest.raises(ConfigurationError, match=message.replace("{", r"\{").replace("}", r"\}")):
        load_settings(tmp_path / "emolake.toml")


def test_what_is_looked_up_can_be_aggregated_and_a_manifest_lies_beside_the_configuration(tmp_path):
    (tmp_path / "emolake.toml").write_text(
        '[source]\nmanifest = "list.csv"\ndimensions = { team = "manifest:team" }\n[aggregate]\nby = ["site", "team"]\n'
    )
    settings: Settings = load_settings(tmp_path / "emolake.toml")
    assert settings.source.manifest == str(tmp_path / "list.csv")
    assert settings.source.dimension_names() == ("site", "call_id", "ext", "team")


def test_a_folder_has_no_metadata(tmp_path):
    options = SourceOptions(uri=str(tmp_path), pattern=DATED, dimensions={"team": "metadata:team"})
    with pytest.raises(SourceError, match="is a folder, whose files have no metadata; use sidecar:PATH"):
        enrichment(FolderSource(tmp_path), options)


def test_metadata_of_a_real_server(s3, monkeypatch):
    url, _ = s3
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    options = SourceOptions(
        uri="s3://calls", endpoint_url=url, region="us-east-1", pattern="{call_id}.{ext}", timezone="Europe/Berlin",
        date_from="metadata:Started", dimensions={"team": "metadata:Team"},
    )  # fmt: skip
    source = open_source(options.uri, options.s3)
    assert isinstance(source, S3Source)
    for name, started, team in (
        ("a", "2026-11-19T23:30:00Z", "red"),
        ("b", "2026-11-20T23:30:00Z", ""),
        ("c", "1795132800", ""),
    ):
        data = {"started": started, **({"team": team} if team else {})}
        source.client.put_object(Bucket="calls", Key=f"{name}.wav", Body=WAV, Metadata=data)
    found = worked(options)
    assert {key: item.dimensions.get("team") for key, item in found.items()} == {
        "a.wav": "red",
        "c.wav": None,
    }
    assert found["a.wav"].recorded_at == datetime(2026, 11, 19, 23, 30, tzinfo=UTC)
    assert found["c.wav"].recorded_at == datetime(2026, 11, 20, tzinfo=UTC)
    tagged = options.model_copy(update={"dimensions": {"team": "tag:team"}, "date_from": "last_modified"})
    today = datetime.now(tagged.zone).date()
    # This server knows no tags, and says so; emolake says which right and which key.
    lookup = enrichment(source, tagged).dimensions
    assert lookup is not None
    assert len(keys(tagged, today)) == 3
    with pytest.raises(
        SourceError, match=r"to get_object_tagging of 'a.wav'.* needs the right s3:GetObjectTagging"
    ):
        lookup.of(["a.wav"])


@contextmanager
def tagging_server() -> Iterator[str]:
    """URL of a server that gives every object one tag, and knows nothing of those called gone."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gone = "gone" in self.path
            body = b"<Error><Code>NoSuchKey</Code></Error>" if gone else (
                b"<Tagging><TagSet><Tag><Key>team</Key><Value>blue</Value></Tag></TagSet></Tagging>"
            )  # fmt: skip
            self.send_response(404 if gone else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_tags_of_an_object(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with tagging_server() as url:
        options = SourceOptions(
            uri="s3://calls/x",
            endpoint_url=url,
            region="us-east-1",
            dimensions={"team": "tag:team", "more": "tag:more"},
        )
        lookup = enrichment(open_source(options.uri, options.s3), options).dimensions
        assert lookup is not None
        assert lookup.of(["a.wav", "gone.wav"]) == [{"team": "blue"}, {}]


@pytest.mark.parametrize(
    ("code", "status", "kind", "said"),
    [
        (
            "ExpiredToken",
            400,
            SourceError,
            r"renew the session's credentials \(met at head_object of 'a.wav'\)",
        ),
        ("SlowDown", 503, TransientSourceError, "needs the right s3:GetObject,"),
        ("AccessDenied", 403, SourceError, "needs the right s3:GetObject,"),
    ],
)
def test_a_lookup_that_is_refused_says_what_listings_and_reads_say(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int, kind: type[SourceError], said: str
) -> None:
    source = S3Source("s3://calls", SourceOptions().s3)
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}

    def refused(*_arguments: object, **_named: object) -> None:
        raise ClientError(answer, "HeadObject")  # type: ignore[arg-type]

    monkeypatch.setattr(source, "ask", refused)
    with pytest.raises(SourceError, match=said) as caught:
        object_metadata(source, "a.wav")
    assert type(caught.value) is kind
