"""What runs without being asked: schedules and triggers, in Prefect."""
