"""The bench of a GPU: rehearsed on the processor without what a bare machine lacks, and never taken for one."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.all import with_section
from bench.gpu import measuring, models, results, run
from emolake.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
LACKING = ("prefect", "duckdb", "av", "boto3", "botocore", "skops", "librosa", "fastapi")
WITHOUT = f"""
import sys
from importlib.machinery import PathFinder
class Lacking(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {LACKING!r} else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Lacking
"""


def without(script: str) -> str:
    """Return what a fresh process prints that cannot import what a bare machine lacks."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_bare_machine_imports_and_runs_what_is_measured(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
import soundfile, torch
import bench.gpu.part
from bench.gpu import nights, parts
torch.set_num_threads(1)
parts.SIZES["tiny"] |= {{"calls": 2, "call_s": 9.0, "side": 64}}
for part in (parts.machine, nights.night):
    part(parts.Report(Path({str(tmp_path)!r}, part.__name__)), "cpu", "tiny")
"""
    without(script)
    facts, *peaks = json.loads((tmp_path / "machine").read_text())
    assert facts["torch"]
    assert {each["peak"] for each in peaks} == {"fp32", "bf16"}
    for night in json.loads((tmp_path / "night").read_text()):
        if "processor has none" in night.get("failed", ""):
            pytest.skip(night["failed"])
        assert night["rows"] == 4 if night["method"] == "window" else night["rows"] > 0
        assert night["quarantined"] == 0
        assert night["hours_per_hour"] > 0


def test_a_part_that_hangs_or_fails_keeps_what_it_found_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "bench" / "gpu"
    package.mkdir(parents=True)
    (package / "part.py").write_text(
        "import json, pathlib, sys, time\n"
        "name, device, size, path = sys.argv[1:]\n"
        "pathlib.Path(path).write_text(json.dumps([{'found': name}]))\n"
        "if name == 'hangs': time.sleep(60)\n"
        "if name == 'fails': raise ValueError\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "PARTS", {"hangs": 1, "fails": 30, "works": 30, "late": 30})
    monkeypatch.setattr(run, "_STARTS_S", 0.5)
    began = time.monotonic()
    found = run.run(["hangs", "fails", "works"], "cpu", "tiny", 60, tmp_path / "out.json")
    assert time.monotonic() - began < 20
    ended = {name: (part["ended"], part["cases"]) for name, part in found["parts"].items()}
    assert ended == {
        "hangs": ("stopped after 1 s", [{"found": "hangs"}]),
        "fails": ("failed with status 1", [{"found": "fails"}]),
        "works": ("whole", [{"found": "works"}]),
    }
    assert json.loads((tmp_path / "out.json").read_text()) == found
    late = run.run(["late"], "cpu", "tiny", 0.1, tmp_path / "out.json")
    assert late["parts"]["late"] == {"ended": "not begun: no time was left", "cases": []}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_layers_answer_as_they_are(tmp_path: Path, precision: str) -> None:
    try:
        model = models.load(models.entry("s3prl", tmp_path, "tiny"), "cpu", precision)
    except ConfigurationError as error:
        pytest.skip(str(error))
    waves = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, (2, 16_000)).astype(np.float32))
    lengths = torch.tensor([16_000, 16_000])
    with torch.inference_mode():
        before = model.outputs(waves, lengths)
        with measuring.forward_of(model, "compiled", backend="aot_eager") as run:
            found = run(waves, lengths)
        after = model.outputs(waves, lengths)
    assert float((found - before).abs().max()) < (1e-4 if precision == "fp32" else 0.05)
    assert torch.equal(after, before)


MEASURED: dict[str, Any] = {
    "format": 1, "device": "cuda", "size": "full", "rehearsal": False, "commit": "abc",
    "parts": {
        "machine": {"ended": "whole", "seconds": 1, "cases": [
            {"device": "Card X", "torch": "2.11.0", "memory_gb": 79.2}, {"peak": "bf16", "flops": 7e14}]},
        "speed_hubert_large": {"ended": "stopped after 110 s", "seconds": 110, "cases": [
            {"model": "hubert_large", "precision": "bf16", "rows": 16, "forward": "graphs", "hours_per_hour": 4321.0,
             "of_peak": 0.21, "peak_memory_gb": 3.0, "warm_up_s": 1.5, "from_eager": 0.0},
            {"model": "hubert_large", "precision": "fp16", "rows": 16, "forward": "eager",
             "failed": "OutOfMemoryError"}]},
        "trouble": {"ended": "not begun: no time was left", "cases": []},
    },
}  # fmt: skip


def test_what_was_measured_becomes_a_section_of_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, taken = tmp_path / "gpu.json", tmp_path / "RESULTS.md"
    given.write_text(json.dumps(MEASURED))
    before = results.RESULTS.read_text("utf-8")
    taken.write_text(before)
    monkeypatch.setattr(sys, "argv", ["results", str(given), "--results", str(taken)])
    results.main()
    after = taken.read_text("utf-8")
    assert all(line in after for line in before.splitlines())
    section = after.partition("<!-- gpu on Card X -->\n")[2]
    assert "| bf16 | 16 | graphs | 4,321 | 21.0% | 3.00 | 1.50 | 0e+00 |" in section
    assert "failed OutOfMemoryError" in section
    assert "- speed_hubert_large: stopped after 110 s\n- trouble: not begun" in section
    assert "| bf16 | 700.0 |" in section
    assert "rehearsal" not in section
    results.main()
    assert taken.read_text("utf-8") == after
    assert with_section(after, "gpu", "Card X", results.section(MEASURED)) == after


def test_a_rehearsal_is_never_written_as_a_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, taken = tmp_path / "gpu.json", tmp_path / "RESULTS.md"
    given.write_text(json.dumps(MEASURED | {"device": "cpu", "rehearsal": True}))
    monkeypatch.setattr(sys, "argv", ["results", str(given), "--results", str(taken)])
    with pytest.raises(SystemExit, match="is a rehearsal, and no figure of a GPU"):
        results.main()
    assert not taken.exists()
    assert "no figure here is one of a GPU" in results.section(MEASURED | {"rehearsal": True})


def test_the_wheels_that_are_collected_are_those_of_the_lock() -> None:
    script = (ROOT / "bench" / "gpu" / "wheels.sh").read_text("utf-8")
    names = script.partition("needed=(")[2].partition(")")[0].split()
    locked = (ROOT / "requirements.lock").read_text("utf-8").lower().replace("_", "-")
    assert len(names) > 5
    for name in names:
        assert f"\n{name}==" in f"\n{locked}", name
