"""An S3 server: OpenStack Swift with its s3api, one node, from a virtual environment of its own.

It checks signatures, MD5 and SHA-256 as AWS does. Its files carry extended attributes, so its
folder lies on a file system that has them.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from tests.services.base import Missing, Service, Workshop, free_port, listens

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(os.environ.get("SWIFT_VENV") or ROOT / "var" / "tools" / "swift")
"""Made by `make swift` from deploy/requirements/swift.lock."""

ACCESS_KEY, SECRET_KEY = "test:duxue", "duxue-secret"
REGION = "us-east-1"
BUCKET = "duxue"
"""A name for those who bring none; every test makes its own."""

_STORES = ("object", "container", "account")

_COMMON = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
# No children: one process is one thing to stop.
workers = 0
user = {user}
swift_dir = {folder}
log_level = WARNING
"""

_STORE = (
    _COMMON
    + """devices = {folder}/node
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
)

_PROXY = (
    _COMMON
    + """cors_allow_origin = *
cors_expose_headers = ETag
[pipeline:main]
pipeline = catch_errors cache s3api tempauth slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# With one node, the account is looked up once a minute, not at every request.
recheck_account_existence = 60
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
# A port where nothing listens: a cache that outlives a run would remember its buckets.
memcache_servers = 127.0.0.1:1
[filter:s3api]
use = egg:swift#s3api
s3_acl = no
location = {region}
allow_multipart_uploads = true
cors_preflight_allow_origin = *
check_bucket_owner = no
[filter:tempauth]
use = egg:swift#tempauth
user_{account} = {secret} .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
"""
)

_CLUSTER = """[swift-hash]
swift_hash_path_suffix = tests
swift_hash_path_prefix = tests
[storage-policy:0]
name = default
default = yes
"""

# Swift's own builder, called once: its command line would start Python nine times.
_MAKE_RINGS = """
import sys
from swift.common.ring import RingBuilder
for kind, port in zip(sys.argv[1::2], sys.argv[2::2]):
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port),
                     "replication_ip": "127.0.0.1", "replication_port": int(port),
                     "device": "sdb1", "weight": 1, "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{kind}.ring.gz")
"""


def _start(workshop: Workshop) -> str:
    python = VENV / "bin" / "python"
    if not python.exists():
        raise Missing("the S3 server of the tests is not installed: `make swift`")
    ports = {kind: free_port() for kind in (*_STORES, "proxy")}
    _configure(workshop.folder, ports)
    stores = [text for kind in _STORES for text in (kind, str(ports[kind]))]
    workshop.run(python, "-c", _MAKE_RINGS, *stores)
    for kind in ports:
        server = VENV / "bin" / f"swift-{kind}-server"
        workshop.spawn(f"{kind}.log", python, server, f"{kind}.conf", "--verbose")
    workshop.wait(lambda: all(map(listens, ports.values())), what="Swift")
    query = f"region={REGION}&scheme=http&path_style=1"
    user = ACCESS_KEY.replace(":", "%3A")
    return f"s3://{user}:{SECRET_KEY}@127.0.0.1:{ports['proxy']}/{BUCKET}?{query}"


def _configure(folder: Path, ports: dict[str, int]) -> None:
    (folder / "node" / "sdb1").mkdir(parents=True)
    (folder / "swift.conf").write_text(_CLUSTER)
    for kind, port in ports.items():
        template = _PROXY if kind == "proxy" else _STORE
        text = template.format(
            kind=kind,
            port=port,
            user=getpass.getuser(),
            folder=folder,
            region=REGION,
            account=ACCESS_KEY.replace(":", "_"),
            secret=SECRET_KEY,
        )
        (folder / f"{kind}.conf").write_text(text)


SWIFT = Service(name="swift", variable="TEST_S3_URL", start=_start)
