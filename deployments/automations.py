"""Let Prefect itself say when a run crashes or is late: `python deployments/automations.py`, after `prefect deploy`.

An automation runs the deployment `alert`, which sends what `emolake status` finds wrong to the receivers of [alerts]: a
run that was killed, or that no worker has begun, cannot say so itself. Run again, it replaces its automations.
"""

from uuid import UUID

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture

WATCHED = ("nightly", "maintain-lake")
EVENTS = {
    "emolake: a run crashed": {"prefect.flow-run.Crashed"},
    "emolake: a run is late": {"prefect.flow-run.Late"},
}


def automations(deployment_id: UUID) -> list[Automation]:
    """Return the automations, which run a deployment."""
    return [
        Automation(
            name=name,
            description="Sends what is wrong to the receivers of [alerts] (deployments/automations.py).",
            trigger=EventTrigger(
                expect=events,
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(WATCHED)},
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[RunDeployment(source="selected", deployment_id=deployment_id)],
        )
        for name, events in EVENTS.items()
    ]


def main() -> None:
    """Make the automations, in place of those of an earlier call."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("alert/alert")
        for name in EVENTS:
            for earlier in client.read_automations_by_name(name):
                client.delete_automation(earlier.id)
    for automation in automations(deployment.id):
        automation.create()
        print(f"made the automation {automation.name!r}")


if __name__ == "__main__":
    main()
