"""What an error of S3 means: whether it passes, whether it is about one object, and what to do."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ProfileNotFound,
    ProxyConnectionError,
    SSLError,
)

from emolake.messages import redacted
from emolake.source.s3_client import NoListingError, RedirectedError, UnreadableAnswerError
from emolake.source.store import SourceError, TransientSourceError
from emolake.source.uris import without_secrets

# Error codes of S3 and its look-alikes that say "ask again later", beside the statuses that do.
_TRANSIENT_CODES = {
    "SlowDown",
    "InternalError",
    "OperationAborted",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "KMS.ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
}
_NOT_IMPLEMENTED_CODES = {"501", "NotImplemented", "405", "MethodNotAllowed"}
# Codes that speak of credentials, clock, region or bucket. On one object they may still be about that object alone:
# the source is asked once more to tell.
_OF_SOURCE_CODES = {
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "ExpiredTokenException",
    "IllegalLocationConstraintException",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidSecurity",
    "InvalidToken",
    "NoSuchBucket",
    "NotSignedUp",
    "PermanentRedirect",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TemporaryRedirect",
    "TokenRefreshRequired",
    "UnauthorizedAccess",
}
_MISSING_CODES = {"404", "NoSuchKey", "NoSuchVersion", "NotFound"}
_MOST_SAID = 200


def code_of(error: Exception) -> str:
    """Return S3's error code, the status of an answer without one, or the kind of what went wrong on the way."""
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def is_missing(error: Exception) -> bool:
    """Return whether an object is not there."""
    return code_of(error) in _MISSING_CODES


def is_shorter(error: Exception) -> bool:
    """Return whether an object ends before the place from which it was asked for."""
    return code_of(error) in ("416", "InvalidRange")


