"""What is shown: no control of a terminal comes through, no secret, and nothing else is changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.messages import printable, redacted

SECRET = "hunter2+/x="


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m, \x07 and \r", r"\x9b31m, \x07 and \r"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("gpj.\u202ewav", r"gpj.\u202ewav"),
        ("a\nemolake: all is well", r"a\nemolake: all is well"),
        ("\udcff", r"\udcff"),
        ("お問い合わせ\u3000[red] é\u200d✅", "お問い合わせ\u3000[red] é\u200d✅"),
    ],
)
def test_controls_are_escaped_and_letters_are_not(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_cell_keeps_its_lines() -> None:
    assert printable("a\tb\nc\x1b", lines=True) == "a\tb\nc\\x1b"


@given(st.text())
def test_nothing_that_is_shown_controls_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    assert shown.isascii() or shown.encode("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        f"could not connect to 'host=db password={SECRET} user=me'",
        f"host=db password='it\\'s {SECRET}' user=me",
        "host=db password=a,hunter2;hunter2&hunter2 user=me",
        f"postgres://me:{SECRET.replace('/', '%2F')}@db/lake",
        f"http://{SECRET.replace('/', '')}@127.0.0.1:9000/calls",
        f"s3://calls/a.wav?X-Amz-Credential=me&X-Amz-Signature={SECRET}&X-Amz-Date=1",
        f"AWS_SECRET_ACCESS_KEY={SECRET}; aws_session_token = {SECRET}",
        "401 for the token hf_hunter2hunter2hunter2",
    ],
)
def test_secrets_are_not_shown(text: str) -> None:
    assert "hunter2" not in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://calls/2026/11/20/oslo/who? what=1.wav",
        "s3://calls/x@y/a:b.wav answered 404",
        "max_new_tokens=6, config_id=0123456789abcdef",
        "file:///srv/calls/password.wav",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text
