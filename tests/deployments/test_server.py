"""Deployments on a real Prefect server: applied once, edited by hand, pruned, fired, admitted."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.deployments import applying
from pipelines.deployments.applying import Ask

pytestmark = pytest.mark.slow

ONE = """\
deployments:
  - name: nightly
    config: configs/digits.yaml
    schedule: {cron: "30 4 * * *", timezone: Europe/Berlin}
    triggers: [{event: data_changed}, {event: drift, subject: digits}]
"""
def done(found):
    return {one.name: (one.what, one.done) for one in found.changes}

def test_a_second_deploy_changes_nothing(deployments, client):
    deployments(ONE)
    t=time.time()
    first = applying.deploy(Ask()); print(applying.text(first), time.time()-t)
    assert done(first) == {"nightly": ("new","applied")}
    second = applying.deploy(Ask()); print(applying.text(second), time.time()-t)
    print(second)
    assert done(second) == {"nightly": ("same","nothing")}
