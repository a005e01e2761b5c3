"""The dashboard as it is served: in a real browser, on this machine only, and gone when it is stopped."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from emolake.cli.app import app
from emolake.dashboard import server
from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.schemas.days import DayRange
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, Piece, shard_rows, sqlite_warehouse

HOSTILE = "2026/<img src=x onerror=document.title='owned'>/**bold** [a](javascript:alert(1)).wav"
_BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

served = pytest.mark.skipif(
    find_spec("streamlit") is None, reason="streamlit is not installed: pip install 'emolake[dashboard]'"
)
seen = pytest.mark.skipif(
    _BROWSER is None or find_spec("playwright") is None, reason="chromium or playwright is not installed"
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dashboard")
    pieces = (Piece(0, 10, emotion="anger"), Piece(10, 20, emotion="neutral", index=1))
    calls = [
        Call(
            f"{back}/{each}.wav",
            day=DAY - timedelta(days=back),
            pieces=pieces[: 1 + (back + each) % 2],
            duration_s=20.0,
        )
        for back in range(9)
        for each in range(3)
    ] + [Call(HOSTILE, pieces=pieces[:1], site="<b>**oslo**</b>")]
    with open_lake(sqlite_warehouse(folder)) as lake:
        commit_shard(lake, shard_rows(calls), key=KEY, run_id="run-1", message="calls")
        list(
            aggregate_days(lake, DayRange(DAY - timedelta(days=9), DAY), dimensions=["site"], run_id="run-1")
        )
    path = folder / "emolake.toml"
    path.write_text(
        f'[warehouse]\ncatalog = "sqlite:{folder}/catalog.sqlite"\ndata = "{folder}/data"\n[aggregate]\nby = ["site"]\n'
    )
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(config: Path, port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Serve the dashboard as the command does; its working folder holds a module that must not be imported."""
    (folder / "altair.py").write_text("raise SystemExit('imported from the working folder')")
    main = "from emolake.cli.app import main; main()"
    command = [sys.executable, "-c", main, "dashboard", "--port", str(port), "--config", str(config)]
    environment = {**os.environ, "HOME": str(folder)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=environment
    ) as process:
        try:
            until = time.monotonic() + 60
            while not is_healthy(port):
                assert process.poll() is None, process.stdout and process.stdout.read()
                assert time.monotonic() < until
                time.sleep(0.2)
            yield process
        finally:
            process.kill()


def is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def listens_beyond(port: int) -> bool:
    """Return whether the port is open on another address than 127.0.0.1."""
    wanted = f":{port:04X} "
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    listening = [local for _, local, _, state, *_ in lines if state == "0A" and f"{local} ".endswith(wanted)]
    assert listening
    return any(local.split(":")[0] != "0100007F" for local in listening)


@served
@seen
@pytest.mark.slow
@pytest.mark.server
def test_the_page_in_a_browser(config: Path, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(config, port, tmp_path) as process, sync_playwright() as play:
        assert not listens_beyond(port)
        browser = play.chromium.launch(executable_path=_BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 2000})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        page.get_by_text("From listed to labelled").wait_for(timeout=60_000)
        page.locator("canvas, .vega-embed svg").first.wait_for(timeout=30_000)
        text = page.locator("[data-testid=stMain]").inner_text()
        assert "28" in text  # recordings
        assert "The last 7 days against as many before" in text or "no speech of the 7 days before" in text
        page.get_by_label("Break down by").click()
        page.get_by_role("option", name="site").click()
        page.get_by_text("By the chosen dimension").wait_for(timeout=30_000)
        assert page.locator("[data-testid=stException]").count() == 0
        assert page.title() == "emolake"
        beyond = [each for each in asked if not each.startswith((url, f"ws{url[4:]}", "data:", "blob:"))]
        assert beyond == []
        browser.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not is_healthy(port)


@served
@pytest.mark.slow
@pytest.mark.server
def test_ctrl_c_ends_it_and_leaves_nothing(config: Path, tmp_path: Path) -> None:
    port = free_port()
    with running(config, port, tmp_path) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_without_the_extra_it_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'emolake\[dashboard\]'"):
        server.serve(tmp_path / "emolake.toml", free_port())


def test_a_port_in_use_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: object())
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=f"port {port} of 127.0.0.1 .* choose another with --port"
        ):
            server.serve(tmp_path / "emolake.toml", port)


def test_the_command_listens_here_only_and_reports_nothing() -> None:
    arguments = server.command(8600)
    assert "--server.address=127.0.0.1" in arguments
    assert "--browser.gatherUsageStats=false" in arguments
    assert "--server.headless=true" in arguments
    assert "--server.port=8600" in arguments


def test_without_a_configuration_there_is_nothing_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["dashboard"])
    assert isinstance(result.exception, ConfigurationError)
    assert "emolake init" in str(result.exception)
