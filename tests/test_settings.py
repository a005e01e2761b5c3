"""The configuration: defaults work, the environment wins, and every mistake is named with its key."""

from pathlib import Path

import pytest

from emolake.cli.config_file import commented_toml
from emolake.environment import default_config_file
from emolake.errors import ConfigurationError
from emolake.settings import Settings, load_settings


def loaded(folder: Path, text: str) -> Settings:
    (folder / "emolake.toml").write_text(text, "utf-8")
    return load_settings(folder / "emolake.toml")


def test_an_empty_file_is_the_defaults(tmp_path):
    settings = loaded(tmp_path, "")
    assert settings.segmentation.window_s == 10.0
    assert settings.aggregate.by == ("site",)


def test_a_batch_is_what_suits_the_device_or_what_is_asked_for(tmp_path):
    automatic = loaded(tmp_path, "").inference
    assert (automatic.seconds_in_batch("cpu"), automatic.seconds_in_batch("cuda:1")) == (20.0, 160.0)
    asked = loaded(tmp_path, "[inference]\nbatch_seconds = 12.5\n").inference
    assert (asked.seconds_in_batch("cpu"), asked.seconds_in_batch("cuda:1")) == (12.5, 12.5)
    with pytest.raises(ConfigurationError, match="batch_seconds"):
        loaded(tmp_path, '[inference]\nbatch_seconds = "many"\n')


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    settings = loaded(tmp_path, '[source]\nuri = "calls"\n[models.mine]\npath = "runs/mine"\n')
    assert settings.source.uri == str(tmp_path / "calls")
    assert settings.warehouse.catalog == f"sqlite:{tmp_path / 'lake/catalog.sqlite'}"
    assert settings.warehouse.data == str(tmp_path / "lake/data")
    assert settings.models == {"mine": {"path": str(tmp_path / "runs/mine")}}


def test_uris_and_other_catalogs_stay_as_they_are(tmp_path):
    settings = loaded(
        tmp_path,
        '[source]\nuri = "s3://calls"\n[warehouse]\ndata = "s3://lake/x"\ncatalog = "postgres:dbname=l host=h"\n',
    )
    assert settings.source.uri == "s3://calls"
    assert (settings.warehouse.data, settings.warehouse.catalog) == (
        "s3://lake/x",
        "postgres:dbname=l host=h",
    )


def test_without_a_file_paths_are_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_settings(None).source.uri == str(tmp_path / "recordings")


def test_the_environment_wins_over_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOLAKE_SOURCE__URI", "s3://other")
    monkeypatch.setenv("EMOLAKE_SEGMENTATION__WINDOW_S", "20")
    settings = loaded(tmp_path, '[source]\nuri = "s3://calls"\ntimezone = "Asia/Tokyo"\n')
    assert (settings.source.uri, settings.source.timezone) == ("s3://other", "Asia/Tokyo")
    assert (settings.segmentation.window_s, settings.segmentation.hop_s) == (20.0, 10.0)


