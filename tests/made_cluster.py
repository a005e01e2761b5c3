"""A night in a bucket whose model ends, hangs or fills workers, for tests of a cluster."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from emolake.demo.encode import write_audio
from emolake.lake.connect import open_lake
from emolake.settings import Settings, load_settings

from chaos.installed_family import installed_family

DAY = date(2026, 11, 20)
CONTENT = ("recordings", "analyses", "segments", "recording_dynamics", "daily_emotions")
TESTS = Path(__file__).parent


@dataclass(frozen=True)
class Night:
    """A bucket or a folder of calls, a configuration and a lake."""

    folder: Path
    bucket: Path
    uri: str
    endpoint: str | None = None
    catalog: str = "sqlite:catalog.sqlite"

    @property
    def config(self) -> Path:
        return self.folder / "emolake.toml"

    @property
    def settings(self) -> Settings:
        return load_settings(self.config)

    @property
    def notes(self) -> Path:
        return self.folder / "notes"

    def configure(self, *, engine: str = "", run: str = "", model: str = "", data: str = "data") -> Settings:
        """Write the configuration; arguments are further lines of its sections."""
        endpoint = f'endpoint_url = "{self.endpoint}"\n' if self.endpoint else ""
        self.config.write_text(
            f'[source]\nuri = "{self.uri}"\nlookback_days = 0\n{endpoint}'
            "[segmentation]\nmin_speech_ratio = 0.0\nwindow_s = 2.0\nhop_s = 2.0\n"
            f'[warehouse]\ncatalog = "{self.catalog}"\ndata = "{data}"\n'
            f"[run]\nshard_retry_delay_s = 0.0\n{run}\n[engine]\n{engine}\n"
            '[inference]\nmodel = "perilous"\n[models.perilous]\nfamily = "perilous"\n'
            f'notes = "{self.notes}"\n{model}\n'
        )
        return self.settings

    def put(self, name: str, seconds: float = 6.0, *, level: float | None = None, seed: int = 1) -> str:
        """Put a call into the bucket, of noise or of one level, and return its key."""
        if level is None:
            samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000))
        else:
            samples = level * np.where(np.arange(round(seconds * 16_000)) % 32 < 16, 1.0, -1.0)
        key = f"{DAY:%Y/%m/%d}/oslo/{name}"
        write_audio(self.bucket / key, samples.astype(np.float32)[:, None], 16_000, "wav-float")
        return key

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with open_lake(self.settings.warehouse, read_only=True) as lake:
            found: list[dict[str, Any]] = lake.connection.execute(sql).to_arrow_table().to_pylist()
            return found

    def content(self) -> dict[str, list[dict[str, Any]]]:
        """Return what the lake holds, by table, without which run made it."""
        kept = "COLUMNS(name -> name NOT IN ('run_id', 'committed_at'))"
        return {table: self.rows(f"SELECT {kept} FROM {table} ORDER BY ALL") for table in CONTENT}

    def statuses(self) -> dict[str, str]:
        """Return status and reason code by the name of the call."""
        rows = self.rows("SELECT uri, status, error FROM recordings")
        return {
            row["uri"].rpartition("/")[2]: row["status"]
            + (f" {row['error'].split(':')[0]}" if row["error"] else "")
            for row in rows
        }

    def loads(self) -> dict[int, int]:
        """Return by process how often it has loaded the model."""
        return {
            int(path.name.removeprefix("loads-")): len(path.read_text().splitlines())
            for path in self.notes.glob("loads-*")
        }


def perilous_family(folder: Path) -> AbstractContextManager[None]:
    """Let this process, and those that it starts, know the family "perilous"."""
    return installed_family("perilous", "perilous_family:Perilous", folder=folder, module_folder=TESTS)
