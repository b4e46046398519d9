"""The worker of this machine for another one's runs: takes steps at a door, gives each a process.

One loop, one thread. What it knows lies on the disk and at the door, so it may be killed at any
moment: the processes that it forked go on, and the next worker hands in what they came to.
"""

import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from components import files, project
from components.errors import AthanorError, UsageError
from pipelines import child, likeness, places
from pipelines.door.talk import Beat, Due, Given, Heard
from pipelines.places import Held
from pipelines.remote import step
from pipelines.remote.server import Away, Server
from pipelines.workers import ends, inventory, process
from pipelines.workers.inventory import Machine
from pipelines.workers.process import AtWork

LOOK_S = 0.5
PAUSE_S = 5.0
DRAIN_S = 45.0
"""A step gets 30 seconds for a checkpoint, and its process time to say so."""
PATIENCE_S = 30.0
"""How long a worker's name may still be held by the one before it."""

log = logging.getLogger(__name__)
_context = multiprocessing.get_context("forkserver")


class Worker:
    """Asks the door for work about twice a second, until it is told to stop."""

    def __init__(self, machine: Machine, server: Server, say: Callable[[str], None]) -> None:
        self.machine = machine
        self.server = server
        self.say = say
        self.stopping = False
        self.code = likeness.code()
        self._children: dict[str, Any] = {}
        self._delivering: dict[str, threading.Thread] = {}
        self._trouble = ""
        self._away = False

    def work(self) -> None:
        """One look after the other; returns when the worker is asked to stop or its code is old."""
        begun = time.monotonic()
        while not self.stopping and not likeness.edited(self.code):
            pause_s = LOOK_S
            try:
                self.look()
                self._heard()
            except Away as error:
                self._unheard(error)
                pause_s = min(PAUSE_S, 4 * LOOK_S)
            except UsageError:  # another worker has the name; the one before us, for a moment
                if time.monotonic() - begun > PATIENCE_S:
                    raise
                pause_s = PAUSE_S
            time.sleep(pause_s)

    def look(self) -> None:
        """Tell what is at work, stop what is not wanted, start what can be started."""
        heard = self._beat()
        for living in self._living():
            if living.flow_run_id in heard.stop:
                ends.stop(living)
        self._demand_same_code(heard)
        if not self._trouble:
            for due in heard.due:
                self._start(due)

    def drain(self) -> None:
        """Take no step any more, and stop those at work once they left a checkpoint."""
        self._trouble = "it is drained"
        deadline = time.monotonic() + DRAIN_S
        while (living := self._living()) and time.monotonic() < deadline:
            for each in living:
                ends.stop(each)
            time.sleep(LOOK_S)
        try:
            self._beat()
            self.server.ask("DELETE", f"/workers/{self.machine.name}")
        except AthanorError as error:
            log.warning("%s", error)

    def _beat(self) -> Heard:
        """What the door answers; it hears of the living, and of the dead that left nothing."""
        living, ended = self._living(), []
        for gone in process.at_work():
            if not gone.key or gone in living or gone.flow_run_id in self._delivering:
                continue
            if self._left(gone):
                self._deliver(gone)
            else:
                ended.append(gone.flow_run_id)
        named = {each.flow_run_id for each in living} | self._delivering.keys()
        own = inventory.of(self.machine)
        beat = Beat(
            inventory=own.model_copy(update={"trouble": self._trouble}),
            at_work=tuple(sorted(named | self._forked())),
            ended=tuple(ended),
        )
        path = f"/workers/{self.machine.name}"
        answer = self.server.ask("POST", path, data=beat.model_dump_json().encode())
        for each in ended:
            process.forget(each)
        return Heard.model_validate(answer.json())

    def _living(self) -> tuple[AtWork, ...]:
        return tuple(each for each in process.at_work() if each.key and not each.dead)

    def _forked(self) -> set[str]:
        """Steps whose process is so young that it has not noted itself yet."""
        for done in [one for one, each in self._children.items() if not each.is_alive()]:
            self._children.pop(done).join()
        return set(self._children)

    def _left(self, gone: AtWork) -> bool:
        from pipelines.workers import parcels

        folder = project.home() / "work" / (gone.key or "")
        return parcels.read(folder / "outcome.json", gone.flow_run_id) is not None

    def _deliver(self, gone: AtWork) -> None:
        """Hand in beside the loop what a process could not: its objects may be large."""

        def act() -> None:
            try:
                step.delivered(self.server, gone)
            except AthanorError as error:
                log.warning("%s", error)
                time.sleep(PAUSE_S)
            finally:
                self._delivering.pop(gone.flow_run_id, None)

        thread = threading.Thread(target=act, daemon=True)
        self._delivering[gone.flow_run_id] = thread
        thread.start()

    def _start(self, due: Due) -> None:
        """Fork the process of a step, if it gets what it wants now and the door gives it."""
        if due.flow_run_id in self._children or files.is_locked(step.lock(due.key)):
            return  # an earlier try of it is on its way out
        held = places.take(due.resources, self.machine.places)
        if held is None:
            return
        try:
            path = f"/steps/{due.flow_run_id}/claim?worker={self.machine.name}"
            answer = self.server.ask("POST", path)
            self._fork(Given.model_validate(answer.json()), held)
        except UsageError:
            return  # another worker was faster
        finally:
            held.drop()

    def _fork(self, given: Given, held: Held) -> None:
        name = given.flow_run_id
        made = _context.Process(
            target=step.main, args=(self.server, given, held, self.code), name=name
        )
        made.start()
        self._children[name] = made

    def _demand_same_code(self, heard: Heard) -> None:
        """Take no step while the clones differ: each would be refused, and end its run."""
        alike = heard.code == self.code
        trouble = "" if alike else "this clone has other code than the run's"
        if trouble and not self._trouble:
            self.say(f"{trouble}: no step is taken until they are alike again")
        if self._trouble and not trouble:
            self.say("the clones are alike again")
        self._trouble = trouble

    def _heard(self) -> None:
        if self._away:
            self.say("the door answers again")
        self._away = False

    def _unheard(self, error: Away) -> None:
        if not self._away:
            self.say(f"{error.message}; what runs goes on")
        self._away = True


def run(machine: Machine, server: Server, say: Callable[[str], None]) -> bool:
    """Be the worker of this machine until SIGTERM or Ctrl-C, then drain.

    True: the code was edited. Somebody starts the worker again, which loses nothing.
    """
    for folder in ("worker", "locks", "work"):
        (project.home() / folder).mkdir(exist_ok=True)
    child.warm(extra=step.PRELOAD)
    worker = Worker(machine, server, say)

    def stop(_number: int, _frame: object) -> None:
        worker.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker.work()
    if not worker.stopping:
        return True
    say("stopping: steps at work leave a checkpoint first")
    worker.drain()
    return False
