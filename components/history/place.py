"""What every ledger does, wherever it lies, and what it raises."""

from typing import Protocol

from components.errors import IntegrityError
from components.history.chain import Draft, Event, Finding, State

ALIAS = "champion"

MEANWHILE = "the champion moved meanwhile"
NOT_ATOMIC = "not atomic: this server does not run Athanor's registry store"
TAKEN_BACK = "it was rolled back; only an explicit `athanor promote` brings it back"


class NotMoved(Exception):
    """The ledger holds the refusal, and the alias stands where it stood."""

    def __init__(self, champion: int | None, why: str) -> None:
        super().__init__(why)
        self.champion = champion
        self.why = why


class Ledger(Protocol):
    """A ledger beside a registry, for one tracking URI."""

    atomic: bool
    """Whether entry and alias are written in one transaction."""

    @property
    def key(self) -> str:
        """Under which this home remembers the heads of its chains."""
        ...

    def read(self, name: str) -> State:
        """Chain, anchor and alias of a name, all of one moment."""
        ...

    def append(self, name: str, draft: Draft) -> Event:
        """Write an entry that moves nothing."""
        ...

    def move(self, name: str, draft: Draft, expected: int | None, by_hand: bool) -> Event:
        """Write an entry and let the alias name its version, if it names the expected one.

        A version that was rolled back is moved `by_hand` alone.

        Raises:
            NotMoved: the alias names another version, or this one was rolled back.
            IntegrityError: chain or alias are not as Athanor wrote them.
            UsageError: there is no such version.
        """
        ...


def refuse(name: str, found: tuple[Finding, ...]) -> None:
    """Raise what stands against a move.

    Raises:
        IntegrityError: there are findings; it names the first and how to accept it.
    """
    if found:
        raise IntegrityError(
            f"the history of {name} is not as Athanor wrote it: {found[0].text}",
            f"look: athanor history {name} --verify; if it is as it should be: "
            f"athanor history {name} --accept {found[0].entry} --reason TEXT",
        )
