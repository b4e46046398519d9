"""The process of a home's door: `python -m pipelines.door HOST PORT`."""

import logging
import os
import sys
import threading

import uvicorn
from prefect.client.orchestration import get_client

from components import project
from pipelines import likeness, opening
from pipelines.door import app
from pipelines.door.desk import Desk

MOST_AT_ONCE = 256
"""Connections; more are told to come again."""


def serve(host: str, port: int) -> bool:
    """Serve until SIGTERM, which gives False, or until the code of the project was edited."""
    home = project.home()
    code = likeness.code()
    app.sweep()
    with get_client(sync_client=True) as client:
        desk = Desk(home, client)
        config = uvicorn.Config(
            app.make(desk, opening.token(home)),
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            limit_concurrency=MOST_AT_ONCE,
            h11_max_incomplete_event_size=64 << 10,
        )
        server = uvicorn.Server(config)

        def over() -> bool:
            if likeness.edited(code):
                server.should_exit = True
            return server.should_exit

        looking = threading.Thread(target=desk.work, args=(over,), daemon=True)
        looking.start()
        server.run()
        looking.join(10)
    return likeness.edited(code)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if serve(sys.argv[1], int(sys.argv[2])):
        # The same process, number and place with the new code: workers only wait a moment.
        os.execv(sys.executable, [sys.executable, "-m", "pipelines.door", *sys.argv[1:]])
