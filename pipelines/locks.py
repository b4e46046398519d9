"""One run computes a key, the others wait: locks that the kernel frees when a holder dies."""

import fcntl
import os
import time
from pathlib import Path

import anyio
from prefect.locking.protocol import LockManager

POLL_S = 0.1


class KernelLocks(LockManager):
    """Prefect's lock manager on flock(2), one file a key, on the folder that all runs share.

    Prefect's own file locks are files that a killed holder leaves behind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[str, tuple[str, int]] = {}

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Whether the holder has the lock now; waits for it."""
        end = None if acquire_timeout is None else time.monotonic() + acquire_timeout
        while not (self.is_lock_holder(key, holder) or self._take(key, holder)):
            if end is not None and time.monotonic() > end:
                return False
            time.sleep(POLL_S)
        return True

    async def aacquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """The same for coroutines."""
        return await anyio.to_thread.run_sync(self.acquire_lock, key, holder, acquire_timeout)

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back.

        Raises:
            ValueError: this holder does not have it.
        """
        if not self.is_lock_holder(key, holder):
            raise ValueError(f"{holder} holds no lock on {key}")
        os.close(self._held.pop(key)[1])

    def is_locked(self, key: str) -> bool:
        """Whether anybody has it."""
        if key in self._held:
            return True
        if self._take(key, "probe"):
            self.release_lock(key, "probe")
            return False
        return True

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether this holder has it."""
        return key in self._held and self._held[key][0] == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Whether the lock became free in time."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.is_locked(key):
            if end is not None and time.monotonic() > end:
                return False
            time.sleep(POLL_S)
        return True

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """The same for coroutines."""
        return await anyio.to_thread.run_sync(self.wait_for_lock, key, timeout)

    def _take(self, key: str, holder: str) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / f"{Path(key).name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._held[key] = (holder, handle)
        return True
