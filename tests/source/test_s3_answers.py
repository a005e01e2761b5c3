"""What S3 and its look-alikes really answer: one object's trouble stays its own, the source's names key and remedy."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emolake.demo.s3_server import serve_s3
from emolake.errors import BadRecordingError, Reason
from emolake.schemas.records import SourceObject
from emolake.source.access import S3Options
from emolake.source.s3 import S3Source
from emolake.source.store import SourceError, TransientSourceError
from emolake.tasks.fetch import FetchOptions, fetched

from chaos.proxy import Answer, Fault, Proxy, Request, Rewrite, faulty
from chaos.servers import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.server
NAMES = [f"2026/11/20/oslo/{number:02d}.wav" for number in range(8)]
BAD = NAMES[4]
FETCH = FetchOptions(backoff_s=0, download_attempts=2)
XML = {"Content-Type": "application/xml"}
KEY_ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def xml(status: int, code: str, message: str = "", more: str = "", **headers: str) -> Answer:
    """An error as S3 writes it."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>{more}"
        "<RequestId>4442587FB7D0A2F9</RequestId><HostId>VExd9GZY</HostId></Error>"
    )
    return Answer(
        status, body.encode(), XML | {name.replace("_", "-"): each for name, each in headers.items()}
    )


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """URL of a server with the objects in its bucket `calls`, and the bucket's folder."""
    folder = tmp_path_factory.mktemp("s3")
    for name in NAMES:
        (folder / "calls" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "calls" / name).write_bytes(name.encode() * 10)
    with serve_s3(folder, access_key=ACCESS_KEY, secret_key=SECRET_KEY) as url:
        yield url, folder / "calls"


def source_at(url: str, **options: object) -> S3Source:
    return S3Source("s3://calls", S3Options(endpoint_url=url, attempts=1, **options))  # type: ignore[arg-type]


def planned(source: S3Source) -> list[SourceObject]:
    return [
        SourceObject(each.key, source.object_uri(each.key), each.key, each.version, each.size_bytes,
                     date(2026, 11, 20), None, {})
        for each in source.list("2026/")
    ]  # fmt: skip


def results_of(source: S3Source) -> tuple[list[str], dict[str, BadRecordingError]]:
    """The keys that were downloaded whole, and the reasons of the others."""
    good, bad = [], {}
    with fetched(source, planned(source), options=FETCH) as results:
        for item, result in results:
            if isinstance(result, Path):
                assert result.read_bytes() == item.key.encode() * 10
                good.append(item.key)
            else:
                bad[item.key] = result
    return good, bad


@contextmanager
def answering(answer: Answer) -> Iterator[Proxy]:
    """A server that gives one answer to whatever is asked."""
    with faulty("http://127.0.0.1:1", lambda _: answer) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def before(calls: tuple[str, Path]) -> Iterator[tuple[Proxy, S3Source]]:
    """A proxy before the server, whose faults a test sets, and a source behind it: a client takes long to make."""
    with faulty(calls[0], lambda _: None) as proxy:
        yield proxy, source_at(proxy.url)


