"""Write the pictures of the page of a recording and of the dashboard that the documentation shows.

`python -m tools.call_screenshots` makes calls by a speech synthesiser, analyses a day of them from an S3 server, and
takes docs/recording*.png; then a lake with known stories, and docs/dashboard.png. It needs the extra `dashboard`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pyarrow as pa  # noqa: F401  (before DuckDB, whose extensions bring another)

from bench.made_story import Story, tell
from emolake.dashboard.server import ADDRESS, CONFIG_VARIABLE, command
from emolake.demo.bucket import make_bucket
from emolake.demo.s3_server import serve_s3
from emolake.lake.connect import open_lake
from emolake.report.wording import Language
from emolake.settings import load_settings
from emolake.upkeep.recording_page import report_recording
from tools.screenshots import DOCS, chromium, take_picture

DAY = date(2026, 11, 20)
PORT = 8599
_SHARED = """
[segmentation]
channels = "split"
[roles]
agent = 0
customer = 1
[policy]
purpose = "pictures of synthesised speech"
[aggregate]
by = ["site"]
"""


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=DOCS, help="folder of the pictures (default: docs)")
    folder = parser.parse_args().to
    with tempfile.TemporaryDirectory() as scratch, chromium(Path(scratch)) as browser:
        page = _recording(Path(scratch))
        take_picture(browser, page.as_uri(), folder / "recording.png", wait_for="#tracks svg", height=860)
        take_picture(
            browser,
            page.as_uri(),
            folder / "recording-phone.png",
            wait_for="#tracks svg",
            width=390,
            height=844,
            dark=True,
            at="over-time",
        )
        with _dashboard(Path(scratch)) as url:
            take_picture(
                browser,
                url,
                folder / "dashboard.png",
                wait_for="text=From listed to labelled",
                width=1440,
                height=1180,
                rest_s=5,
            )


def _recording(scratch: Path) -> Path:
    make_bucket(scratch / "s3" / "calls", days=[DAY], seed=0)
    os.environ |= {"AWS_ACCESS_KEY_ID": "pictures", "AWS_SECRET_ACCESS_KEY": "no-secret-at-all"}
    config = scratch / "emolake.toml"
    with serve_s3(scratch / "s3", access_key="pictures", secret_key="no-secret-at-all") as url:
        config.write_text(
            f'[source]\nuri = "s3://calls"\nendpoint_url = "{url}"\n'
            'pattern = "{date:%Y/%m/%d}/{site}/{call_id}.{ext}"\n' + _SHARED,
            "utf-8",
        )
        main = "from emolake.cli.app import main; main()"
        backfill = [sys.executable, "-c", main, "backfill", str(DAY), str(DAY), "--config", str(config)]
        subprocess.run(backfill, check=True)
        settings = load_settings(config)
        with open_lake(settings.warehouse, read_only=True) as lake:
            ((longest,),) = lake.answered_rows(
                "SELECT uri FROM recordings WHERE channels = 2 AND status = 'ok' ORDER BY duration_s DESC LIMIT 1"
            )
        return report_recording(
            settings, longest, out=scratch / "recording.html", language=Language.en, embed_audio=True
        )


@contextmanager
def _dashboard(scratch: Path) -> Iterator[str]:
    folder = scratch / "story"
    folder.mkdir()
    config = folder / "emolake.toml"
    config.write_text(_SHARED, "utf-8")
    with open_lake(load_settings(config).warehouse) as lake:
        tell(lake, Story())
    url = f"http://{ADDRESS}:{PORT}"
    with subprocess.Popen(command(PORT), env={**os.environ, CONFIG_VARIABLE: str(config)}) as server:
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield url
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
