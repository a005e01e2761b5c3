"""Sources: an S3 bucket on a real server and a folder behave alike, and every failure says what to do."""

import os
import tracemalloc
from pathlib import Path

import pytest

from emolake.errors import BadRecordingError, ConfigurationError, Reason
from emolake.source.access import S3Options
from emolake.source.folder import FolderSource
from emolake.source.opening import open_source
from emolake.source.s3 import S3Source
from emolake.source.store import SourceError, TransientSourceError, VersionChangedError
from emolake.source.uris import without_secrets

from chaos.proxy import Shorten, faulty

KEYS = [
    "2026/11/19/oslo/a.wav",
    '2026/11/20/berlin/it\'s "quoted" & 100%25?.mp3',
    "2026/11/20/oslo/reclamação 3 + reembolso #2.wav",
    "2026/11/20/oslo/お問い合わせ.opus",
    "2026/11/200/oslo/b.wav",
]


def fill(folder: Path) -> None:
    for key in KEYS:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(key.encode())


@pytest.fixture(params=["folder", "s3", "s3 below a prefix"])
def source(request, tmp_path):
    """The keys behind each kind of source, with the folder that holds them."""
    if request.param == "folder":
        fill(tmp_path)
        return open_source(str(tmp_path), S3Options()), tmp_path
    url, root = request.getfixturevalue("s3")
    below = "s3://calls/some where" if "prefix" in request.param else "s3://calls"
    folder = root / below.removeprefix("s3://")
    fill(folder)
    return open_source(below, S3Options(endpoint_url=url, attempts=1)), folder


def test_lists_what_starts_with_the_prefix(source):
    source, _ = source
    assert [entry.key for entry in source.list("2026/11/20/")] == KEYS[1:4]
    assert [entry.key for entry in source.list("2026/11/20")] == KEYS[1:]
    assert [entry.key for entry in source.list("2026/11/19/oslo/a.w")] == KEYS[:1]
    assert list(source.list("2025/")) == []
    assert {entry.key: entry.size_bytes for entry in source.list("")} == {
        key: len(key.encode()) for key in KEYS
    }


def test_lists_the_folders_under_a_prefix(source):
    source, _ = source
    assert sorted(source.list_prefixes("2026/11/")) == ["2026/11/19/", "2026/11/20/", "2026/11/200/"]
    assert sorted(source.list_prefixes("2026/11/20")) == ["2026/11/20/", "2026/11/200/"]
    assert list(source.list_prefixes("2026/11/20/oslo/")) == []
    assert list(source.list_prefixes("nowhere/")) == []


def test_reads_every_key_from_any_offset(source):
    source, _ = source
    for entry in source.list(""):
        assert b"".join(source.read(entry.key, entry.version, 0)) == entry.key.encode()
        assert b"".join(source.read(entry.key, entry.version, 5)) == entry.key.encode()[5:]


def test_uris_name_the_key_as_it_is(source):
    source, _ = source
    for key in KEYS:
        assert source.object_uri(key) == f"{source.uri}/{key}"


def test_a_changed_object_is_another_version(source):
    source, folder = source
    (before,) = source.list(KEYS[0])
    path = folder / KEYS[0]
    path.write_bytes(b"x" * before.size_bytes)
    os.utime(path, ns=(0, 1_800_000_000_000_000_000))
    (after,) = source.list(KEYS[0])
    assert before.version != after.version
    assert [entry.version for entry in source.list(KEYS[1])] == [
        entry.version for entry in source.list(KEYS[1])
    ]


def test_what_is_gone_is_vanished(source):
    source, folder = source
    (entry,) = source.list(KEYS[0])
    (folder / KEYS[0]).unlink()
    with pytest.raises(BadRecordingError) as caught:
        list(source.read(entry.key, entry.version, 0))
    assert caught.value.reason is Reason.VANISHED


def test_more_keys_than_a_page(s3):
    url, folder = s3
    (folder / "calls" / "d").mkdir()
    for number in range(1005):
        (folder / "calls" / "d" / f"{number:04d}").write_bytes(b"")
    source = S3Source("s3://calls", S3Options(endpoint_url=url))
    assert [entry.key for entry in source.list("d/")] == [f"d/{number:04d}" for number in range(1005)]


def test_another_version_on_s3_says_which(s3):
    url, folder = s3
    (folder / "calls" / "a.wav").write_bytes(b"first")
    source = S3Source("s3://calls", S3Options(endpoint_url=url))
    (listed,) = source.list("")
    (folder / "calls" / "a.wav").write_bytes(b"second one")
    with pytest.raises(VersionChangedError, match=r"a\.wav was replaced") as caught:
        list(source.read("a.wav", listed.version, 0))
    (now,) = source.list("")
    assert (caught.value.version, caught.value.size_bytes) == (now.version, 10)


