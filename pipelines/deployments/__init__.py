"""What runs without being asked: schedules and triggers of `configs/deployments.yaml`, in Prefect."""
