"""The command line as scripts see it: exit codes, one sentence on standard error, rows on standard output."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from emolake.cli.app import COMMITS_NOTHING, WRITES_WHOLE_FILES
from emolake.cli.config_file import commented_toml
from emolake.demo.encode import write_audio
from emolake.settings import Settings, load_settings

from command_line import emolake
from made_model import LABELS, write_tiny_model

pytestmark = pytest.mark.slow

COMMANDS = (
    "demo",
    "init",
    "doctor",
    "nightly",
    "backfill",
    "status",
    "alert",
    "serve",
    "query",
    "report",
    "predict",
    "models",
    "diagnose",
    "train",
    "evaluate",
    "compare",
    "distribution",
    "verify",
    "gaps",
    "retry",
    "maintain",
    "erase",
    "forget",
    "relocate",
    "publish",
    "shell",
    "connect",
    "export",
    "completion",
)
KEYS = {
    "path", "channel", "start_s", "end_s", "label", "emotion", "confidence", "uncertain", "probabilities", "logits"
}  # fmt: skip


def sentence(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the error of a call that must have failed with one sentence."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings of one day with a configuration, and a lake that a backfill filled."""
    folder = tmp_path_factory.mktemp("site")
    day = folder / "calls" / "2026" / "11" / "20" / "oslo"
    day.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, seconds in (("long", 23), ("short", 2)):
        noise = generator.normal(0, 0.1, (16_000 * seconds, 1)).astype(np.float32)
        write_audio(day / f"{name}.wav", noise, 16_000, "wav")
    (day / "broken.wav").write_bytes(b"no audio at all")
    (day / "notes.txt").write_text("not audio")
    write_tiny_model(folder / "tiny")
    (folder / "emolake.toml").write_text(
        '[source]\nuri = "calls"\n[segmentation]\nmin_speech_ratio = 0.0\n'
        '[inference]\nmodel = "tiny"\n[models.tiny]\npath = "tiny"\n'
    )
    done = emolake("backfill", "2026-11-20", "2026-11-20", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "quarantined" in done.stdout
    assert "undecodable" in done.stdout
    return folder


def test_the_installed_command_does_what_is_called_here(site: Path) -> None:
    for arguments in (
        ("query", "SELECT 1 AS one", "--format", "csv"),
        ("query", "SELECT nothing FROM segments"),
    ):
        here = emolake(*arguments, cwd=site)
        program = Path(sys.executable).with_name("emolake")
        there = subprocess.run(
            [program, *arguments], cwd=site, capture_output=True, text=True, timeout=120, check=False
        )
        assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)


