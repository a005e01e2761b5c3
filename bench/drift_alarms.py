"""How often drift is reported where there is none: `python -m bench.drift_alarms [MONTHS]`.

Nights of a made-up call centre that never changes, but is as uneven as one: fewer calls at weekends, sites of different
sizes, moods that last for some days, calls that differ, clipping that is rare.
Each night is compared with the 28 before it by the production code, at the default thresholds.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from emolake.tasks.drift_options import DriftOptions
from emolake.tasks.measure_drift import History, judged

_LABELS = ("anger", "neutral", "happiness", "sadness", "fear", "disgust")
_SHARES = np.array([0.12, 0.55, 0.15, 0.1, 0.05, 0.03])
_WARM_UP = 28
_NIGHTS = 30
_FIRST = date(2026, 1, 1)


@dataclass(frozen=True)
class Calls:
    """How uneven days are, beyond what calls differ by."""

    weekend: float = 0.4
    """Calls of a weekend's day, of those of another day."""
    mood: float = 0.15
    """Deviation of a day's own shift of each label's log share."""
    lasting: float = 0.5
    """How much of a day's shift the next one has."""
    sites: tuple[int, ...] = (90, 60, 40, 30, 25, 25)
    """Calls of each site on a usual day, on average."""


# Of the few calls of a site hardly any is clipped, and on some days three.
MANY_SMALL = Calls(weekend=1.0, sites=(22,) * 20)


@dataclass(frozen=True)
class Alarms:
    """What a month without a change reported."""

    nights: int
    """Nights with at least one warning."""
    warnings: int
    comparisons: int


def simulated_month(generator: np.random.Generator, calls: Calls, options: DriftOptions) -> Alarms:
    """Return the alarms of 30 nights after 28 that they are compared with."""
    history, nights, warnings, comparisons = History(), 0, 0, 0
    shift = np.zeros(len(_LABELS) + 4)
    for number in range(_WARM_UP + _NIGHTS):
        fresh = generator.normal(0, calls.mood, len(shift)) * np.sqrt(1 - calls.lasting**2)
        shift = calls.lasting * shift + fresh
        busy = calls.weekend if number % 7 >= 5 else 1.0
        rows = judged(
            _FIRST + timedelta(days=number), _looks(generator, shift, calls.sites, busy), history, options
        )
        if number >= _WARM_UP:
            found = sum(row["verdict"] != "steady" and row["verdict"] != "too few" for row in rows)
            nights += found > 0
            warnings += found
            comparisons += sum(row["chance"] is not None for row in rows)
    return Alarms(nights, warnings, comparisons)


def _looks(
    generator: np.random.Generator, shift: np.ndarray, means: Sequence[int], busy: float
) -> list[dict[str, Any]]:
    """Return the figures of a day: all of it, each site, and two roles of each call."""
    sites = [
        _calls(generator, shift, generator.poisson(mean * busy), site) for site, mean in enumerate(means)
    ]
    every = {name: np.concatenate([site[name] for site in sites]) for name in sites[0]}
    looks = [("", "", every), *(("site", str(number), each) for number, each in enumerate(sites))]
    halves = np.arange(len(every["level"])) % 2 == 0
    for role, chosen in (("agent", halves), ("customer", ~halves)):
        looks.append(("role", role, {name: values[chosen] for name, values in every.items()}))
    return [_figures(name, value, each) for name, value, each in looks if len(each["level"])]


def _calls(
    generator: np.random.Generator, shift: np.ndarray, number: int, site: int
) -> dict[str, np.ndarray]:
    """Return what the calls of a site are like; each has labels, a line and a level of its own."""
    logits = np.log(_SHARES) + shift[: len(_LABELS)] + 0.2 * np.cos(site + np.arange(len(_LABELS)))
    usual = np.exp(logits) / np.exp(logits).sum()
    talk = generator.lognormal(np.log(150), 0.7, number)
    confidence = np.clip(generator.normal(0.62 + 0.03 * shift[6], 0.12, number), 0.2, 0.99)
    wide = generator.random(number) < 0.25
    return {
        "labels": generator.dirichlet(4 * usual, number) * talk[:, None]
        if number
        else np.empty((0, len(_LABELS))),
        "talk": talk,
        "silence": talk * generator.beta(2, 5, number) * (1 + 0.2 * shift[7]),
        "confidence": confidence,
        "uncertain": generator.binomial(15, np.clip(1.05 - confidence, 0.01, 0.99)) / 15,
        "level": generator.normal(-26 + site + 2 * shift[8], 6, number),
        "clipped": np.where(generator.random(number) < 0.02, generator.lognormal(-6, 1.2, number), 0.0),
        "bandwidth": np.where(wide, generator.normal(6800, 400, number), generator.normal(3300, 150, number)),
    }


def _figures(name: str, value: str, calls: dict[str, np.ndarray]) -> dict[str, Any]:
    seconds = calls["labels"].sum(axis=0)
    shares = seconds / seconds.sum()
    return {
        "model": "m",
        "config_id": "c",
        "dimension": name,
        "dimension_value": value,
        "recordings": len(calls["level"]),
        "label_seconds": dict(zip(_LABELS, seconds.tolist(), strict=True)),
        "label_entropy": float(-np.sum(shares * np.log(np.maximum(shares, 1e-12)))),
        "confidence": float(calls["confidence"].mean()),
        "uncertain_share": float(calls["uncertain"].mean()),
        "no_speech_share": float(calls["silence"].sum() / (calls["silence"] + calls["talk"]).sum()),
        "level_dbfs": float(calls["level"].mean()),
        "clipped_recordings": float((calls["clipped"] >= 0.001).mean()),
        "bandwidth_hz": float(calls["bandwidth"].mean()),
    }


def main() -> None:
    """Print the rate for days that are even, uneven and very uneven."""
    months = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    without = DriftOptions(warn=dict.fromkeys(DriftOptions().warn, 1e-9))
    cases = {
        "as uneven as a call centre": (Calls(), DriftOptions()),
        "moods twice as strong": (Calls(mood=0.3), DriftOptions()),
        "moods that last for days": (Calls(lasting=0.85), DriftOptions()),
        "20 sites of 22 calls, no weekends": (MANY_SMALL, DriftOptions()),
        "without least changes": (Calls(), without),
    }
    print("| days | comparisons a night | nights that warn, a month | 95 % below | warnings a month |")
    print("|---|---|---|---|---|")
    for name, (calls, options) in cases.items():
        alarms = [simulated_month(np.random.default_rng(seed), calls, options) for seed in range(months)]
        nights = sum(each.nights for each in alarms)
        upper = (nights + 1.96 * np.sqrt(nights + 1) + 1) / months
        print(
            f"| {name} | {sum(each.comparisons for each in alarms) / months / _NIGHTS:.0f} | {nights / months:.2f} "
            f"| {upper:.2f} | {sum(each.warnings for each in alarms) / months:.2f} |"
        )


if __name__ == "__main__":
    main()
