"""A step as Prefect sees it: a task with its own place for results, its key and its tries."""

import json
from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import CrashedRun
from prefect.filesystems import LocalFileSystem
from prefect.serializers import JSONSerializer
from prefect.states import Completed, raise_state_exception
from prefect.tasks import Task
from prefect.transactions import IsolationLevel

from components import files, project
from components.records import Record
from pipelines import child, outages
from pipelines.keys import Call, result_folder
from pipelines.locks import KernelLocks
from pipelines.plan import Outlook, keeps


class WholeFiles(LocalFileSystem):
    """Results that are there whole or not at all, each with the sha256 of its file.

    Prefect's own storage writes in place. A flipped bit in a stored score would else be a score,
    and one in what Prefect notes beside it an error in the middle of a run.
    """

    _block_type_name = "Whole Files"

    def write_path(self, path: str, content: bytes, **_sync: Any) -> str:  # pyrefly: ignore
        """Put the content there, sealed."""
        place = self._resolve_path(path)
        files.write_sealed(place, json.loads(content))
        return str(place)

    async def awrite_path(self, path: str, content: bytes) -> str:
        """The same for coroutines."""
        return self.write_path(path, content)


def _retryable(_task: Task, _run: TaskRun, state: State) -> bool:
    """Only a process that died is tried again: an error would come back."""
    try:
        raise_state_exception(state)
    except (child.StepCrashed, CrashedRun):
        return True
    except BaseException:  # noqa: BLE001  whatever else a state may hold is not worth another try
        return False
    return False


def as_task(body: Callable[..., Record], call: Call, key: str, retries: int) -> Task:
    """A task under the step's name, whose result Prefect keeps under the step's key."""
    if keeps(call):
        locks = KernelLocks(project.home() / "locks")
        policy = CacheKeyFnPolicy(cache_key_fn=lambda _context, _inputs: key).configure(
            isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=locks
        )
    else:
        policy = NO_CACHE
    made = task(body).with_options(
        name=call.name,
        task_run_name=call.name,
        retries=retries,
        retry_delay_seconds=2,
        retry_condition_fn=_retryable,
        on_completion=[outages.ended],
        on_failure=[outages.ended],
        persist_result=keeps(call),
        result_serializer=JSONSerializer(),
        cache_policy=policy,
    )
    made.result_storage = WholeFiles(basepath=str(result_folder()))  # an option only if registered
    return made


def show_cached(outlook: Outlook) -> None:
    """A task that ends as Cached: its decision is stored, nothing runs."""

    def known() -> State:
        return Completed(name="Cached", message=outlook.reasons[0])

    task(known).with_options(
        name=outlook.name, task_run_name=outlook.name, cache_policy=NO_CACHE, persist_result=False
    )()