REFUSALS = {
    "a disabled KMS key": (xml(400, "KMS.DisabledException", f"{KEY_ARN} is disabled."), "enable its KMS key"),
    "a KMS key pending deletion": (
        xml(400, "KMS.KMSInvalidStateException", f"{KEY_ARN} is pending deletion."), "enable its KMS key"),
    "a KMS key that is gone": (xml(400, "KMS.NotFoundException", f"Key '{KEY_ARN}' does not exist"), "KMS key"),
    "no right to the KMS key": (
        xml(403, "AccessDenied", f"User: arn:aws:sts::1:assumed-role/x is not authorized to perform: kms:Decrypt on "
            f"resource: {KEY_ARN}"), "grant kms:Decrypt"),
    "SSE-C": (
        xml(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption. The correct "
            "parameters must be provided to retrieve the object."), "SSE-C"),
    "an archived object": (
        xml(403, "InvalidObjectState", "The operation is not valid for the object's storage class",
            "<StorageClass>DEEP_ARCHIVE</StorageClass>"), "restore it from its archive"),
    "a bucket policy on one key": (xml(403, "AccessDenied", "Access Denied"), "grant s3:GetObject"),
    "403 without a body": (Answer(403), "refuses it: 403"),
    "400 without a body": (Answer(400), "refuses it: 400"),
    "a web page": (Answer(400, b"<html><body>Bad<br></body></html>", {"Content-Type": "text/html"}), "400"),
    "a legal hold": (Answer(451, b"", {}), "451"),
    "a delete marker": (xml(405, "MethodNotAllowed", "The specified method is not allowed."), "MethodNotAllowed"),
    "a precondition": (xml(412, "PreconditionFailed", "At least one of the pre-conditions"), "Precondition"),
    "a conflict": (xml(409, "InvalidBucketState", "x"), "InvalidBucketState"),
    "gone": (Answer(410), "410"),
    "a long key": (xml(400, "KeyTooLongError", "Your key is too long"), "KeyTooLongError"),
    "a signature of one odd key": (xml(403, "SignatureDoesNotMatch", "x"), "SignatureDoesNotMatch"),
    "a redirect of one key": (Answer(302, b"", {"Location": "https://elsewhere.example/x"}), "elsewhere"),
    "a code of the future": (xml(422, "SomethingNew", "of 2031"), "SomethingNew (of 2031)"),
    "a broken disk": (xml(500, "InternalError", "We encountered an internal error."), "InternalError"),
    "a busy shard": (xml(503, "SlowDown", "Please reduce your request rate."), "SlowDown"),
    "too many requests": (Answer(429), "429"),
    "storage that is full": (Answer(507), "507"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_concerns_one_object_is_its_own(before: tuple[Proxy, S3Source], case: str) -> None:
    (answer, said), (proxy, source) = REFUSALS[case], before
    proxy.fault_of = lambda request: answer if request.path == f"/calls/{BAD}" else None
    good, bad = results_of(source)
    assert good == [name for name in NAMES if name != BAD]
    assert list(bad) == [BAD]
    assert (bad[BAD].reason, bad[BAD].stage) == (Reason.FETCH_FAILED, "fetch")
    assert said in bad[BAD].message


OF_THE_SOURCE = {
    "an expired token": (xml(400, "ExpiredToken", "The provided token has expired."), "ExpiredToken; renew"),
    "a deleted access key": (xml(403, "InvalidAccessKeyId", "x"), "check AWS_ACCESS_KEY_ID"),
    "a clock": (xml(403, "RequestTimeTooSkewed", "x", "<ServerTime>2026</ServerTime>"), "set the clock"),
    "a bucket that was deleted": (xml(404, "NoSuchBucket", "x"), "create the bucket or correct source.uri"),
    "another region": (xml(400, "AuthorizationHeaderMalformed", "x", "<Region>eu-west-1</Region>"),
                       'set source.region = "eu-west-1"'),
    "a redirect": (Answer(301, b"", {"Location": "https://127.0.0.1/"}), "begin source.endpoint_url with https://"),
}  # fmt: skip


@pytest.mark.parametrize("case", OF_THE_SOURCE)
def test_what_concerns_the_source_names_the_key_that_met_it(
    before: tuple[Proxy, S3Source], case: str
) -> None:
    (answer, said), (proxy, source) = OF_THE_SOURCE[case], before
    proxy.fault_of = lambda _: None
    listed = planned(source)
    proxy.fault_of = lambda _: answer
    with (
        pytest.raises(SourceError, match=re.escape(said)) as caught,
        fetched(source, listed[4:5], options=FETCH) as results,
    ):
        list(results)
    assert repr(BAD) in str(caught.value)
    assert not isinstance(caught.value, TransientSourceError)


LISTINGS = {
    "301 to https": (Answer(301, b"", {"Location": "https://127.0.0.1/calls"}), "begin source.endpoint_url with https://"),
    "302 to https": (Answer(302, b"", {"Location": "https://127.0.0.1/calls"}), "begin source.endpoint_url with https://"),
    "303 elsewhere": (Answer(303, b"", {"Location": "/login"}), "redirects to /login; set source.endpoint_url"),
    "307 to https": (Answer(307, b"", {"Location": "https://127.0.0.1/calls"}), "begin source.endpoint_url with https://"),
    "308 to https": (Answer(308, b"", {"Location": "https://127.0.0.1/calls"}), "begin source.endpoint_url with https://"),
    "301 with a page": (
        Answer(301, b"<html><head><title>301 Moved</title></head><body>nginx</body></html>",
               {"Location": "http://s3.example/", "Content-Type": "text/html"}), "redirects to http://s3.example/"),
    "301 to nowhere": (Answer(301), "redirects to a place that it does not name"),
    "PermanentRedirect": (
        xml(301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified "
            "endpoint.", "<Endpoint>calls.s3.eu-west-1.amazonaws.com</Endpoint><Bucket>calls</Bucket>"),
        "redirects to calls.s3.eu-west-1.amazonaws.com"),
    "PermanentRedirect with a region": (
        xml(301, "PermanentRedirect", "x", "<Endpoint>e</Endpoint>", x_amz_bucket_region="eu-west-1"),
        'set source.region = "eu-west-1"'),
    "TemporaryRedirect": (
        xml(307, "TemporaryRedirect", "x", "<Endpoint>e</Endpoint>", x_amz_bucket_region="eu-west-1"),
        'set source.region = "eu-west-1"'),
    "AuthorizationHeaderMalformed": (
        xml(400, "AuthorizationHeaderMalformed", "The authorization header is malformed; the region 'us-east-1' is "
            "wrong; expecting 'eu-central-1'", "<Region>eu-central-1</Region>"), 'set source.region = "eu-central-1"'),
    "AuthorizationHeaderMalformed, no region": (xml(400, "AuthorizationHeaderMalformed", "x"), "set source.region"),
    "IllegalLocationConstraintException": (xml(400, "IllegalLocationConstraintException", "x"), "set source.region"),
    "RequestTimeTooSkewed": (
        xml(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
            "<RequestTime>20261127T010000Z</RequestTime><ServerTime>2026-11-27T03:00:00Z</ServerTime>"
            "<MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>"),
        "set the clock of this machine, by NTP for example: the server has 2026-11-27T03:00:00Z"),
    "plain HTTP to a TLS port": (Answer(400, b"Client sent an HTTP request to an HTTPS server.\n"), "check the scheme"),
    "no S3 at all": (Answer(404, b"404 page not found", {"Content-Type": "text/plain"}), "check source.endpoint_url"),
    "no listing at all": (xml(501, "NotImplemented", "x"), "neither by ListObjectsV2 nor by ListObjects"),
    "method": (Answer(405), "neither by ListObjectsV2 nor by ListObjects"),
    "a broken page of a console": (
        Answer(200, b"<!doctype html><html><head><title>MinIO Console</title><link rel=icon></head><br></html>",
               {"Content-Type": "text/html; charset=utf-8"}), "but text/html, 'MinIO Console'; correct"),
    "a page that is XML": (Answer(200, b"<html><body><p>hello</p></body></html>", {"Content-Type": "text/html"}),
                           "no listing of S3 but text/html"),
    "JSON": (Answer(200, b'{"status": "ok"}', {"Content-Type": "application/json"}), "but application/json"),
    "text": (Answer(200, b"It works!", {"Content-Type": "text/plain"}), "but text/plain"),
    "nothing": (Answer(200), "but an empty page"),
    "another XML": (Answer(200, b"<?xml version='1.0'?><feed><entry/></feed>", XML), "but application/xml"),
    "a list of buckets": (Answer(200, b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>", XML),
                          "no listing of S3"),
    "a time that is none": (
        Answer(200, b"<ListBucketResult><Name>c</Name><Contents><Key>a</Key><Size>1</Size>"
               b"<LastModified>never</LastModified></Contents></ListBucketResult>", XML), "cannot be read"),
    "a size that is none": (
        Answer(200, b"<ListBucketResult><Name>c</Name><Contents><Key>a</Key><Size>big</Size></Contents>"
               b"</ListBucketResult>", XML), "cannot be read"),
    "no size": (
        Answer(200, b"<ListBucketResult><Name>c</Name><Contents><Key>a</Key></Contents></ListBucketResult>", XML),
        "lists 'a' without its size"),
    "more, and not from where": (
        Answer(200, b"<ListBucketResult><Name>c</Name><IsTruncated>true</IsTruncated></ListBucketResult>", XML),
        "goes on, and not from where"),
    "more, and always from the same": (
        Answer(200, b"<ListBucketResult><Name>c</Name><IsTruncated>true</IsTruncated><NextContinuationToken>t"
               b"</NextContinuationToken></ListBucketResult>", XML), "goes on, and not from where"),
    "an unknown code": (xml(418, "Teapot", "short and stout"), "see the server's log: it says short and stout"),
}  # fmt: skip


@pytest.mark.parametrize("case", LISTINGS)
def test_a_listing_that_is_none_says_so_with_the_remedy(before: tuple[Proxy, S3Source], case: str) -> None:
    (answer, said), (proxy, source) = LISTINGS[case], before
    proxy.fault_of = lambda _: answer
    asked = len(proxy.requests)
    for ask in (source.list, source.list_prefixes):
        if case == "no size" and ask == source.list_prefixes:
            continue
        with pytest.raises(SourceError, match=re.escape(said)) as caught:
            list(ask("2026/11/20/"))
        assert not isinstance(caught.value, TransientSourceError)
        assert "\n" not in str(caught.value)
    assert len(proxy.requests) - asked <= 8


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    page=st.binary(max_size=200) | st.text("<>/ListBucketResultErrorhtml! \n\t", max_size=200).map(str.encode)
)
def test_no_page_whatever_is_taken_for_an_empty_listing(before: tuple[Proxy, S3Source], page: bytes) -> None:
    proxy, source = before
    proxy.fault_of = lambda _: Answer(200, page)
    with pytest.raises(SourceError):
        list(source.list(""))


def test_an_http_server_behind_https_says_which_scheme(calls: tuple[str, Path]) -> None:
    with pytest.raises(SourceError, match="begin source.endpoint_url with http://"):
        list(source_at(calls[0].replace("http://", "https://")).list(""))


# --- servers that list otherwise


def versions(source: S3Source) -> dict[str, str]:
    return {each.key: each.version for each in source.list("2026/")}


TAGS = re.compile(rb"<ETag>[^<]*</ETag>")
TIMES = re.compile(rb"<LastModified>[^<]*</LastModified>")
WITHOUT = {
    "no ETag": lambda body: TAGS.sub(b"", body),
    "an empty ETag": lambda body: TAGS.sub(b"<ETag></ETag>", body),
    "an ETag of quotes": lambda body: TAGS.sub(b"<ETag>&quot;&quot;</ETag>", body),
    "another ETag than a read gives": lambda body: TAGS.sub(rb"<ETag>abc</ETag>", body),
    "neither ETag nor time": lambda body: TIMES.sub(b"", TAGS.sub(b"", body)),
}


@pytest.mark.parametrize("without", [(), ("etag",), ("etag", "last-modified")])
@pytest.mark.parametrize("case", WITHOUT)
def test_a_version_is_what_the_listing_says(
    before: tuple[Proxy, S3Source], case: str, without: tuple[str, ...]
) -> None:
    """Every night finds the same versions, and what was read is known by the version that was listed."""

    def fault_of(request: Request) -> Fault | None:
        return Rewrite(WITHOUT[case]) if request.is_listing else Rewrite(lambda body: body, without)

    proxy, source = before
    proxy.fault_of = fault_of
    first = versions(source)
    assert len(first) == len(NAMES)
    assert all(first.values())
    with fetched(source, planned(source), options=FETCH) as results:
        read = {item.key: (item.version, result) for item, result in results}
    assert {key: version for key, (version, _) in read.items()} == first
    assert all(isinstance(result, Path) for _, result in read.values())
    assert versions(source) == first


@pytest.mark.parametrize("case", ["no ETag", "an empty ETag"])
def test_without_an_etag_a_replaced_object_is_another_version(
    calls: tuple[str, Path], before: tuple[Proxy, S3Source], case: str
) -> None:
    path, (proxy, source) = calls[1] / NAMES[3], before
    content = path.read_bytes()

    def fault_of(request: Request) -> Fault | None:
        return Rewrite(WITHOUT[case]) if request.is_listing else Rewrite(lambda body: body, ("etag",))

    proxy.fault_of = fault_of
    listed = planned(source)
    path.write_bytes(b"a longer text than the one before" * 20)
    with fetched(source, listed[3:4], options=FETCH) as results:
        ((item, read),) = ((item, Path(result).read_bytes()) for item, result in results)  # type: ignore[arg-type]
    assert read == path.read_bytes()
    assert item.version == versions(source)[NAMES[3]] != listed[3].version
    path.write_bytes(content)


def test_an_object_that_changes_at_every_read_is_its_own_trouble(
    calls: tuple[str, Path], before: tuple[Proxy, S3Source]
) -> None:
    path, count, (proxy, source) = calls[1] / NAMES[5], iter(range(1000)), before

    def fault_of(request: Request) -> Fault | None:
        if request.method == "GET" and request.path == f"/calls/{NAMES[5]}":
            path.write_bytes(b"x" * (1000 + next(count)))
        return None

    content = path.read_bytes()
    proxy.fault_of = fault_of
    good, bad = results_of(source)
    path.write_bytes(content)
    assert len(good) == 7
    assert "replaced again and again" in bad[NAMES[5]].message


def pages_by_marker(request: Request) -> Fault:
    """A server of the first version: it overlooks what it does not know, and gives three keys a page."""
    asked = {name: values[0] for name, values in parse_qs(request.query).items()}
    keys = [key for key in NAMES if key.startswith(asked.get("prefix", "")) and key > asked.get("marker", "")]
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-21T01:02:03.000Z</LastModified>"
        f"<ETag>&quot;{key[-6:-4]}&quot;</ETag><Size>7</Size></Contents>"
        for key in keys[:3]
    )
    body = (
        f"<ListBucketResult><Name>calls</Name><Marker>{asked.get('marker', '')}</Marker><MaxKeys>3</MaxKeys>"
        f"<IsTruncated>{'true' if len(keys) > 3 else 'false'}</IsTruncated>{contents}</ListBucketResult>"
    )
    return Answer(200, body.encode(), XML)


@pytest.mark.parametrize("prefix", ["", "2026/11/20/oslo/0", "2027"])
def test_a_server_that_overlooks_the_second_version_is_listed_whole(prefix: str) -> None:
    with faulty("http://127.0.0.1:1", pages_by_marker) as proxy:
        found = [each.key for each in source_at(proxy.url).list(prefix)]
    assert found == [name for name in NAMES if name.startswith(prefix)]


@pytest.mark.parametrize(
    "refusal", [xml(501, "NotImplemented"), xml(400, "InvalidArgument", "Unknown argument"), Answer(405)]
)
def test_a_server_that_refuses_the_second_version_is_asked_for_the_first(
    calls: tuple[str, Path], refusal: Answer
) -> None:
    def fault_of(request: Request) -> Fault | None:
        return refusal if "list-type=2" in request.query else None

    with faulty(calls[0], fault_of) as proxy:
        source = source_at(proxy.url)
        assert sorted(versions(source)) == NAMES
        assert list(source.list_prefixes("2026/11/")) == ["2026/11/20/"]
        assert sum("list-type=2" in each.query for each in proxy.requests) == 1


def test_a_region_that_cannot_be_says_so() -> None:
    with pytest.raises(SourceError, match="correct source.region"):
        list(source_at("http://s3.example", region="eu central").list(""))