def test_the_configuration_file_is_named_by_the_environment_or_lies_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_config_file() is None
    (tmp_path / "emolake.toml").touch()
    assert default_config_file() == Path("emolake.toml")
    monkeypatch.setenv("EMOLAKE_CONFIG", "/elsewhere.toml")
    assert default_config_file() == Path("/elsewhere.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[source]\nurl = "x"', r"source\.url: there is no such key; `emolake init`"),
        ("[sauce]", "sauce: there is no such key"),
        ('[source]\ntimezone = "Mars/Olympus"', r"source\.timezone: no time zone is called 'Mars/Olympus'"),
        ('[source]\ntimezone = "../../etc/passwd"', r"source\.timezone: no time zone"),
        ('[source]\npattern = "{site}"', "does not give a full date"),
        (
            '[aggregate]\nby = ["agent"]',
            "aggregate.by names agent, but source.pattern gives site, call_id, ext",
        ),
        ("[segmentation]\nwindow_s = 5.0", "hop"),
        ("[segmentation]\nwindow_s = -1", r"segmentation\.window_s: .*greater than 0"),
        ('[segmentation]\nchannels = "left"', r"segmentation\.channels"),
        ('[inference]\nprecision = "fp8"', r"inference\.precision: .*'fp32'"),
        ("[run]\nmax_bad_share = 2", r"run\.max_bad_share"),
        ("[run]\nparallel_shards = 0\nshard_objects = 0", r"run\.shard_objects: .*run\.parallel_shards: "),
        (
            '[warehouse]\ncatalog = "mysql:x"',
            "warehouse.catalog starts with 'mysql'; expected sqlite:PATH or postgres:",
        ),
        ('[warehouse]\ncatalog = "sqlite:"', "expected sqlite:PATH"),
        ("this is no TOML", "is not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path, text, message):
    with pytest.raises(ConfigurationError, match=message):
        loaded(tmp_path, text)


def test_a_missing_file_names_the_command_that_writes_one(tmp_path):
    with pytest.raises(
        ConfigurationError, match="there is no configuration file .*; `emolake init` writes one"
    ):
        load_settings(tmp_path / "no.toml")
    with pytest.raises(ConfigurationError, match="is a folder; give the file, such as .*emolake.toml$"):
        load_settings(tmp_path)


def test_a_wrong_variable_is_told_like_a_wrong_key(monkeypatch):
    monkeypatch.setenv("EMOLAKE_RUN__SHARD_SECONDS", "many")
    with pytest.raises(ConfigurationError, match=r"run\.shard_seconds"):
        load_settings(None)


def test_settings_do_not_change(tmp_path):
    settings = loaded(tmp_path, "")
    with pytest.raises(ValueError, match="frozen"):
        settings.source.uri = "x"  # type: ignore[misc]


def test_the_commented_file_is_the_defaults_and_names_every_key(tmp_path):
    text = commented_toml()
    assert "\\n" not in text  # a description of several paragraphs is written as such
    assert loaded(tmp_path, text).model_dump() == loaded(tmp_path, "").model_dump()
    for name, section in Settings.model_fields.items():
        for key in getattr(section.annotation, "model_fields", {}):
            written = (f"\n{key} = ", f"\n# {key} = ", f"\n# [[{name}.{key}]]")
            assert any(each in text for each in written), f"{name}.{key} is not in the file"


def test_every_key_carries_a_sentence():
    for name, section in Settings.model_fields.items():
        for key, field in getattr(section.annotation, "model_fields", {}).items():
            assert (field.description or "").endswith("."), f"{name}.{key} has no sentence"


def test_given_values_stand_in_the_commented_file(tmp_path):
    settings = loaded(tmp_path, commented_toml(uri='s3://it\'s "x"', endpoint_url="http://127.0.0.1:9"))
    assert (settings.source.uri, settings.source.endpoint_url) == ('s3://it\'s "x"', "http://127.0.0.1:9")


@pytest.mark.parametrize("section", ["source", "warehouse"])
@pytest.mark.parametrize("url", ["127.0.0.1:9000", "s3.example", "s3://calls", "ftp://host", "http://", ""])
def test_an_endpoint_without_its_scheme_is_refused(tmp_path, section, url):
    with pytest.raises(
        ConfigurationError, match=f"{section}.endpoint_url: .*begin it with http:// or https://"
    ):
        loaded(tmp_path, f'[{section}]\nendpoint_url = "{url}"\n')


def test_the_data_is_addressed_as_the_source_is_unless_it_says_otherwise(tmp_path):
    assert loaded(tmp_path, "").warehouse.addressing == "auto"
    assert loaded(tmp_path, '[source]\naddressing = "virtual"\n').warehouse.addressing == "virtual"
    both = loaded(tmp_path, '[source]\naddressing = "virtual"\n[warehouse]\naddressing = "path"\n')
    assert (both.source.s3.addressing, both.warehouse.addressing) == ("virtual", "path")
    with pytest.raises(ConfigurationError, match=r"source.addressing: .*'auto', 'path' or 'virtual'"):
        loaded(tmp_path, '[source]\naddressing = "host"\n')


@pytest.fixture
def secrets(tmp_path, monkeypatch):
    """A folder as Kubernetes mounts a secret: names that are links to links, beside what belongs to others."""
    folder = tmp_path / "secrets"
    (folder / "..2026").mkdir(parents=True)
    (folder / "..data").symlink_to("..2026")
    for name, text in (
        ("EMOLAKE_WAREHOUSE__CATALOG", "postgres:dbname=lake password=first\n"),
        ("PGPASSWORD", "x"),
    ):
        (folder / "..2026" / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    monkeypatch.setenv("EMOLAKE_SECRETS", str(folder))
    return folder


def test_a_folder_of_secrets_wins_over_the_file_and_is_read_each_time(tmp_path, secrets):
    text = '[warehouse]\ncatalog = "postgres:dbname=none"\ncommit_attempts = 7\n'
    assert loaded(tmp_path, text).warehouse.catalog == "postgres:dbname=lake password=first"
    assert loaded(tmp_path, text).warehouse.commit_attempts == 7
    (secrets / "..2026" / "EMOLAKE_WAREHOUSE__CATALOG").write_text("postgres:dbname=lake password=second")
    (secrets / "emolake_alerts__urls").write_text("json://127.0.0.1/a json://127.0.0.1/b\n")
    settings = loaded(tmp_path, text)
    assert settings.warehouse.catalog == "postgres:dbname=lake password=second"
    assert len(settings.alerts.urls) == 2


def test_the_environment_wins_over_a_folder_of_secrets(tmp_path, secrets, monkeypatch):
    monkeypatch.setenv("EMOLAKE_WAREHOUSE__CATALOG", "postgres:dbname=mine")
    assert loaded(tmp_path, "").warehouse.catalog == "postgres:dbname=mine"


def test_a_wrong_secret_is_named_and_not_shown(tmp_path, secrets):
    (secrets / "EMOLAKE_WAREHOUSE__COMMIT_ATTEMPTS").write_text("hunter2")
    with pytest.raises(ConfigurationError, match=r"warehouse\.commit_attempts") as caught:
        loaded(tmp_path, "")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("a file")])
def test_without_the_folder_of_secrets_nothing_runs(tmp_path, monkeypatch, make):
    make(tmp_path / "secrets")
    monkeypatch.setenv("EMOLAKE_SECRETS", str(tmp_path / "secrets"))
    with pytest.raises(
        ConfigurationError, match=f"EMOLAKE_SECRETS is {tmp_path}/secrets, whose files cannot be read"
    ):
        loaded(tmp_path, "")
