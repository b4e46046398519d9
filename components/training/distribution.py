"""A step by several ranks: started, watched and started again as torchrun does it.

The ranks are forks of the step's process, so they are there in milliseconds, also after one was
killed: then all begin again at the last checkpoint. They find each other through files in the
step's folder and speak on this machine's loopback: nothing listens to other machines.
"""

import logging
import os
import pickle
import shutil
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import active_children, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal, NamedTuple

from components import disk, files, workspace
from components.artifacts import Made
from components.errors import AthanorError, ConfigError, ResourceError
from components.launch import Launch
from components.records import Record
from components.training import interrupt, ranks

RESTARTS = 10
"""How often ranks may be lost in one try of a step. One loss can cost two: a rank that comes back
may still knock at the dead one's door."""
WATCH_S = 0.1
STOP = signal.SIGUSR1
"""Asks a rank to leave a checkpoint. SIGTERM ends one at once, which the agent does to those that
wait for a dead one."""
WORD = "word"
"""What a rank that failed said: the pickled answer."""
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
"""Words of an error that says: another rank is gone."""

_ENVIRONMENT = {
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
    # The agent would open a port to all networks for a store that nobody needs on one machine.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    # Counting GPUs through the driver's library leaves CUDA untouched, so ranks may be forked.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}

_LOGS = ("torch.distributed.elastic", "torch.multiprocessing.spawn")


class RankBroken(RuntimeError):
    """A rank raised what no step should: our bug. The text is its traceback."""


class Answer(NamedTuple):
    """What a rank says at its end."""

    kind: Literal["done", "error", "broken", "left"]
    """`left`: it was asked to."""
    value: Any = None


def launch(entry: str, arguments: dict[str, Any], how: Launch) -> Record:
    """The record that ranks make together with `module:function` of a training.

    Call it in a process that has computed nothing yet: the ranks are its forks. A signal that
    this process gets is handed on, and the training leaves one checkpoint at one step.

    Raises:
        ConfigError: the ranks cannot share the work evenly.
        ResourceError: ranks were lost again and again.
        RankBroken: a rank raised something that is no error of ours.
        AthanorError: the step's own error.
        KeyboardInterrupt: SIGINT came, and the ranks left.
        SystemExit: SIGTERM came, and the ranks left.
    """
    demand_shares(arguments["recipe"].budget.accumulate, how)
    folder = workspace.current().folder / "checkpoints" / "ranks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with _quiet(), interrupt.held(_hand_on):
        answers = _run(entry, arguments, how, folder)
        shutil.rmtree(folder, ignore_errors=True)
        for answer in answers:
            if answer.kind == "error":
                raise answer.value
            if answer.kind == "broken":
                raise RankBroken(answer.value)
        if any(answer.kind == "left" for answer in answers):
            interrupt.leave(interrupt.pending())
    return answers[0].value


def demand_shares(accumulate: int, how: Launch) -> None:
    """Nothing, where each rank can take as many portions of a batch as any other.

    Raises:
        ConfigError: they cannot.
    """
    if accumulate % how.processes:
        fitting = -(-accumulate // how.processes) * how.processes
        raise ConfigError(
            f"budget.accumulate is {accumulate}: {how.processes} processes cannot share that many "
            "portions of a batch evenly",
            f"set budget.accumulate of this step to a multiple of {how.processes} such as "
            f"{fitting}, or its resources to one process",
        )


def _run(entry: str, arguments: dict[str, Any], how: Launch, folder: Path) -> list[Answer]:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=how.processes,
        run_id="ranks",
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder / "meeting"),
        rdzv_configs={"store_type": "file"},
        local_addr="127.0.0.1",
        max_restarts=RESTARTS,
        monitor_interval=WATCH_S,
        start_method="fork",
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        signals_to_handle="SIGQUIT",  # the others are ours, see components.training.interrupt
    )
    try:
        found = elastic_launch(config, _rank)(entry, arguments, how, folder)
    except ChildFailedError as error:
        if (folder / WORD).exists():
            return [_word(folder)]
        _, last = error.get_first_failure()
        raise ResourceError(
            f"{how.processes} ranks were started {RESTARTS + 1} times and one was lost each time, "
            f"rank {last.local_rank} at last ({last.signal_name()}, exit code {last.exitcode})",
            "if memory was short, give the step fewer processes or a smaller budget.batch_size; "
            "then athanor resume goes on at the last checkpoint",
        ) from error
    return [found[rank] for rank in sorted(found)]


def _rank(entry: str, arguments: dict[str, Any], how: Launch, folder: Path) -> Answer:
    """A rank, from its fork to its answer; a lost other rank ends it with an exception.

    A rank that fails leaves a word and dies, so that no other waits for it; whoever is started
    after that repeats the word.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    interrupt.listen(STOP)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    number, attempt = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    here = workspace.current().folder if number == 0 else folder / f"rank-{number}"
    if (folder / WORD).exists():
        return _word(folder)
    if interrupt.pending():
        return Answer("left")
    try:
        with _group(folder / f"group-{attempt}", number, how), workspace.opened(here):
            module, _, name = entry.partition(":")
            record = vars(import_module(module))[name](**arguments)
            return Answer("done", _told(record, how, attempt) if number == 0 else None)
    except AthanorError as error:
        failed = Answer("error", error)
    except (KeyboardInterrupt, SystemExit):
        return Answer("left")
    except Exception as error:  # the rank's edge: its launcher must learn it
        if any(mark in str(error) for mark in LOST):
            raise
        short = disk.shortage(error)
        failed = Answer("error", short) if short else Answer("broken", traceback.format_exc())
    files.write_bytes(folder / WORD, pickle.dumps(failed))
    os._exit(1)


def _word(folder: Path) -> Answer:
    return pickle.loads((folder / WORD).read_bytes())


@contextmanager
def _group(store: Path, number: int, how: Launch) -> Iterator[None]:
    """Inside, this process is a rank and trainings are by all of them."""
    import torch
    import torch.distributed as dist

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.set_device(number % torch.cuda.device_count())
    dist.init_process_group(
        backend="cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        store=dist.FileStore(str(store), how.processes),
        rank=number,
        world_size=how.processes,
    )
    with ranks.joined(_ranks(how, device)):
        yield
    dist.destroy_process_group()


def _ranks(how: Launch, device: str) -> ranks.Ranks:
    if how.strategy == "fsdp":
        from components.training.shards import Shards

        return Shards(device)
    from components.training.replicas import Replicas

    return Replicas()


def _hand_on(number: int) -> None:
    for rank in active_children():
        if rank.pid and rank.is_alive():
            os.kill(rank.pid, STOP)


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, the agent's environment is set, and it logs nothing: what it does is told."""
    logs = [logging.getLogger(name) for name in _LOGS]
    levels = [log.level for log in logs]
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    for log in logs:
        log.setLevel(logging.CRITICAL + 1)
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _told(record: Record, how: Launch, restarts: int) -> Record:
    """The record with the ranks among its circumstances, which the journal shows too."""
    import torch

    seen = [str(number) for number in range(torch.cuda.device_count())]
    facts = {
        "processes": how.processes,
        "strategy": how.strategy,
        "devices": ",".join(how.devices or seen) or "cpu",
        "backend": "nccl" if seen else "gloo",
        "restarts": restarts,
    }
    workspace.current().params(facts)
    before = vars(record).get("made") or Made()
    made = before.model_copy(update={"facts": before.facts | facts})
    return record.model_copy(update={"made": made})


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)