def rows(site: Path, sql: str) -> list[dict[str, object]]:
    done = emolake("query", sql, "--format", "json", cwd=site)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = emolake(command, "--help")
    assert done.returncode == 0
    assert f"Example: emolake {command}" in " ".join(done.stdout.split())


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['emolake', '--help']\n"
        "from emolake.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print('HEAVY', sorted({'torch', 'prefect', 'duckdb', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert all(command in done.stdout for command in COMMANDS)
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nightly",), "`emolake init` writes one"),
        (("query", "SELECT 1"), "`emolake init` writes one"),
        (("doctor", "--config", "nowhere.toml"), "no configuration file nowhere.toml"),
        (("predict", "nowhere.wav"), "no file or folder nowhere.wav"),
        (("predict", ".", "--model", "nobody"), "no model is called 'nobody'"),
        (("retry",), "`emolake init` writes one"),
        (("train", "--model", "oracle", "--data", ".", "--out", "x"), "oracle"),
        (("predict",), "name audio files or folders"),
        (("predict", "--labels", "x.csv", "."), "belong to --submission"),
        (("predict", "--submission", "nowhere.csv"), "no file nowhere.csv"),
        (("evaluate", "--data", "nowhere.csv", "--out", "x"), "nowhere.csv is no file and no folder"),
        (("compare", "."), "run it again"),
        (("distribution", "nowhere"), "nowhere is no file and no folder"),
    ],
)
def test_a_wrong_call_exits_with_2_and_says_the_remedy(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in sentence(emolake(*arguments, cwd=tmp_path), 2)


@pytest.mark.parametrize(
    "arguments", [("nightly", "--date", "20.11.2026"), ("backfill", "2026-11-20"), ("dance",)]
)
def test_arguments_that_do_not_parse_exit_with_2(site: Path, arguments: tuple[str, ...]) -> None:
    assert emolake(*arguments, cwd=site).returncode == 2


def test_a_range_that_ends_before_it_begins(site: Path) -> None:
    assert "give the earlier date first" in sentence(
        emolake("backfill", "2026-11-20", "2026-11-19", cwd=site), 2
    )


@pytest.mark.parametrize(
    "arguments", [("nightly", "--date", "9000-01-01"), ("backfill", "8999-12-31", "9000-01-01", "--plan")]
)
def test_a_day_in_the_future_is_mentioned(site: Path, arguments: tuple[str, ...]) -> None:
    said = emolake(*arguments, cwd=site).stderr
    assert "emolake: 9000-01-01 is in the future: in source.timezone, UTC, it is 20" in said


def test_the_lake_is_kept_right_from_the_command_line(site: Path) -> None:
    assert emolake("verify", cwd=site).returncode == 0
    gaps = emolake("gaps", "--from", "2026-11-20", "--to", "2026-11-20", "--format", "json", cwd=site)
    assert json.loads(gaps.stdout) == []
    listed = emolake("retry", "--quarantined", "--dry-run", cwd=site)
    assert "1 quarantined recording\n" in listed.stderr
    assert "broken.wav" in listed.stdout
    assert "say what to retry" in sentence(emolake("retry", cwd=site), 2)
    assert "snapshots expired" in emolake("maintain", "--dry-run", cwd=site).stdout
    path = site / "calls" / "2026" / "11" / "20" / "oslo" / "long.wav"
    printed = emolake("erase", "--recording", path, "--dry-run", cwd=site)
    assert (
        "1 recording with 1 analysis, 3 segments and 1 row of recording_dynamics on 1 day." in printed.stderr
    )
    assert "Time travel ends here" in printed.stderr
    assert "confirm it with --yes" in sentence(emolake("erase", "--recording", path, cwd=site), 2)
    assert "either --recording URI, or --where SQL" in sentence(emolake("erase", cwd=site), 2)
    unknown = ("erase", "--recording", "s3://elsewhere/never.wav", "--yes")
    assert "--allow-unknown" in sentence(emolake(*unknown, cwd=site), 1)
    assert "fits the condition" in sentence(emolake("erase", "--where", "false", "--yes", cwd=site), 1)
    assert rows(site, "FROM erasures") == []
    erased = emolake(*unknown, "--allow-unknown", cwd=site)
    assert erased.returncode == 0, erased.stderr
    assert "nothing of them is left" in erased.stderr
    assert len(rows(site, "FROM erasures")) == 1
    forget = ("forget", "--model", "tiny")
    assert "4 segments on 1 day by the model tiny" in emolake(*forget, "--dry-run", cwd=site).stderr
    assert "confirm it with --yes" in sentence(emolake(*forget, cwd=site), 2)
    assert "it holds rows of: tiny" in sentence(emolake("forget", "--model", "tyni", "--yes", cwd=site), 1)
    assert "nothing was changed" in emolake("relocate", cwd=site).stderr
    with sqlite3.connect(site / "lake" / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE ducklake_data_file SET record_count = record_count + 7")
        catalog.commit()
        broken = emolake("verify", "--format", "json", cwd=site)
        catalog.execute("UPDATE ducklake_data_file SET record_count = record_count - 7")
    catalog.close()
    assert "breaches in" in sentence(broken, 1)
    assert {each["check"] for each in json.loads(broken.stdout)} == {"files"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[source]\nurl = "x"\n', "source.url: there is no such key"),
        ("[sauce]\n", "sauce: there is no such key"),
        ("[segmentation]\nhop_s = 20.0\n", "set hop_s to window_s or less"),
        ('[source]\ntimezone = "Mars/Base"\n', "no time zone is called 'Mars/Base'"),
        ('[source]\npattern = "{site}/{call}.wav"\n', "does not give a full date"),
        ('[aggregate]\nby = ["agent"]\n', "aggregate.by names agent"),
        ('[warehouse]\ncatalog = "mysql:x"\n', "expected sqlite:PATH or postgres:"),
        ("[source\n", "not valid TOML"),
    ],
)
def test_a_wrong_configuration_names_the_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "emolake.toml").write_text(text)
    assert said in sentence(emolake("doctor", cwd=tmp_path), 2)


