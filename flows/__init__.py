"""What Prefect schedules: wiring only."""
