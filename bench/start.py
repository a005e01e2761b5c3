"""What does a command take before, and besides, the work that it is asked for?

python -m bench.start

Each figure is of processes of their own, in turns, from their start: the help, the status, a night without anything
new and one with a single recording of five seconds, without a server of Prefect and, as flows, with one at hand. The
graph of the model is kept from before.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter, time

import numpy as np

from bench.common import RATE, Sample, cpu, folder, main, ranged, spread, table
from emolake.demo.encode import write_audio

from chaos.servers import own_environment, prefect_server

_REPEATS = {"short": 3, "full": 9}
_FIRST_DAY = date(2026, 11, 1)
_RECORDING_S = 5
_PLAIN = "import sys; sys.argv[0] = 'emolake'; from emolake.cli.app import main; main()"
# Of a night, the moment at which its first shard begins is written into a file. What is imported for that, it needs.
_NIGHT = """
import sys, time
from pathlib import Path
from emolake.pipeline import shard
note, sys.argv[0] = Path(sys.argv.pop()), "emolake"
run = shard._analysed
def noted(*arguments):
    note.write_text(str(time.time()))
    return run(*arguments)
shard._analysed = noted
from emolake.cli.app import main
main()
"""


class Site:
    """A folder of calls, one on each day that has any, with a lake."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._days = (_FIRST_DAY + timedelta(days=number) for number in count())
        self.shards_after: dict[str, list[float]] = {"": [], "server": []}
        place.mkdir(parents=True)
        (place / "emolake.toml").write_text('[source]\nuri = "calls"\n')

    def plain(self, *arguments: str) -> None:
        """Run a command."""
        self._run(_PLAIN, *arguments)

    def idle_night(self) -> None:
        """Run the night of a day that another night has done."""
        self._run(_PLAIN, "nightly", "--date", str(_FIRST_DAY))

    def short_night(self, server: str = "") -> None:
        """Run the night of a day with one recording that is new."""
        day = next(self._days)
        noise = np.random.default_rng(day.toordinal()).normal(0, 0.1, (_RECORDING_S * RATE, 1))
        write_audio(
            self._place / "calls" / f"{day:%Y/%m/%d}" / "oslo" / "call.wav",
            noise.astype(np.float32), RATE, "wav",
        )  # fmt: skip
        note, started = self._place / "began", time()
        self._run(_NIGHT, "nightly", "--date", str(day), str(note))
        self.shards_after[server].append(float(note.read_text()) - started)

    def _run(self, program: str, *arguments: str) -> None:
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, cwd=self._place, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr}")


def measure(size: str) -> str:
    repeats = _REPEATS[size]
    with folder() as place, own_environment(place):
        os.environ["HOME"] = str(place)
        site = Site(place / "site")
        site.short_night()  # which makes the graph and the lake
        site.shards_after[""].clear()
        work: dict[str, Callable[[], object]] = {
            "--help": partial(site.plain, "--help"),
            "status": partial(site.plain, "status"),
            "nightly, nothing new": site.idle_night,
            "nightly, one recording": site.short_night,
        }
        samples = _timed(work, repeats)
        with prefect_server():
            flows: dict[str, Callable[[], object]] = {
                "nightly, nothing new, a server of Prefect at hand": site.idle_night,
                "nightly, one recording, a server of Prefect at hand": partial(site.short_night, "server"),
            }
            samples |= _timed(flows, repeats)
    first = {
        "nightly, one recording": site.shards_after[""],
        "nightly, one recording, a server of Prefect at hand": site.shards_after["server"],
    }
    rows = [
        (
            name, ranged(first[name], digits=1) if name in first else "–", spread(each), f"{cpu(each):.2f}",
        )
        for name, each in samples.items()
    ]  # fmt: skip
    columns = ("emolake …", "first shard begins after, s", "whole command, s", "of it processor time, s")
    return f"{repeats} runs each.\n\n{table(columns, rows)}"


def _timed(work: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[Sample]]:
    """Run commands in turns; the processor time is that of processes that ended, and so not of a server."""
    samples: dict[str, list[Sample]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, run in work.items():
            before, started = _processor_s(), perf_counter()
            run()
            samples[name].append(Sample(perf_counter() - started, _processor_s() - before))
    return samples


def _processor_s() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(measure)
