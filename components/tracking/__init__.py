"""One MLflow run per executed step, shipped beside the work: tracking never stops a training."""

from components.mlflow_store import create_template, embedded_uri, settings
from components.tracking.tracker import Tracker

__all__ = ["Tracker", "create_template", "embedded_uri", "settings"]