def is_transient(error: Exception) -> bool:
    """Return whether the same request may succeed later."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        passing = status == 429 or (status >= 500 and code_of(error) not in _NOT_IMPLEMENTED_CODES)
        return passing or code_of(error) in _TRANSIENT_CODES
    # An endpoint that does not exist is reported at once; botocore has made its own attempts by now.
    return isinstance(error, HTTPClientError | IncompleteReadError) and not isinstance(
        error, EndpointConnectionError
    )


def may_concern_source(error: Exception) -> bool:
    """Return whether an error that was met on one object may be about the source as a whole."""
    if isinstance(error, ClientError):
        return code_of(error) in _OF_SOURCE_CODES or _status(error) in range(300, 400)
    return True


def lacks_second_version(error: Exception) -> bool:
    """Return whether the server may know the first version of listings only."""
    return code_of(error) in {*_NOT_IMPLEMENTED_CODES, "InvalidArgument", "UnsupportedOperation"}


def refusal(error: Exception) -> str:
    """Return what a server says that does not give one object, with the remedy where it is known."""
    code, said = code_of(error), _said(error)
    remedy = ""
    if code == "InvalidObjectState":
        remedy = "; restore it from its archive"
    elif code.startswith("KMS.") or "kms" in said.lower():
        remedy = "; enable its KMS key, or grant kms:Decrypt"
    elif "Server Side Encryption" in said:
        remedy = "; it is encrypted with a customer's own key (SSE-C): store it without"
    elif code in ("403", "AccessDenied"):
        remedy = "; grant s3:GetObject on it, and kms:Decrypt on its key if it has one"
    return f"the server refuses it: {code}{f' ({said})' if said else ''}{remedy}"


def explained(error: Exception, *, uri: str, endpoint: str | None, met: str) -> SourceError:
    """Return one sentence on what keeps the source as a whole from answering, with the remedy.

    Args:
        error: what a request ended with.
        uri: of the source.
        endpoint: of an S3-compatible server; None for AWS.
        met: what was asked for, as in "when 'a.wav' was read".
    """
    kind = TransientSourceError if is_transient(error) else SourceError
    where = f"{uri} at {without_secrets(endpoint)}" if endpoint else uri
    if isinstance(error, ClientError):
        return kind(f"{uri} answered {code_of(error)}; {_remedy(error)} (met {met})")
    if isinstance(error, RedirectedError):
        location = without_secrets(error.location)
        return kind(f"{where} redirects to {location}; {_other_place(endpoint, location)} (met {met})")
    if isinstance(error, NoListingError):
        return kind(
            f"{where} answered with no listing of S3 but {error}; correct source.endpoint_url: it may name the "
            f"port of a console or of a web server instead of that of the API (met {met})"
        )
    remedy = "check source.endpoint_url and the credentials"
    if isinstance(error, SSLError):
        remedy = (
            "if the server speaks plain HTTP, begin source.endpoint_url with http://; if its certificate is of "
            "an authority of your own, name that by AWS_CA_BUNDLE"
        )
    elif isinstance(error, ProxyConnectionError):
        remedy = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
    elif isinstance(error, ProfileNotFound):
        remedy = "check AWS_PROFILE"
    elif "Region" in code_of(error):
        remedy = "correct source.region, or AWS_REGION"
    elif isinstance(error, UnreadableAnswerError):
        return kind(f"{where} gave an answer that cannot be read: {error} (met {met})")
    return kind(f"{where} cannot be reached: {code_of(error)}; {remedy} (met {met})")


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _said(error: Exception) -> str:
    """Return the message of an answer, fit to be shown; the bare name of a status says no more than its number."""
    said = error.response["Error"].get("Message", "") if isinstance(error, ClientError) else str(error)
    line = " ".join(str(said).split())
    return redacted(line[:_MOST_SAID])


def _remedy(error: ClientError) -> str:
    code = code_of(error)
    details: Mapping[str, Any] = error.response["Error"]
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = details.get("Region") or headers.get("x-amz-bucket-region")
    if code in _OTHER_REGION_CODES or (region and _status(error) in range(300, 400)):
        if region:
            return f'the bucket is in another region: set source.region = "{region}"'
        place = f", and answers at {details['Endpoint']}" if details.get("Endpoint") else ""
        return (
            f"the bucket is in another region{place}: set source.region, and source.endpoint_url if it is set"
        )
    if code == "RequestTimeTooSkewed":
        theirs = details.get("ServerTime") or headers.get("date")
        shown = f"the server has {theirs}" if theirs else "the server's differs"
        return f"set the clock of this machine, by NTP for example: {shown}"
    if _status(error) in range(300, 400):
        return _other_place(None, str(headers.get("location", "another place")))
    if code in _NOT_IMPLEMENTED_CODES:
        return "it lists neither by ListObjectsV2 nor by ListObjects; check that source.endpoint_url is of an S3 server"
    return _REMEDIES.get(code, f"see the server's log{f': it says {_said(error)}' if _said(error) else ''}")


def _other_place(endpoint: str | None, location: str) -> str:
    if endpoint and endpoint.startswith("http://") and location.startswith("https://"):
        return "begin source.endpoint_url with https://"
    return (
        "set source.endpoint_url to where the server itself answers, with http:// or https:// as it wants it"
    )


_OTHER_REGION_CODES = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "TemporaryRedirect",
    "IllegalLocationConstraintException",
}
_REMEDIES = {
    "NoSuchBucket": "create the bucket or correct source.uri",
    "InvalidBucketName": "correct source.uri",
    "403": "check the credentials and the bucket's policy",
    "AccessDenied": "check the credentials and the bucket's policy",
    "AllAccessDisabled": "ask the bucket's owner, or correct source.uri",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY or the profile",
    "ExpiredToken": "renew the session's credentials",
    "ExpiredTokenException": "renew the session's credentials",
    "TokenRefreshRequired": "renew the session's credentials",
    "InvalidToken": "check AWS_SESSION_TOKEN or the profile",
    "RequestExpired": "renew the session's credentials, and set the clock of this machine",
    "400": "check the scheme of source.endpoint_url (http:// or https://), and source.region",
    "404": "check source.endpoint_url, source.addressing and the bucket's name in source.uri",
}
