"""Redis that keeps nothing on disk."""

from __future__ import annotations

from tests.services.base import Service, Workshop, free_port, listens, program


def _start(workshop: Workshop) -> str:
    server = program("redis-server", package="redis-server")
    port = free_port()
    workshop.spawn(
        *("redis.log", server, "--port", str(port), "--bind", "127.0.0.1"),
        *("--save", "", "--appendonly", "no", "--dir", workshop.folder),
    )
    workshop.wait(lambda: listens(port), what="Redis")
    return f"redis://127.0.0.1:{port}/0"


REDIS = Service(name="redis", variable="TEST_REDIS_URL", start=_start)
