"""One MLflow run per executed step, shipped beside the work: tracking never stops a training."""

from typing import TYPE_CHECKING, Any

from components.mlflow_store import create_template, embedded_uri, settings

if TYPE_CHECKING:
    from components.tracking.tracker import Tracker

__all__ = ["Tracker", "create_template", "embedded_uri", "settings"]


def __getattr__(name: str) -> Any:
    """The tracker when it is asked for: who only looks what waits needs none of its records."""
    if name == "Tracker":
        from components.tracking.tracker import Tracker

        return Tracker
    raise AttributeError(name)
