"""A TCP proxy on 127.0.0.1 between a client and a server, which can make the server seem ill."""

import contextlib
import re
import socket
import threading
import time
from typing import Literal, Self

Illness = Literal["", "gone", "frozen", "500s", "slow", "cut"]
"""What befalls connections, those that are open included:

gone: refused or reset; frozen: nothing moves in either direction, nothing is lost; 500s: every
request is answered by the proxy, the server never sees it; slow: each part of an answer comes
late; cut: a request that changes something arrives and is carried out, its answer is lost.
"""

CHANGING = re.compile(rb"(?:POST|PATCH|PUT|DELETE) (\S+) ")

ANSWER = b"HTTP/1.1 500 Wrong\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwrong"


class Proxy:
    """Listens from its making on; `struck` counts the requests that met an illness."""

    def __init__(self, port: int, delay_s: float = 2.0) -> None:
        self.target = ("127.0.0.1", port)
        self.delay_s = delay_s
        self.struck = 0
        self.cut: list[str] = []
        """Paths of the requests whose answer was lost."""
        self.only_cut = ""
        """Cut only answers to requests whose path ends so."""
        self._illness: Illness = ""
        self._open = threading.Event()
        self._open.set()
        self._pairs: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.be("")
        self._listening.close()
        self._reset()

    def be(self, illness: Illness) -> None:
        """From now on; an empty word is health."""
        self._illness = illness
        if illness == "frozen":
            self._open.clear()
        else:
            self._open.set()
        if illness == "gone":
            self._reset()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self._illness == "gone":
                    self.struck += 1
                    client.close()
                    continue
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """The client's side; the server's side is a thread of its own."""
        self._pairs.add(client)
        server = None
        asked: list[str] = []
        with contextlib.suppress(OSError):
            while part := client.recv(1 << 16):
                if self._illness:
                    self.struck += 1
                self._open.wait()
                if changing := CHANGING.match(part):
                    asked[:] = [changing[1].decode()]
                elif part.startswith(b"GET "):
                    asked.clear()
                if self._illness == "500s":
                    _swallow(client, part)
                    client.sendall(ANSWER)
                    break
                if server is None:
                    server = socket.create_connection(self.target, timeout=30)
                    server.settimeout(None)
                    self._pairs.add(server)
                    both = (server, client, asked)
                    threading.Thread(target=self._answer, args=both, daemon=True).start()
                server.sendall(part)
        self._close(client, server)

    def _answer(self, server: socket.socket, client: socket.socket, asked: list[str]) -> None:
        with contextlib.suppress(OSError):
            while part := server.recv(1 << 16):
                self._open.wait()
                if self._illness == "cut" and self._cuts(asked):
                    self.cut.extend(asked)
                    break
                if self._illness == "slow":
                    time.sleep(self.delay_s)
                client.sendall(part)
        self._close(client, server)

    def _cuts(self, asked: list[str]) -> bool:
        path = asked[0] if asked else "/search"
        return path.endswith(self.only_cut) and not path.endswith("/search")

    def _reset(self) -> None:
        for one in tuple(self._pairs):
            self._close(one)

    def _close(self, *sockets: socket.socket | None) -> None:
        for one in sockets:
            if one is not None:
                self._pairs.discard(one)
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()


def _swallow(client: socket.socket, part: bytes) -> None:
    """Read a request to its end: an answer before it would be lost in a reset."""
    while b"\r\n\r\n" not in part:
        part += client.recv(1 << 16)
    head, _, body = part.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: *(\d+)", head)
    missing = int(found[1]) - len(body) if found else 0
    while missing > 0:
        more = client.recv(1 << 16)
        if not more:
            return
        missing -= len(more)