def test_a_traceback_comes_only_with_debug(tmp_path: Path) -> None:
    assert "Traceback" in emolake("--debug", "nightly", cwd=tmp_path).stderr
    assert "Traceback" in emolake("nightly", "--debug", cwd=tmp_path).stderr


def test_init_writes_the_defaults_and_overwrites_only_when_told(tmp_path: Path) -> None:
    assert emolake("init", "--uri", "s3://bucket", cwd=tmp_path).returncode == 0
    settings = load_settings(tmp_path / "emolake.toml")
    assert settings.source.uri == "s3://bucket"
    assert settings.segmentation == Settings().segmentation
    assert settings.run == Settings().run
    assert "--force overwrites it" in sentence(emolake("init", cwd=tmp_path), 2)
    assert emolake("init", "--force", cwd=tmp_path).returncode == 0


def test_what_init_writes_holds_nothing_of_the_environment(tmp_path: Path) -> None:
    """Its password would lie in a file that says that secrets do not belong there."""
    secrets = {
        "EMOLAKE_WAREHOUSE__CATALOG": "postgres:host=db password=hunter2",
        "EMOLAKE_SOURCE__URI": "s3://of-the-environment",
        "EMOLAKE_MODELS__MINE__PATH": "runs/hunter2",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
    }
    assert emolake("init", cwd=tmp_path, **secrets).returncode == 0
    written = (tmp_path / "emolake.toml").read_text("utf-8")
    assert written == commented_toml()
    assert "hunter2" not in written
    assert "of-the-environment" not in written
    assert load_settings(tmp_path / "emolake.toml").warehouse.catalog.endswith("lake/catalog.sqlite")


def test_the_written_configuration_has_every_key_with_a_sentence() -> None:
    written = commented_toml().splitlines()
    for section in ("source", "fetch", "segmentation", "inference", "warehouse", "aggregate", "run"):
        fields = type(getattr(Settings(), section)).model_fields
        start = written.index(f"[{section}]")
        for name, field in fields.items():
            assert field.description, f"{section}.{name} has no sentence"
            assert any(line.removeprefix("# ").startswith(f"{name} = ") for line in written[start:])


def test_the_environment_wins_over_the_file(site: Path, tmp_path: Path) -> None:
    done = emolake("doctor", cwd=site, EMOLAKE_SOURCE__URI=str(tmp_path / "elsewhere"))
    assert done.returncode == 1
    assert "elsewhere does not exist; create it or correct source.uri" in done.stdout


