"""Take the schedules of deployments away whose `schedules` is an empty list in a file.

`python deployments/clear_schedules.py FILE`, after `prefect deploy`: Prefect 3.8 leaves an earlier schedule active
where the file now says `schedules: []` (PrefectHQ/prefect#23097), and the deployment goes on running at its hours.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import get_client


def emptied(file: Path) -> list[str]:
    """Return the names, as flow/deployment, of those whose `schedules` is an empty list."""
    deployments: list[dict[str, Any]] = yaml.safe_load(file.read_text("utf-8"))["deployments"]
    return [f"{_flow_name(each)}/{each['name']}" for each in deployments if each.get("schedules") == []]


def _flow_name(deployment: dict[str, Any]) -> str:
    """Return the name of a deployment's flow, as its entrypoint has it."""
    from prefect.utilities.importtools import import_object

    name: str = import_object(deployment["entrypoint"]).name
    return name


def main(file: Path) -> None:
    """Delete the schedules on the server."""
    with get_client(sync_client=True) as client:
        for name in emptied(file):
            deployment = client.read_deployment_by_name(name)
            for schedule in client.read_deployment_schedules(deployment.id):
                client.delete_deployment_schedule(deployment.id, schedule.id)
                print(f"{name} is no longer scheduled")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
