"""The scenarios of `make chaos`, with few tries; and what they are made of."""

import http.client
import io
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer

from chaos.__main__ import TRIES, Scenario, asked_tries, page, section, sections_of, tell_broken
from chaos.bad_source import bad_source
from chaos.bad_warehouse import bad_warehouse
from chaos.crowded_lake import crowded_lake
from chaos.killed import killed
from chaos.outcomes import BrokenPromiseError, Outcome, skipped, table, tried
from chaos.processes import Ended, clear_failure
from chaos.proxy import Cut, Fault, Refuse, Request, Reset, Shorten, Stall, faulty
from chaos.side_by_side import side_by_side
from chaos.site import difference

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]

SHORT = {
    "killed": killed,
    "side by side": side_by_side,
    "bad source": bad_source,
    "bad warehouse": partial(bad_warehouse, lock_s=3.0),
    "crowded lake": partial(crowded_lake, seconds=8.0),
}


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize("scenario", SHORT.values(), ids=SHORT)
def test_promises_hold(scenario: Callable[[int, int, Path], list[Outcome]], tmp_path: Path) -> None:
    outcomes = scenario(1, 1, tmp_path / "site")
    assert [outcome.broken for outcome in outcomes] == [None]
    print(table(outcomes))


def test_a_difference_is_told() -> None:
    clean = {"segments": [{"id": "a", "confidence": 0.5}, {"id": "b", "confidence": 0.25}]}
    assert difference(clean, clean) is None
    assert "missing [{'id': 'b'" in str(difference({"segments": clean["segments"][:1]}, clean))
    assert "3 rows, and 2" in str(difference({"segments": clean["segments"] + clean["segments"][:1]}, clean))
    last_bit = [clean["segments"][0], {"id": "b", "confidence": 0.25000003}]
    assert difference({"segments": last_bit}, clean) is None
    other = [clean["segments"][0], {"id": "b", "confidence": 0.2501}]
    assert "0.2501" in str(difference({"segments": other}, clean))


def test_a_try_that_breaks_a_promise_is_told_and_fails_the_command() -> None:
    def broken() -> str:
        raise BrokenPromiseError("one row is there twice")

    def failing() -> str:
        raise ZeroDivisionError

    outcomes = [
        tried("exactly once", "kill", lambda: "as the clean run"),
        tried("exactly once", "kill", broken),
        tried("exactly once", "failure of the scenario itself", failing),
        skipped("nothing lost", "disk full", "skipped: no root"),
    ]
    printed = io.StringIO()
    assert tell_broken(outcomes[:1], printed) == 0
    assert tell_broken(outcomes, printed) == 1
    assert "one row is there twice" in printed.getvalue()
    assert "ZeroDivisionError" in printed.getvalue()
    text = page({"killed": section(outcomes, "killed=4", 7, 60.0)})
    assert "| exactly once | kill | 2 | **1 broken**; 1 × as the clean run |" in text
    assert "| nothing lost | disk full | 0 | skipped: no root |" in text
    assert "by `python -m chaos --scenario killed=4`, seed 7" in text


def test_one_scenario_takes_the_place_of_its_own_section() -> None:
    written = sections_of((ROOT / "docs" / "chaos.md").read_text("utf-8"))
    assert set(written) == set(Scenario)
    assert page(written) == (ROOT / "docs" / "chaos.md").read_text("utf-8")
    replaced = page(written | {"killed": "| another | table |"})
    assert sections_of(replaced) == written | {"killed": "| another | table |"}


def test_what_may_be_asked_for() -> None:
    assert asked_tries(["killed", "bad-source=3"]) == {
        Scenario.killed: TRIES[Scenario.killed],
        Scenario.bad_source: 3,
    }
    for wrong in ("kill", "killed=often"):
        with pytest.raises(typer.BadParameter, match="bad-warehouse"):
            asked_tries([wrong])


def test_what_is_no_clear_failure() -> None:
    assert clear_failure(Ended(1, "bar\nemolake: no room; make room\n"), "make room")
    for status, said in (
        (0, ""),
        (1, "emolake: internal error, IOException: full; run again with --debug"),
        (1, "Traceback (most recent call last):"),
        (1, "emolake: no room"),
    ):
        with pytest.raises(BrokenPromiseError):
            clear_failure(Ended(status, said), "make room")


@pytest.fixture
def ask(s3: tuple[str, Path]) -> Iterator[Callable[[Fault | None], tuple[int, bytes]]]:
    """Ask through the proxy, with a fault, for a page that the real server gives: its refusal."""
    asked: list[Fault | None] = [None]

    def fault_of(request: Request) -> Fault | None:
        assert (request.method, request.path, request.is_listing) == ("GET", "/calls/a b.wav", False)
        return asked[0]

    with faulty(s3[0], fault_of) as proxy:

        def get(fault: Fault | None) -> tuple[int, bytes]:
            asked[0] = fault
            connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=5)
            connection.request("GET", "/calls/a%20b.wav?x=1")
            answer = connection.getresponse()
            return answer.status, answer.read()

        yield get


def test_each_fault_of_the_proxy(ask: Callable[[Fault | None], tuple[int, bytes]]) -> None:
    status, whole = ask(None)
    assert len(whole) > 20
    assert ask(Shorten(0.5)) == (status, whole[: len(whole) // 2])
    assert ask(Refuse(503, "SlowDown")) == (
        503,
        b"<Error><Code>SlowDown</Code><Message>made up</Message></Error>",
    )
    seen: list[int] = []
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(Cut(7, before=lambda: seen.append(1)))
    assert (caught.value.partial, seen) == (whole[:7], [1])
    with pytest.raises(ConnectionResetError):
        ask(Reset())
    begun = time.monotonic()
    with pytest.raises(ConnectionResetError):
        ask(Stall(0.2))
    assert time.monotonic() - begun >= 0.2