def test_doctor_without_a_configuration_says_so_first(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emolake.upkeep.doctor.examine", lambda *_: iter(()))  # loads the shipped model
    done = emolake("doctor", cwd=tmp_path)
    assert done.stderr.startswith("emolake: there is no emolake.toml here; `emolake init` writes one")
    assert "emolake.toml" not in emolake("doctor", cwd=site).stderr


def test_init_from_a_folder_says_which_zone_it_took_and_what_that_decides(site: Path, tmp_path: Path) -> None:
    said = "source.timezone: UTC, as no --timezone was given: it decides which day a call belongs to"
    assert said in emolake("init", "--from", site / "calls", cwd=tmp_path).stderr
    zoned = emolake("init", "--from", site / "calls", "--timezone", "Asia/Tokyo", "--force", cwd=tmp_path)
    assert (zoned.returncode, said in zoned.stderr) == (0, False)


@pytest.mark.parametrize(("name", "what"), [("emolake.toml", "is a file"), ("nowhere", "does not exist")])
def test_init_from_what_is_no_folder_names_the_option(
    site: Path, tmp_path: Path, name: str, what: str
) -> None:
    said = sentence(emolake("init", "--from", site / name, cwd=tmp_path), 2)
    assert said == f"emolake: --from is a bucket or a folder, and {(site / name).resolve()} {what}"
    assert not (tmp_path / "emolake.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "stays"),
    [
        (("query", "SELECT 1"), "nothing was changed in the lake"),
        (("--debug", "publish"), "nothing was changed in the lake, and no file is half written"),
        (("nightly",), "what was committed stays, and the next run goes on from there"),
    ],
)
def test_an_interrupted_command_says_what_stays_of_it(
    site: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], stays: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("emolake.settings.load_settings", interrupted)
    done = emolake(*arguments, cwd=site)
    assert (done.returncode, done.stderr.strip()) == (130, f"emolake: interrupted; {stays}")


def test_the_commands_that_commit_nothing_are_commands() -> None:
    assert {*COMMANDS, "dashboard"} > COMMITS_NOTHING | WRITES_WHOLE_FILES


def test_doctor_is_content_with_a_folder(site: Path) -> None:
    done = emolake("doctor", cwd=site)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ok  ") == 13
    assert "FAIL" not in done.stdout


def test_doctor_finds_a_model_that_answers_the_same_to_everything(site: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    shutil.copytree(site / "tiny", flat)
    weights = load_file(flat / "model.safetensors")
    weights["members.0.output.weight"] *= 1e-3
    save_file(weights, flat / "model.safetensors")
    (tmp_path / "emolake.toml").write_text(
        f'[source]\nuri = "{site / "calls"}"\n[inference]\nmodel = "flat"\n[models.flat]\npath = "{flat}"\n'
    )
    done = emolake("doctor", cwd=tmp_path)
    assert done.returncode == 1
    assert "flat is degenerate: the logits of 12 segments" in done.stdout


def test_doctor_names_a_pattern_that_matches_nothing(site: Path) -> None:
    done = emolake("doctor", cwd=site, EMOLAKE_SOURCE__PATTERN="{site}/{date:%Y%m%d}.wav")
    assert done.returncode == 1
    assert "correct source.pattern" in done.stdout


def test_doctor_on_s3_names_bucket_and_credentials(s3: tuple[str, Path], site: Path, tmp_path: Path) -> None:
    url, _ = s3
    config = tmp_path / "emolake.toml"
    config.write_text(f'[source]\nuri = "s3://calls"\nendpoint_url = "{url}"\n[inference]\nmodel = "tiny"\n'
                      f'[models.tiny]\npath = "{site / "tiny"}"\n')  # fmt: skip
    good = emolake("doctor", "--config", config)
    assert good.returncode == 0, good.stdout
    wrong_bucket = emolake("doctor", "--config", config, EMOLAKE_SOURCE__URI="s3://nothing")
    assert wrong_bucket.returncode == 1
    assert "create the bucket or correct source.uri" in wrong_bucket.stdout
    wrong_key = emolake("doctor", "--config", config, AWS_SECRET_ACCESS_KEY="not-the-secret")
    assert wrong_key.returncode == 1
    assert "check AWS_SECRET_ACCESS_KEY or the profile" in wrong_key.stdout
    assert "not-the-secret" not in wrong_key.stdout + wrong_key.stderr


def stages_of(printed: str) -> list[list[str]]:
    """Name and number of each stage in a printed table of them."""
    table = printed[printed.index("stage") :].splitlines()[2:]
    return [[cell.strip() for cell in line.split("│")[:2]] for line in table if "│" in line]


def test_plan_tells_and_changes_nothing(site: Path, tmp_path: Path) -> None:
    empty = {
        "EMOLAKE_WAREHOUSE__CATALOG": f"sqlite:{tmp_path / 'c.sqlite'}",
        "EMOLAKE_WAREHOUSE__DATA": str(tmp_path / "d"),
    }
    done = emolake("backfill", "2026-11-19", "2026-11-20", "--plan", cwd=site, **empty)
    assert done.returncode == 0, done.stderr
    cells = [
        [cell.strip() for cell in line.split("│")] for line in done.stdout.splitlines() if "2026-" in line
    ]
    # missing, of them late, stale, failed, done
    assert [row[:6] for row in cells] == [
        ["2026-11-19", "0", "0", "0", "0", "0"],
        ["2026-11-20", "3", "0", "0", "0", "0"],
    ]
    assert [row[0] for row in stages_of(done.stdout)] == ["listed", "matched", "audio"]
    assert "2026-11-19: no key is listed, and other days list some" in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = emolake("backfill", "2026-11-20", "2026-11-20", "--plan", cwd=site)
    assert stages_of(done.stdout)[:5] == [
        ["listed", "4"], ["matched", "4"], ["audio", "3"], ["analysed", "3"], ["decoded", "2"]
    ]  # fmt: skip
    assert "broken.wav (undecodable: decode:" in done.stdout
    assert "│     0 │      0 │    3 │" in done.stdout
    late = site / "calls" / "2026" / "11" / "20" / "oslo" / "late.wav"
    shutil.copy(late.with_name("short.wav"), late)
    try:
        done = emolake("backfill", "2026-11-20", "2026-11-20", "--plan", cwd=site)
    finally:
        late.unlink()
    row = next(line for line in done.stdout.splitlines() if "2026-11-20" in line)
    assert [cell.strip() for cell in row.split("│")][1:3] == ["1", "1"]
    assert "real time of this model's runs so far" in done.stdout


def test_query_json_has_plain_types(site: Path) -> None:
    (row,) = rows(
        site,
        "SELECT date, recorded_at, dimensions, duration_s, error, channels FROM recordings WHERE uri LIKE '%long.wav'",
    )
    assert row == {
        "date": "2026-11-20",
        "recorded_at": None,
        "dimensions": {"site": "oslo", "call_id": "long", "ext": "wav"},
        "duration_s": 23.0,
        "error": None,
        "channels": 1,
    }


def test_query_writes_csv_and_parquet(site: Path, tmp_path: Path) -> None:
    done = emolake(
        "query", "SELECT segment_index, end_s FROM segments ORDER BY ALL", "--format", "csv", cwd=site
    )
    assert done.stdout.splitlines() == ["segment_index,end_s", "0,2.0", "0,10.0", "1,20.0", "2,23.0"]
    target = tmp_path / "segments.parquet"
    done = emolake("query", "FROM segments", "--format", "parquet", "-o", target, cwd=site)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(target).num_rows == 4
    done = emolake("query", "SELECT 1 AS one", "-o", tmp_path / "one.json", cwd=site)
    assert (done.stdout, done.stderr) == ("", f"wrote {tmp_path / 'one.json'}\n")
    assert json.loads((tmp_path / "one.json").read_text()) == [{"one": 1}]
    assert "name a file with -o" in sentence(
        emolake("query", "FROM segments", "--format", "parquet", cwd=site), 1
    )


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM segments",
        "CREATE TABLE t (a INT)",
        "COPY segments TO 'out.csv'",
        "ATTACH ':memory:' AS other",
        "SELECT 1; SELECT 2",
        "",
        "SELECT nothing FROM segments",
    ],
)
def test_query_reads_only(site: Path, sql: str) -> None:
    done = emolake("query", sql, cwd=site)
    assert (done.returncode, done.stderr.startswith("emolake: the query ")) == (1, True), done.stderr
    assert not (site / "out.csv").exists()


