"""The process of a worker: `python -m pipelines.workers WANTED`."""

import logging
import os
import socket
import sys

from pipelines.workers import standing, worker
from pipelines.workers.inventory import Machine

if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("pipelines").setLevel(logging.INFO)
    wanted = standing.Wanted.model_validate_json(sys.argv[1])
    worker.run(Machine(socket.gethostname(), standing.of(wanted)))
    logging.shutdown()
    os._exit(0)  # Python would wait for what was forked, and that goes on by itself
