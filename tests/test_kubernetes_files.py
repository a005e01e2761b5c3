"""The files of deployments/kubernetes: by the schemas of Kubernetes and of KubeRay, and what they say of each other."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
from kubernetes_files import DOCUMENTS, of_kind

from emolake.pipeline.interrupts import GIVE_UP_S
from emolake.run_options import RunOptions
from emolake.settings import load_settings

DEFINITIONS = json.loads((Path(__file__).parent / "data" / "kubernetes.json").read_text("utf-8"))["$defs"]
CORE = {
    "CronJob": "io.k8s.api.batch.v1.CronJob",
    "ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "PersistentVolumeClaim": "io.k8s.api.core.v1.PersistentVolumeClaim",
    "ServiceAccount": "io.k8s.api.core.v1.ServiceAccount",
}
TEXT, NUMBER, SWITCH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
POD = {"$ref": "#/$defs/io.k8s.api.core.v1.PodTemplateSpec"}


def of(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


# The keys of RayJob of ray.io/v1 that a file may use; the API has more.
RAY_JOB = of(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata={"type": "object"},
    spec=of(
        ["entrypoint", "rayClusterSpec"],
        entrypoint=TEXT,
        entrypointNumCpus={"type": "number", "minimum": 0},
        backoffLimit=NUMBER,
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        shutdownAfterJobFinishes=SWITCH,
        ttlSecondsAfterFinished=NUMBER,
        rayClusterSpec=of(
            ["headGroupSpec"],
            rayVersion=TEXT,
            headGroupSpec=of(["rayStartParams", "template"], rayStartParams=TEXTS, template=POD),
            workerGroupSpecs={
                "type": "array",
                "items": of(
                    ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
                    groupName=TEXT, replicas=NUMBER, minReplicas=NUMBER, maxReplicas=NUMBER, rayStartParams=TEXTS,
                    template=POD,
                ),
            },
        ),
    ),
)  # fmt: skip


def schema_of(kind: str) -> dict[str, Any]:
    own = RAY_JOB if kind == "RayJob" else {"$ref": f"#/$defs/{CORE[kind]}"}
    return own | {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": DEFINITIONS}


@pytest.mark.parametrize(
    ("file", "document"), DOCUMENTS, ids=lambda each: each if isinstance(each, str) else each["kind"]
)
def test_documents_are_what_the_schemas_say(file: str, document: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema_of(document["kind"]))
    assert [error.message for error in validator.iter_errors(document)] == []


@pytest.mark.parametrize("kind", ["CronJob", "RayJob"])
def test_a_key_that_the_schemas_do_not_know_is_found(kind: str) -> None:
    document = json.loads(json.dumps(of_kind(kind)[0]))
    for _, template in templates(document):
        template["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(jsonschema.ValidationError, match="volumeMount"):
        jsonschema.validate(document, schema_of(kind))


def templates(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the templates of a document's pods, and what runs in them."""
    spec = document["spec"]
    if document["kind"] == "CronJob":
        yield "cron", spec["jobTemplate"]["spec"]["template"]
        return
    yield "head", spec["rayClusterSpec"]["headGroupSpec"]["template"]
    for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
        yield "worker", group["template"]


PODS = [
    pytest.param(template["spec"], id=f"{file} {number} {what}")
    for number, (file, document) in enumerate(DOCUMENTS)
    if document["kind"] in ("CronJob", "RayJob")
    for what, template in templates(document)
]


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_is_harmless_and_has_what_it_names(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["serviceAccountName"] in {each["metadata"]["name"] for each in of_kind("ServiceAccount")}
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["envFrom"] == [{"secretRef": {"name": "emolake"}}]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    assert {"/models", "/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
    known = {each["metadata"]["name"] for each in (*of_kind("ConfigMap"), *of_kind("PersistentVolumeClaim"))}
    for volume in pod["volumes"]:
        named = volume.get("configMap", {}).get("name") or volume.get("persistentVolumeClaim", {}).get(
            "claimName"
        )
        assert named is None or named in known


@pytest.mark.parametrize("pod", PODS)
def test_an_eviction_waits_longer_than_a_run_does(pod: dict[str, Any]) -> None:
    assert pod["terminationGracePeriodSeconds"] >= RunOptions().grace_s + GIVE_UP_S


def test_cron_jobs_do_not_overlap() -> None:
    jobs = of_kind("CronJob")
    assert len(jobs) == 3
    assert {job["spec"]["concurrencyPolicy"] for job in jobs} == {"Forbid"}


@pytest.mark.parametrize("map_", of_kind("ConfigMap"), ids=lambda each: each["metadata"]["name"])
def test_configurations_are_ones(tmp_path: Path, map_: dict[str, Any]) -> None:
    file = tmp_path / "emolake.toml"
    file.write_text(map_["data"]["emolake.toml"])
    settings = load_settings(file)
    assert settings.run.grace_s == RunOptions().grace_s
    assert settings.warehouse.is_on_s3


def test_the_run_asks_for_the_workers_that_there_are() -> None:
    (job,) = of_kind("RayJob")
    (map_,) = [each for each in of_kind("ConfigMap") if each["metadata"]["name"] == "emolake-ray"]
    engine = tomllib.loads(map_["data"]["emolake.toml"])["engine"]
    cluster = job["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert (engine["kind"], engine["address"]) == ("ray", "auto")
    assert engine["workers"] == group["replicas"] == group["minReplicas"] == group["maxReplicas"]
    assert (
        str(engine["cpus"])
        == group["rayStartParams"]["num-cpus"]
        == container["resources"]["requests"]["cpu"]
    )
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_what_is_done_before_a_head_ends_lets_its_run_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it sees two processes of the test's own alone: in a pod all processes are the pod's."""
    (job,) = of_kind("RayJob")
    (container,) = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    python, option, hook = container["lifecycle"]["preStop"]["exec"]["command"]
    assert (python, option) == ("python", "-c")
    waits = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit("drained"))
print(flush=True)
time.sleep(60)
"""
    with ExitStack() as ending:
        processes = []
        for word in ("nightly", "dashboard"):
            started = subprocess.Popen(
                [sys.executable, "-c", waits, word], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            ending.callback(started.wait)
            ending.callback(started.kill)
            assert started.stdout
            started.stdout.readline()
            processes.append(started)
        own = [psutil.Process(each.pid) for each in processes]
        for each in own:
            each.info = {"cmdline": each.cmdline()}  # type: ignore[attr-defined]
        monkeypatch.setattr(psutil, "process_iter", lambda attributes: own)
        exec(hook)
        run, other = processes
        assert run.stderr
        assert run.stderr.read() == b"drained\n"  # it had ended before the hook did
        assert other.poll() is None
