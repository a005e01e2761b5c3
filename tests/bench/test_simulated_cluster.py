"""The simulated cluster ends every shard, finds what kills, and takes as long as its parts say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.measured import Measured
from bench.simulated_cluster import Cluster, CommitTimes, Shard, Simulation, made_shards

QUICK = CommitTimes(base_s=0.1, shard_s=0.01)


@settings(max_examples=30)
@given(
    shards=st.lists(
        st.lists(st.floats(60, 3000).flatmap(lambda s: st.sampled_from([s, s, s, -s])), min_size=1, max_size=6),
        max_size=40,
    ),
    workers=st.integers(1, 9),
    deaths=st.sampled_from([0.0, 1.0, 20.0]),
    most=st.integers(1, 5),
)  # fmt: skip
def test_every_recording_is_committed_or_has_killed(shards, workers, deaths, most):
    cluster = Cluster(workers, 10.0, CommitTimes(0.1, 0.5, most=most), deaths_an_hour=deaths)
    outcome = Simulation(cluster, [Shard(tuple(each)) for each in shards]).run()
    killers = [abs(each) for shard in shards for each in shard if each < 0]
    assert outcome.shards == len(shards)
    assert outcome.audio_s == pytest.approx(sum(abs(e) for s in shards for e in s) - sum(killers)) or deaths
    assert outcome.quarantined >= len(killers)
    assert all(1 <= group <= most for group in outcome.groups)


def test_workers_that_share_nothing_take_their_share_of_the_time():
    outcome = Simulation(Cluster(10, 100.0, QUICK), made_shards(400)).run()
    assert outcome.took_s == pytest.approx(outcome.audio_s / 100.0 / 10, rel=0.06)


def test_a_slow_committer_bounds_the_cluster_and_lets_workers_wait():
    slow = CommitTimes(base_s=0.0, shard_s=1.0)
    outcome = Simulation(Cluster(100, 3600.0, slow), made_shards(1000)).run()
    assert outcome.took_s == pytest.approx(outcome.committing_s, rel=0.02)
    assert max(outcome.waits) > 10


def test_figures_are_read_from_the_tables_of_a_section():
    text = "<!-- a on X -->\n## A?\n\n7 bytes\n\n| n | ms |\n| --- | --- |\n| one | 1,200 (3 to 4) |\n| two | 5 |\n"
    measured = Measured(text)
    assert measured.figure("a", "ms", n="one") == 1200
    assert measured.figure("a", "ms", n="two") == 5
    assert measured.said("a", r"(\d+) bytes") == 7
    with pytest.raises(LookupError, match=r"python -m bench\.b"):
        measured.rows("b")
