"""Real servers for tests and benchmarks, each on a free port, in a folder that goes with it.

    with running(POSTGRES) as postgres:
        connect(postgres.url)

`python -m tests.services run COMMAND…` runs a command with all of them and their addresses in
TEST_POSTGRES_URL, TEST_REDIS_URL, TEST_S3_URL (Swift) and TEST_CEPH_URL; `up`, `env` and `down` keep
them for a while.
"""

from tests.services.base import Missing, Running, Service, running, stop
from tests.services.ceph import CEPH
from tests.services.postgres import DURABLE_POSTGRES, POSTGRES
from tests.services.redis import REDIS
from tests.services.swift import SWIFT

ALL: tuple[Service, ...] = (POSTGRES, REDIS, SWIFT, CEPH)

__all__ = [
    "ALL",
    "CEPH",
    "DURABLE_POSTGRES",
    "POSTGRES",
    "REDIS",
    "SWIFT",
    "Missing",
    "Running",
    "Service",
    "running",
    "stop",
]
