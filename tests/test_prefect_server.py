"""Whether a server of Prefect is configured, in a process of its own, and whether Prefect is imported to know it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

URL = "http://127.0.0.1:4200/api"
ASKED = """
import sys
from emolake.environment import has_prefect_server, quiet_prefect
quiet_prefect()
print(has_prefect_server(), "prefect" in sys.modules)
"""
PROFILE = f'active = "own"\n[profiles.own]\nPREFECT_API_URL = "{URL}"\n'


def asked(folder: Path, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        cwd=folder,
        env=kept | {"HOME": str(folder)} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_without_a_trace_of_one_prefect_is_not_imported(tmp_path: Path) -> None:
    assert asked(tmp_path) == "False False"


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        (".prefect/profiles.toml", PROFILE, True),
        (".prefect/profiles.toml", 'active = "own"\n[profiles.own]\n', False),
        ("prefect.toml", f'[api]\nurl = "{URL}"\n', True),
        ("pyproject.toml", f'[tool.prefect.api]\nurl = "{URL}"\n', True),
        (".env", f"PREFECT_API_URL={URL}\n", True),
    ],
)
def test_every_file_of_prefect_is_heeded(tmp_path: Path, file: str, text: str, found: bool) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert asked(tmp_path) == f"{found} True"


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "prefect_api_url"])
def test_the_variable_is_heeded(tmp_path: Path, name: str) -> None:
    assert asked(tmp_path, **{name: URL}) == "True True"