def test_a_missing_bucket_says_so(s3):
    source = S3Source("s3://nowhere", S3Options(endpoint_url=s3[0], attempts=1))
    with pytest.raises(SourceError, match="NoSuchBucket; create the bucket or correct source.uri") as caught:
        list(source.list(""))
    assert not isinstance(caught.value, TransientSourceError)


def test_wrong_credentials_say_so_and_stay_out(s3, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    source = S3Source("s3://calls", S3Options(endpoint_url=s3[0], attempts=1))
    with pytest.raises(SourceError, match="check ") as caught:
        list(source.list(""))
    assert "hunter2" not in str(caught.value)
    assert not isinstance(caught.value, TransientSourceError)


def test_no_credentials_at_all_say_so(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SourceError, match="NoCredentialsError; check .* the credentials"):
        list(S3Source("s3://calls", S3Options(endpoint_url="http://127.0.0.1:1", attempts=1)).list(""))


def test_a_server_that_is_not_there_is_not_asked_for_ever():
    options = S3Options(endpoint_url="http://user:hunter2@127.0.0.1:1", attempts=1, connect_timeout_s=1)
    with pytest.raises(SourceError, match=r"s3://calls at http://127\.0\.0\.1:1 cannot be reached") as caught:
        list(S3Source("s3://calls", options).list(""))
    assert "hunter2" not in str(caught.value)
    assert not isinstance(caught.value, TransientSourceError)


def test_a_listing_that_is_not_all_there_is_no_listing(s3):
    (s3[1] / "calls" / "a.wav").write_bytes(b"x")
    with (
        faulty(s3[0], lambda _: Shorten(0.7)) as proxy,
        pytest.raises(TransientSourceError, match="answered 500"),
    ):
        list(S3Source("s3://calls", S3Options(endpoint_url=proxy.url, attempts=1)).list(""))


def test_a_missing_folder_says_so(tmp_path):
    with pytest.raises(SourceError, match="does not exist; create it or correct source.uri"):
        list(FolderSource(tmp_path / "nowhere").list(""))
    (tmp_path / "a.wav").write_bytes(b"x")
    with pytest.raises(SourceError, match="a.wav is a file; give a folder of recordings"):
        list(FolderSource(tmp_path / "a.wav").list(""))


def test_a_file_is_read_in_place(tmp_path):
    fill(tmp_path)
    assert FolderSource(tmp_path).local_path(KEYS[0]) == (tmp_path / KEYS[0]).resolve()


def test_a_link_out_of_the_folder_is_listed_and_refused(tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"private")
    folder = tmp_path / "calls"
    folder.mkdir()
    (folder / "link.wav").symlink_to(secret)
    source = FolderSource(folder)
    assert [entry.key for entry in source.list("")] == ["link.wav"]
    with pytest.raises(BadRecordingError, match="out of the source's folder"):
        list(source.read("link.wav", "v", 0))
    with pytest.raises(BadRecordingError, match="out of the source's folder"):
        source.local_path("../secret.wav")


def test_a_link_in_a_circle_ends(tmp_path):
    fill(tmp_path)
    (tmp_path / "2026" / "again").symlink_to(tmp_path)
    (tmp_path / "broken.wav").symlink_to(tmp_path / "nothing")
    keys = [entry.key for entry in FolderSource(tmp_path).list("")]
    assert len(keys) == len(KEYS) + 2
    with pytest.raises(BadRecordingError, match="gone"):
        FolderSource(tmp_path).local_path("broken.wav")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host/calls", "expected s3://bucket"),
        ("s3://", "expected s3://bucket"),
        ("s3://key:hunter2@calls", "carries credentials"),
        ("s3://calls?token=hunter2", "carries credentials"),
    ],
)
def test_a_uri_that_cannot_be_is_refused_without_its_secrets(uri, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_source(uri, S3Options())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("uri", ["file:///recordings", "/recordings", "recordings"])
def test_folders_in_every_spelling(uri):
    assert isinstance(open_source(uri, S3Options()), FolderSource)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://key:se/cret@bucket/a", "s3://bucket/a"),
        ("s3://key:se/cret", "s3://key"),
        ("s3://calls?token=a/b", "s3://calls"),
        ("s3://calls/x@y/a:b.wav", "s3://calls/x@y/a:b.wav"),
        ("http://127.0.0.1:9000/a", "http://127.0.0.1:9000/a"),
        ("https://u:p@host/a?sig=x", "https://host/a"),
        ("http://token@host", "http://host"),
        ("/home/a@b/c?d", "/home/a@b/c?d"),
    ],
)
def test_without_secrets(uri, shown):
    assert without_secrets(uri) == shown


def test_a_folder_of_many_files_takes_the_memory_of_their_names(tmp_path):
    names = 3000
    for number in range(names):
        (tmp_path / f"{number:06}.wav").touch()
    source = FolderSource(tmp_path)
    tracemalloc.start()
    assert sum(1 for _ in source.list("")) == names
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most / names < 120
