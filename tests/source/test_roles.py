"""A channel has the role that [roles] gives it, and no other; a mistake there is named with its remedy."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.errors import ConfigurationError
from emolake.pipeline.identity import analysis_key
from emolake.settings import Settings, load_settings
from emolake.source.roles import RoleLayout, Roles

from made_model import write_tiny_model

SPLIT = '[segmentation]\nchannels = "split"\n'
BERLIN = {"site": "berlin"}


def loaded(folder: Path, text: str) -> Settings:
    (folder / "emolake.toml").write_text(text, "utf-8")
    return load_settings(folder / "emolake.toml")


def roles(layouts: str = "") -> str:
    return f"{SPLIT}[roles]\nagent = 0\ncustomer = 1\n{layouts}"


LAYOUTS = """
[[roles.layouts]]
where = { site = ["berlin", "bonn"], ext = "wav" }
agent = 1
customer = 0
[[roles.layouts]]
where = { site = "berlin" }
customer = 2
"""


@pytest.mark.parametrize(
    ("dimensions", "expected"),
    [
        ({}, ["agent", "customer", "unassigned"]),
        ({"site": "oslo", "ext": "wav"}, ["agent", "customer", "unassigned"]),
        ({"site": "bonn", "ext": "wav"}, ["customer", "agent", "unassigned"]),
        ({"site": "bonn", "ext": "mp3"}, ["agent", "customer", "unassigned"]),
        ({"site": "berlin", "ext": "wav"}, ["customer", "agent", "unassigned"]),
        ({"site": "berlin", "ext": "mp3"}, ["unassigned", "unassigned", "customer"]),
        ({"ext": "wav"}, ["agent", "customer", "unassigned"]),
    ],
)
def test_the_first_layout_that_fits_counts(
    tmp_path: Path, dimensions: dict[str, str], expected: list[str]
) -> None:
    found = loaded(tmp_path, roles(LAYOUTS)).roles.assigned(dimensions, 3)
    assert [found[channel] for channel in range(3)] == expected


def test_without_roles_there_are_none(tmp_path: Path) -> None:
    found = loaded(tmp_path, "").roles
    assert (found.are_named, found.assigned(BERLIN, 2), found.unscored(BERLIN, None)) == (False, {}, [])


def test_the_environment_names_channels_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOLAKE_ROLES__AGENT", "1")
    assert loaded(tmp_path, f"{SPLIT}[roles]\ncustomer = 0\n").roles.channels == {"agent": 1, "customer": 0}


@given(
    channels=st.integers(1, 6),
    named=st.dictionaries(st.sampled_from(["agent", "customer", "bot"]), st.integers(0, 6), min_size=1),
    data=st.data(),
)
def test_one_signal_has_no_role_on_any_of_its_channels(
    channels: int, named: dict[str, int], data: st.DataObject
) -> None:
    if len(set(named.values())) < len(named):
        return
    drawn = [data.draw(st.integers(0, channel)) for channel in range(channels)]
    voices: list[int] = []
    for channel, first in enumerate(drawn):
        voices.append(voices[first] if first < channel else channel)
    found = Roles.model_validate(named).assigned({}, channels, voices)
    assert sorted(found) == list(range(channels))
    for channel, role in found.items():
        alone = channels > 1 and voices.count(voices[channel]) == 1
        given = {number: name for name, number in named.items()}
        assert role == (given.get(channel, "unassigned") if alone else "unassigned")


@pytest.mark.parametrize("name", ["agent", "employee", "agent_2", "agents", "employee_left"])
def test_people_at_work_are_not_scored_without_a_purpose(name: str) -> None:
    made = Roles.model_validate({name: 1, "customer": 0})
    assert made.unscored({}, None) == [1]
    assert made.unscored({}, "safety: distress on an emergency line") == []


def test_a_layout_says_who_is_at_work() -> None:
    there = RoleLayout.model_validate({"where": BERLIN, "agent": 1})
    made = Roles.model_validate({"agent": 0, "layouts": [there]})
    assert (made.unscored({}, None), made.unscored(BERLIN, None)) == ([0], [1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[roles]\nagent = 0\n", r'segmentation.channels is "mix".*set it to "split"'),
        ("[[roles.layouts]]\nwhere = { site = 'x' }\nagent = 0\n", r'segmentation.channels is "mix"'),
        (f"{SPLIT}[roles]\nagent = 0\ncustomer = 0\n", "agent and customer are both channel 0"),
        (f"{SPLIT}[roles]\nagent = -1\n", r"roles\.agent: .*greater than or equal to 0"),
        (f'{SPLIT}[roles]\nagent = "left"\n', r"roles\.agent: .*integer"),
        (f"{SPLIT}[roles]\nagent = [0, 1]\n", r"roles\.agent: .*integer"),
        (f"{SPLIT}[roles]\nAgent = 0\n", "'Agent' is no name of a role.*rename it"),
        (f"{SPLIT}[roles]\nunassigned = 0\n", "'unassigned' is no name of a role"),
        (roles("[[roles.layouts]]\nagent = 1\n"), r"roles\.layouts\.0\.where: Field required"),
        (roles("[[roles.layouts]]\nwhere = {}\nagent = 1\n"), r"roles\.layouts\.0\.where: "),
        (
            roles("[[roles.layouts]]\nwhere = { team = 'a' }\nagent = 1\n"),
            "roles.layouts names team, but source.pattern gives site, call_id, ext",
        ),
        (
            roles() + '[source]\npattern = "{role}/{date:%Y%m%d}.wav"\n[aggregate]\nby = []\n',
            "a dimension role, .*rename the dimension",
        ),
        ('[aggregate]\nby = ["role"]\n', r"aggregate.by names role, and \[roles\] names none"),
        ('[policy]\npurpose = " "\n', r"policy\.purpose"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        loaded(tmp_path, text)


PATTERN = '[source]\npattern = "{channel}/{date:%Y%m%d}.wav"\n'


@pytest.mark.parametrize(
    ("text", "daily", "of_recordings"),
    [
        ("", ("site",), ("site",)),
        (roles(), ("site", "segments.role"), ("site",)),
        (
            roles() + '[aggregate]\nby = ["role", "channel"]\n',
            ("segments.role", "segments.channel"),
            (),
        ),
        ('[aggregate]\nby = ["channel", "site"]\n', ("segments.channel", "site"), ("site",)),
        (PATTERN + '[aggregate]\nby = ["channel"]\n', ("channel",), ("channel",)),
    ],
)
def test_what_the_daily_table_is_broken_down_by(
    tmp_path: Path, text: str, daily: tuple[str, ...], of_recordings: tuple[str, ...]
) -> None:
    settings = loaded(tmp_path, text)
    assert (settings.breakdown, settings.recording_breakdown) == (daily, of_recordings)


def test_what_decides_a_role_is_part_of_the_config_id(tmp_path: Path) -> None:
    """And nothing else is: without roles the id is what it was, and another wording of the purpose changes nothing."""
    model = f'[inference]\nmodel = "tiny"\n[models.tiny]\npath = "{write_tiny_model(tmp_path / "tiny")}"\n'

    def config_id(text: str) -> str:
        settings = loaded(tmp_path, model + text)
        return analysis_key(settings, settings.registry.entry()).config_id

    purpose, other = '[policy]\npurpose = "safety"\n', '[policy]\npurpose = "medical"\n'
    texts = [
        SPLIT,
        roles(),
        roles(LAYOUTS),
        SPLIT + "[roles]\nagent = 1\ncustomer = 0\n",
        roles() + purpose,
    ]
    assert len({config_id(text) for text in texts}) == len(texts)
    assert config_id(SPLIT) == config_id(SPLIT + purpose)
    assert config_id(roles() + purpose) == config_id(roles() + other)