def test_what_is_not_theirs_is_kept_by_query_and_report(site: Path, tmp_path: Path) -> None:
    config = shutil.copy(site / "emolake.toml", tmp_path / "other.toml")
    for arguments in (("report",), ("query", "SELECT 1"), ("query", "SELECT 1", "--format", "csv")):
        done = emolake(*arguments, "-o", config, cwd=site)
        assert "is there, and is not what this command writes" in sentence(done, 2)
        assert Path(config).read_text() == (site / "emolake.toml").read_text()
        assert "is a folder" in sentence(emolake(*arguments, "-o", tmp_path, cwd=site), 2)
        assert emolake(*arguments, "-o", tmp_path / "new" / "x.txt", cwd=site).returncode == 0
        assert emolake(*arguments, "-o", config, "--force", cwd=site).returncode == 0
        shutil.copy(site / "emolake.toml", config)


def test_predict_gives_the_lakes_numbers(site: Path) -> None:
    done = emolake("predict", "calls/2026/11/20/oslo/long.wav", "--format", "json", "--logits", cwd=site)
    assert done.returncode == 0, done.stderr
    predicted = json.loads(done.stdout)
    stored = rows(
        site,
        "SELECT * FROM segments JOIN recordings USING (recording_id) WHERE uri LIKE '%long.wav' ORDER BY start_s",
    )
    assert len(predicted) == len(stored) == 3
    for row, kept in zip(predicted, stored, strict=True):
        assert set(row) == KEYS
        assert row["path"] == "calls/2026/11/20/oslo/long.wav"
        assert (row["start_s"], row["end_s"], row["label"]) == (kept["start_s"], kept["end_s"], kept["label"])
        assert list(row["probabilities"]) == list(LABELS)
        assert row["probabilities"] == pytest.approx(kept["probabilities"], abs=1e-4)
        exponents = np.exp(np.array(row["logits"]) - max(row["logits"]))
        assert exponents / exponents.sum() == pytest.approx(list(row["probabilities"].values()), abs=1e-5)


