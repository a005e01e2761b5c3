"""What do 10,000, 100,000 and 1,000,000 hours of audio a day take, and what breaks first?

python -m bench.capacity --size short

The tables of docs/capacity.md: figures of bench/RESULTS.md, what follows from them by arithmetic, and a simulation of
the dispatcher as it is. Nothing is measured here but the simulation's own processor time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from bench.common import main, table
from bench.measured import Measured
from bench.simulated_cluster import Cluster, CommitTimes, Outcome, Simulation, made_shards
from emolake.run_options import RunOptions

SCALES = (10_000, 100_000, 1_000_000)  # hours of audio a day
NIGHT_H = 8.0
CALL_H = 0.1  # six minutes
SEGMENT_S = 10.0
KEPT_DAYS = 90
GPU_RATE = 1000.0  # hours of audio in an hour: assumed, no GPU was measured
HOUR_TB = 3600 * 16_000 / 1e12  # of calls in WAV at 8 kHz
# Most shards that are simulated of a day: what follows is as what went before.
_SIMULATED = {"short": 20_000, "full": 1_000_000}
_DEATHS_AN_HOUR = 1 / 24
_KILLERS = 1e-5


@dataclass(frozen=True)
class Figures:
    """What the benches have measured, per piece."""

    default_s: float
    """Processor seconds for an hour of audio by the default network, from the listing to tables."""
    large_s: float
    """Of HuBERT-large."""
    segment_bytes: float
    key_us: float
    key_bytes: float
    commit_s: float
    commit_shard_s: float
    commit_held_s: Mapping[str, float]
    """Seconds that each recording that the lake holds adds to a transaction, by what keys begin with."""
    commit_rows: float
    commit_files: float
    commit_spread: tuple[float, ...]
    night_spread: tuple[float, ...]
    engine_ms: float
    """Processor time a shard of handing out and committing, without the model."""

    @classmethod
    def read(cls) -> "Figures":
        """Read them from bench/RESULTS.md."""
        found = Measured.read()
        cost = found.rows("commit_cost")
        held = max(float(row["recordings in the lake"].replace(",", "")) for row in cost)

        def commit_ms(recordings: float, shards: int, keys: str = "DATE/SITE") -> float:
            asked = {"recordings in the lake": f"{recordings:,.0f}", "keys": keys, "shards": str(shards)}
            return found.figure("commit_cost", "processor time, ms", **asked)

        each_ms = (commit_ms(0, 32) - commit_ms(0, 1)) / 31
        large = next(row for row in found.rows("overhead") if row.get("model") == "HuBERT-large")
        minutes = found.figure("overhead", "audio", model="HuBERT-large")
        large_night_s = found.figure("overhead", "night, s", model="HuBERT-large")
        cores = found.said("overhead", r", (\d+) cores \(")
        few = {"": "100,000 in the lake, 10 new"}
        many = {"": "1,000,000 in the lake, 10 new"}
        more_mb = found.figure("planning", "memory, MB", **many) - found.figure(
            "planning", "memory, MB", **few
        )
        growth = found.rows("growth")[-1]
        return cls(
            default_s=found.figure(
                "overhead", "seconds", **{"stage (they overlap)": "processor time of all"}
            ),
            large_s=large_night_s * cores * 60 / minutes,
            segment_bytes=found.said("warehouse", r"(\d+) bytes of Parquet a segment"),
            key_us=1e6 * found.figure("planning", "seconds", **many) / 1_000_000,
            key_bytes=1e6 * more_mb / 900_000,
            commit_s=(commit_ms(0, 1) - each_ms) / 1000,
            commit_shard_s=each_ms / 1000,
            commit_held_s={
                keys: max(0.0, commit_ms(held, 32, keys) - commit_ms(0, 32)) / 1000 / held
                for keys in ("DATE/SITE", "SITE/DATE")
            },
            commit_rows=found.figure("commit_cost", "catalog rows", shards="32"),
            commit_files=found.figure("commit_cost", "files", shards="32"),
            commit_spread=_spread(next(row["wall, ms"] for row in cost if row["shards"] == "32")),
            night_spread=_spread(large["night, s"]),
            engine_ms=float(growth["processor time a shard, ms"]),
        )

    def commits(self, recordings: float, keys: str = "DATE/SITE") -> CommitTimes:
        """Return how long transactions take where the lake holds so many recordings."""
        return CommitTimes(
            self.commit_s + recordings * self.commit_held_s[keys], self.commit_shard_s, self.commit_spread
        )


def _spread(cell: str) -> tuple[float, ...]:
    """Return the least, the median and the largest of a cell, as factors of the median."""
    middle, least, most = (float(each) for each in re.findall(r"[\d.]+", cell.replace(",", "")))
    return least / middle, 1.0, most / middle


def measure(size: str) -> str:
    figures = Figures.read()
    simulated = [
        (name, workers, simulate(cluster, hours, size)) for name, workers, hours, cluster in cases(figures)
    ]
    return "\n\n".join(
        (
            "What is measured; times are a processor's:", measured_table(figures),
            "What a day takes:", day_table(figures),
            f"Workers for a night of {NIGHT_H:g} hours:", worker_table(figures),
            "The dispatcher and the committer, simulated:", simulation_table(simulated),
            f"How busy is what all workers share, where the lake holds {KEPT_DAYS} days:", shared_table(figures),
        )
    )  # fmt: skip


def measured_table(figures: Figures) -> str:
    rows = (
        ("an hour of audio, default network, from the listing to tables", f"{figures.default_s:.1f} s", "overhead"),
        ("the same, HuBERT-large", f"{figures.large_s:.0f} s", "overhead"),
        ("Parquet of a segment, all tables", f"{figures.segment_bytes:.0f} bytes", "warehouse"),
        ("planning a key", f"{figures.key_us:.0f} µs, {figures.key_bytes:.0f} bytes", "planning"),
        ("a transaction", f"{1000 * figures.commit_s:.0f} ms", "commit_cost"),
        ("and each shard in it", f"{1000 * figures.commit_shard_s:.1f} ms", "commit_cost"),
        *(
            (f"and each million recordings in the lake, keys {keys}", f"{1e9 * each:.0f} ms", "commit_cost")
            for keys, each in figures.commit_held_s.items()
        ),
        ("files of a transaction", f"{figures.commit_files:.0f}", "commit_cost"),
        ("catalog rows of a transaction", f"{figures.commit_rows:.0f}", "commit_cost"),
        ("handing out and committing a shard", f"{figures.engine_ms:.0f} ms", "growth"),
    )  # fmt: skip
    return table(("", "figure", "bench"), rows)


def _shards_in_commit(figures: Figures, hours: float) -> float:
    """Return how many shards gather for a transaction, at the pace of a night."""
    commits = figures.commits(0)
    pace = hours / (NIGHT_H * 3600)
    gathered = pace * (commits.wait_s + commits.base_s) / max(1e-9, 1 - pace * commits.shard_s)
    return min(commits.most, max(1.0, gathered))


def _by_scale(rows: Sequence[Sequence[str]]) -> str:
    return table(("", *(f"{hours:,} hours a day" for hours in SCALES)), rows)


def day_table(figures: Figures) -> str:
    commits = [hours / _shards_in_commit(figures, hours) for hours in SCALES]
    segments = [hours * 3600 / SEGMENT_S for hours in SCALES]
    most_mb = RunOptions().memory_mb
    rows = (
        ("recordings of six minutes (objects)", *(f"{hours / CALL_H:,.0f}" for hours in SCALES)),
        ("bytes at the source, WAV of 8 kHz", *(f"{hours * HOUR_TB:,.1f} TB" for hours in SCALES)),
        ("shards of an hour", *(f"{hours:,}" for hours in SCALES)),
        ("segments of 10 s", *(f"{each:,.0f}" for each in segments)),
        ("Parquet a day", *(f"{each * figures.segment_bytes / 1e9:,.1f} GB" for each in segments)),
        ("Parquet a year", *(f"{365 * each * figures.segment_bytes / 1e12:,.1f} TB" for each in segments)),
        ("shards a second, over the night", *(f"{hours / NIGHT_H / 3600:.2f}" for hours in SCALES)),
        ("transactions, grouped", *(f"{each:,.0f}" for each in commits)),
        ("transactions a second", *(f"{each / NIGHT_H / 3600:.2f}" for each in commits)),
        ("files before `maintain`", *(f"{each * figures.commit_files:,.0f}" for each in commits)),
        ("catalog rows before `maintain`", *(f"{each * figures.commit_rows:,.0f}" for each in commits)),
        ("planning", *(f"{hours / CALL_H * figures.key_us / 1e6:,.0f} s" for hours in SCALES)),
        (
            f"planning, more memory; `run.memory_mb` is {most_mb:,}",
            *(f"{min(most_mb, hours / CALL_H * figures.key_bytes / 1e6):,.0f} MB" for hours in SCALES),
        ),
    )  # fmt: skip
    return _by_scale(rows)


def worker_table(figures: Figures) -> str:
    def needed(hours: float, seconds: float) -> str:
        return f"{ceil(hours * seconds / (NIGHT_H * 3600)):,}"

    rows = (
        ("cores, default network", *(needed(hours, figures.default_s) for hours in SCALES)),
        ("cores, HuBERT-large", *(needed(hours, figures.large_s) for hours in SCALES)),
        (f"GPUs, at an assumed {GPU_RATE:g} hours an hour", *(needed(hours, 3600 / GPU_RATE) for hours in SCALES)),
        ("core hours, default network", *(f"{hours * figures.default_s / 3600:,.0f}" for hours in SCALES)),
        ("core hours, HuBERT-large", *(f"{hours * figures.large_s / 3600:,.0f}" for hours in SCALES)),
    )  # fmt: skip
    return _by_scale(rows)


def cases(figures: Figures) -> list[tuple[str, int, int, Cluster]]:
    """Return what is simulated: a name, workers, hours a day and the cluster."""
    found = []
    large = 3600 / figures.large_s
    for hours in SCALES:
        for what, rate in (("cores, HuBERT-large", large), ("GPUs", GPU_RATE)):
            workers = min(10_000, ceil(hours / NIGHT_H / rate))
            cluster = Cluster(
                workers, rate, figures.commits(0), figures.night_spread, deaths_an_hour=_DEATHS_AN_HOUR
            )
            found.append((f"{workers:,} {what}", workers, hours, cluster))
    return found


def simulate(cluster: Cluster, hours: int, size: str) -> Outcome:
    """Let a cluster do a day, or the first shards of it."""
    shards = max(min(hours, _SIMULATED[size]), min(hours, 4 * cluster.workers))
    return Simulation(cluster, made_shards(shards, killers=_KILLERS), seed=1).run()


def simulation_table(simulated: list[tuple[str, int, Outcome]]) -> str:
    rows = [
        (
            name, f"{outcome.shards:,}", f"{outcome.took_s / 3600:.2f}",
            f"{outcome.at_work_s / workers / outcome.took_s:.2f}", f"{outcome.deaths:,}", outcome.quarantined,
            f"{len(outcome.latencies) / len(outcome.groups):.1f}", f"{outcome.committing_s / outcome.took_s:.2f}",
            f"{outcome.latency(50):.1f} / {outcome.latency(95):.1f}", f"{max(outcome.waits):.1f}",
            f"{1e6 * outcome.processor_s / outcome.shards:.0f}",
        )
        for name, workers, outcome in simulated
    ]  # fmt: skip
    columns = (
        "workers", "shards", "hours", "workers busy", "deaths", "quarantined", "shards a transaction", "committer busy",
        "until committed p50 / p95, s", "a worker's longest wait for room, s", "processor time a shard, µs",
    )  # fmt: skip
    return table(columns, rows)


def shared_table(figures: Figures) -> str:
    rows = []
    for hours in SCALES:
        pace = hours / NIGHT_H / 3600
        held = KEPT_DAYS * hours / CALL_H
        commits = {"an empty lake": figures.commits(0)} | {
            f"{KEPT_DAYS} days in the lake, keys {keys}": figures.commits(held, keys)
            for keys in figures.commit_held_s
        }
        busy = {
            **{
                f"transactions of 32, {lake}": pace * each.of(each.most) / each.most
                for lake, each in commits.items()
            },
            "planning": hours / CALL_H * figures.key_us / 1e6 / (NIGHT_H * 3600),
            "the driver's handing out": pace * figures.engine_ms / 1000,
        }
        first = max(busy, key=lambda name: busy[name])
        said = f"{first}: {'breaks' if busy[first] > 1 else 'holds'}"
        rows.append((f"{hours:,}", f"{held:,.0f}", *(f"{each:.3f}" for each in busy.values()), said))
    return table(("hours a day", f"recordings of {KEPT_DAYS} days", *busy, "the first to break"), rows)


if __name__ == "__main__":
    main(measure)
