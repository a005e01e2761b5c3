"""Variables with which nothing must be deployed are named, with what to do."""

import pytest

from emolake.flows.deploy_check import check_variables

CONFIG, ZONE = "/srv/emolake/emolake.toml", "Europe/Berlin"


@pytest.mark.parametrize("zone", [ZONE, "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
def test_both_given_are_taken(zone: str) -> None:
    assert check_variables(CONFIG, zone) == {}


@pytest.mark.parametrize(
    ("config", "zone", "named"),
    [
        (None, ZONE, ["EMOLAKE_CONFIG is not set"]),
        ("", ZONE, ["EMOLAKE_CONFIG is not set"]),
        ("emolake.toml", ZONE, ["EMOLAKE_CONFIG is 'emolake.toml'", "absolute path"]),
        ("~/emolake.toml", ZONE, ["EMOLAKE_CONFIG", "absolute path"]),
        (CONFIG, None, ["EMOLAKE_SOURCE__TIMEZONE is not set", "UTC"]),
        (CONFIG, "", ["EMOLAKE_SOURCE__TIMEZONE is not set"]),
        (CONFIG, "Berlin", ["EMOLAKE_SOURCE__TIMEZONE is 'Berlin'", "Europe/Berlin"]),
        (CONFIG, "../../etc/passwd", ["EMOLAKE_SOURCE__TIMEZONE"]),
        (CONFIG, "Europe", ["EMOLAKE_SOURCE__TIMEZONE"]),
        (CONFIG, "a\nb", ["EMOLAKE_SOURCE__TIMEZONE is 'a\\\\nb'"]),
        (None, None, ["EMOLAKE_CONFIG is not set", "EMOLAKE_SOURCE__TIMEZONE is not set"]),
    ],
)
def test_what_is_missing_or_wrong_is_named(config: str | None, zone: str | None, named: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        check_variables(config, zone)
    assert str(refused.value).startswith("emolake: nothing was deployed: ")
    assert all(word in str(refused.value) for word in named)