def test_predict_names_a_bad_file_and_still_gives_the_good_ones(site: Path) -> None:
    done = emolake("predict", "calls", "--format", "json", cwd=site)
    assert done.returncode == 1
    assert [row["path"].rpartition("/")[2] for row in json.loads(done.stdout)] == ["long.wav"] * 3 + [
        "short.wav"
    ]
    assert "broken.wav: undecodable" in done.stderr
    assert all(row["logits"] is None for row in json.loads(done.stdout))


def test_predict_writes_csv_with_a_column_for_each_label(site: Path) -> None:
    done = emolake("predict", "calls/2026/11/20/oslo/short.wav", "--format", "csv", "--logits", cwd=site)
    header, line = (each.split(",") for each in done.stdout.splitlines())
    named = dict(zip(header, line, strict=True))
    assert float(named["confidence"]) == pytest.approx(max(float(named[f"p_{label}"]) for label in LABELS))
    assert {f"logit_{label}" for label in LABELS} <= set(named)


def test_predict_marks_what_is_uncertain_in_each_format(site: Path) -> None:
    clip, asked = "calls/2026/11/20/oslo/short.wav", {"EMOLAKE_INFERENCE__ABSTAIN_BELOW": "1.0"}
    for environment, expected in (({}, False), (asked, True)):
        done = emolake("predict", clip, "--format", "json", cwd=site, **environment)
        assert [row["uncertain"] for row in json.loads(done.stdout)] == [expected]
        done = emolake("predict", clip, "--format", "csv", cwd=site, **environment)
        header, values = (each.split(",") for each in done.stdout.splitlines())
        assert header.index("uncertain") == header.index("confidence") + 1
        assert values[header.index("uncertain")] == str(expected)
        done = emolake("predict", clip, cwd=site, COLUMNS="200", **environment)
        head, *_, last = done.stdout.splitlines()
        assert head.split()[-1] == "uncertain"
        assert last.split()[-1] == str(expected)


