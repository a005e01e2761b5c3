"""The feature cache gives what was computed, once, and keeps to its bound, whoever shares the folder."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emolake.errors import ConfigurationError
from emolake.models import disk_cache
from emolake.models.feature_cache import FeatureCache

WAVE = np.linspace(-1, 1, 1000, dtype=np.float32)


class Counted:
    """The mean and the length of a wave, and how often they were computed."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        self.calls += 1
        return np.array([wave.mean(), len(wave)], dtype=np.float32)


def cache(folder: Path, *, version: str = "1", max_bytes: int = 10**9) -> FeatureCache:
    return FeatureCache(folder, {"kind": "mean", "version": version}, max_bytes=max_bytes)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.npy"))


def test_the_second_time_nothing_is_computed(tmp_path: Path) -> None:
    compute = Counted()
    first = cache(tmp_path).get(WAVE, compute)
    second = cache(tmp_path).get(WAVE.copy(), compute)
    assert compute.calls == 1
    assert np.array_equal(first, second)
    assert (first.dtype, second.dtype) == (np.float32, np.float32)


def test_another_sample_length_or_recipe_is_another_entry(tmp_path: Path) -> None:
    compute = Counted()
    changed = WAVE.copy()
    changed[500] = np.nextafter(changed[500], 2, dtype=np.float32)
    cache(tmp_path).get(WAVE, compute)
    cache(tmp_path).get(changed, compute)
    cache(tmp_path).get(WAVE[:-1], compute)
    cache(tmp_path, version="2").get(WAVE, compute)
    assert compute.calls == len(entries(tmp_path)) == 4


@pytest.mark.parametrize("content", [b"", b"junk", b"half"])
def test_a_broken_entry_is_computed_again(tmp_path: Path, content: bytes) -> None:
    compute = Counted()
    wanted = cache(tmp_path).get(WAVE, compute)
    [path] = entries(tmp_path)
    path.write_bytes(path.read_bytes()[:-3] if content == b"half" else content)
    assert np.array_equal(cache(tmp_path).get(WAVE, compute), wanted)
    assert compute.calls == 2
    assert np.array_equal(np.load(path), wanted)


def test_a_pickled_entry_runs_nothing(tmp_path: Path) -> None:
    compute = Counted()
    cache(tmp_path).get(WAVE, compute)
    [path] = entries(tmp_path)
    np.save(path, np.array([Counted()], dtype=object), allow_pickle=True)
    assert cache(tmp_path).get(WAVE, compute).tolist() == pytest.approx([0.0, 1000.0], abs=1e-6)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space"):
        cache(tmp_path).get(WAVE, Counted())
    assert [path for path in tmp_path.glob("**/*") if path.is_file()] == []


def test_what_was_unused_for_longest_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "_WRITES_BETWEEN_SWEEPS", 1)
    small = cache(tmp_path, max_bytes=10 * 4096)
    for length in range(1, 11):
        small.get(WAVE[:length], Counted())
        for age, path in enumerate(
            sorted(entries(tmp_path), key=lambda each: each.stat().st_mtime, reverse=True)
        ):
            os.utime(path, (1e9 - age, 1e9 - age))
    compute = Counted()
    small.get(WAVE[:1], compute)  # the oldest, and now the one used last
    small.get(WAVE[:11], compute)
    assert len(entries(tmp_path)) == 9
    assert compute.calls == 1
    small.get(WAVE[:1], compute)
    assert compute.calls == 1
    small.get(WAVE[:2], compute)
    assert compute.calls == 2


def test_partial_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / "tmp0a1b2c3d.partial", tmp_path / "tmp_abcdefg.partial"
    old.touch()
    young.touch()
    os.utime(old, (1e9, 1e9))
    cache(tmp_path).get(WAVE, Counted())
    assert (old.exists(), young.exists()) == (False, True)


def test_processes_share_a_folder(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
from emolake.models import disk_cache, feature_cache
disk_cache._WRITES_BETWEEN_SWEEPS = 1
cache = feature_cache.FeatureCache(Path(sys.argv[1]), {"kind": "mean"}, max_bytes=20 * 4096)
for number in range(300):
    wave = np.full(1 + number % 30, number % 30, dtype=np.float32)
    found = cache.get(wave, lambda wave: wave.repeat(200))
    assert found.tolist() == wave.repeat(200).tolist(), (number, found)
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(entries(tmp_path)) <= 20
    assert list(tmp_path.glob("*.partial")) == []


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="create it, or leave cache out"):
        cache(tmp_path / "nowhere")
