"""URIs that may be shown: without credentials."""

import re


def without_secrets(uri: str) -> str:
    """Return a URI without user, password and query, fit for logs and error messages.

    >>> without_secrets("s3://key:secret@bucket/calls?token=x")
    's3://bucket/calls'
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    host = re.split("[/?]", rest, maxsplit=1)[0]
    if "@" in host:
        rest = rest[host.rindex("@") + 1 :]
    elif ":" in host and not host.rpartition(":")[2].isdigit() and not host.endswith("]"):
        # No port: a secret with a slash in it, as AWS makes them, that was not percent-encoded.
        rest = rest.partition("@")[2] or host.partition(":")[0]
    return f"{scheme}://{rest.partition('?')[0]}"


def checked_uri(uri: str) -> str:
    """Return a URI as it is.

    Raises:
        ValueError: it carries credentials or a query.
    """
    if without_secrets(uri) != uri:
        raise ValueError(
            f"{without_secrets(uri)!r} carries credentials or a query; "
            "give credentials by the AWS chain (environment, profile or role)"
        )
    return uri


def checked_endpoint(url: str) -> str:
    """Return the URL of a server as it is.

    Raises:
        ValueError: it has another scheme than http or https, or carries credentials or a query.
    """
    scheme, separator, host = checked_uri(url).partition("://")
    if scheme.lower() not in ("http", "https") or not separator or not host:
        raise ValueError(f"{url!r} is no URL of a server; begin it with http:// or https://")
    return url
