"""Ports of this machine."""

import socket

from emolake.errors import ConfigurationError

LOCALHOST = "127.0.0.1"


def check_free(port: int, *, remedy: str) -> None:
    """Check that a port of this machine's own address can be listened on.

    Args:
        port: the port.
        remedy: what to do where it cannot.

    Raises:
        ConfigurationError: something else listens on it, or this user may not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} of {LOCALHOST} cannot be listened on ({error.strerror}); {remedy}"
            ) from error