def test_models_and_doctor_say_which_classes_and_what_is_uncertain(site: Path) -> None:
    restricted = {"EMOLAKE_MODELS__SMALL__CLASSES": '["neutral", "ang"]', "COLUMNS": "250"}
    listed = emolake("models", cwd=site, EMOLAKE_INFERENCE__ABSTAIN_BELOW="0.45", **restricted).stdout
    assert "anger, neutral (2 of 9)" in listed
    assert [line.split()[-1] for line in listed.splitlines() if "spectrogram_cnn" in line] == ["0.45", "0.45"]
    wrong = emolake("models", cwd=site, EMOLAKE_MODELS__TINY__CLASSES='["neutral", "envy"]', COLUMNS="400")
    assert wrong.returncode == 0
    assert "names the class 'envy', which the model does not give" in " ".join(wrong.stdout.split())
    done = emolake(
        "doctor",
        cwd=site,
        EMOLAKE_INFERENCE__ABSTAIN_BELOW="0.45",
        EMOLAKE_MODELS__TINY__CLASSES='["sad", "ang"]',
    )
    said = " ".join(done.stdout.split())
    assert "labels anger, sadness (2 of 4), uncertain below 0.45 (inference.abstain_below)" in said


def test_a_folder_is_judged_compared_counted_and_a_competition_filled(site: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number, emotion in enumerate(("angry", "sad", "sad")):
        noise = generator.normal(0, 0.1, (16_000, 1)).astype(np.float32)
        write_audio(tmp_path / "data" / emotion / f"T{number}.wav", noise, 16_000, "wav")
    done = emolake("evaluate", "--model", site / "tiny", "--data", "data", "--out", "judged", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tiny on 3 clips: unweighted average recall ")
    assert "3/3 clips" in done.stderr
    assert "a leak cannot be ruled out" in done.stderr
    done = emolake("compare", "judged", "judged", "-o", "compared", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "+0.000 [+0.000, +0.000], 0 lies inside" in done.stdout
    assert (tmp_path / "compared" / "compare.png").is_file()
    done = emolake("distribution", "data", "--format", "csv", "-o", "counts.png", cwd=tmp_path)
    assert done.stdout.splitlines()[1:] == [
        "data,sadness,2,0.6666666666666666,",
        "data,anger,1,0.3333333333333333,",
    ]
    assert (tmp_path / "counts.png").is_file()
    (tmp_path / "sample_submission.csv").write_text("id,label\nT2,?\nT0,?\n")
    filled = ("predict", "--submission", "sample_submission.csv", "--model", site / "tiny")
    done = emolake(*filled, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split(",") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["id", "T2", "T0"]
    assert {line[1] for line in lines[1:]} <= set(LABELS)


def test_models_lists_also_what_is_unusable(site: Path) -> None:
    done = emolake("models", cwd=site, EMOLAKE_MODELS__GHOST__PATH="nowhere")
    assert done.returncode == 0
    assert "spectrogram_cnn" in done.stdout
    assert "unusable" in done.stdout


def test_a_failed_nightly_exits_with_1_and_one_sentence(site: Path, tmp_path: Path) -> None:
    done = emolake("nightly", "--date", "2026-11-20", cwd=site, EMOLAKE_SOURCE__URI=str(tmp_path / "gone"))
    assert "does not exist; create it or correct source.uri" in sentence(done, 1)


def test_report_is_written(site: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    done = emolake("report", "--from", "2026-11-20", "--to", "2026-11-20", "-o", target, cwd=site)
    assert done.returncode == 0, done.stderr
    assert "broken.wav" in target.read_text("utf-8")
