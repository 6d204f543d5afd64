"""A second S3 server: Ceph's radosgw before a cluster of one monitor and one OSD that lives in memory.

Nothing of it is on a disk save its logs, so it is killed rather than asked to end. Its lifecycle
takes two seconds for a day, so that a test sees the rules at work.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from tests.services.base import Failed, Service, Workshop, free_port, listens, program

ACCESS_KEY, SECRET_KEY = "duxue", "duxue-secret"
READER_KEY, READER_SECRET = "reader", "reader-secret"
"""Of somebody who may do nothing but what a bucket's policy lets him."""
REGION = "us-east-1"
BUCKET = "duxue"
"""A name for those who bring none; every test makes its own."""

_CONFIGURATION = """[global]
fsid = {cluster}
mon_host = v1:127.0.0.1:{mon}
public_addr = 127.0.0.1
ms_bind_msgr2 = false
# Everybody on this machine's loopback may: what is under test is the door that S3 clients use.
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
log_file = {folder}/$name.log
run_dir = {folder}
admin_socket = {folder}/$name.$pid.asok
keyring = {folder}/keyring
crash_dir = {folder}/crash
# One copy on one OSD, and no more placement groups than pools.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
# Each of radosgw's nine pools waits for one of the monitor's decisions: by default a second each.
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
# The monitor stops on a disk with less than 5 % free.
mon_data_avail_crit = 1
mon_data_avail_warn = 1
[mon]
mon_data = {folder}/mon
[osd]
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 4G
[client.rgw]
rgw_data = {folder}/rgw
# Without it every answer in two pieces waits 40 ms for an acknowledgement.
rgw_frontends = beast endpoint=127.0.0.1:{rgw} tcp_nodelay=1
rgw_run_sync_thread = false
rgw_enable_usage_log = false
# Deleted bytes leave the memory soon.
rgw_gc_obj_min_wait = 5
rgw_gc_processor_period = 5
# A day of a lifecycle is two seconds, and one worker looks at all buckets: several wait for each other.
# (With one second it never rests, because it cuts the rest off to whole seconds: that took a core.)
rgw_lc_debug_interval = 2
rgw_lc_max_worker = 1
rgw_lc_max_objs = 1
"""


def _start(workshop: Workshop) -> str:
    monitor = program("ceph-mon", package="ceph-mon")
    osd = program("ceph-osd", package="ceph-osd")
    gateway = program("radosgw", package="radosgw")
    admin = program("radosgw-admin", package="ceph-common")
    make_map = program("monmaptool", package="ceph-base")
    ceph = program("ceph", package="ceph-common")
    cluster, ports = str(uuid.uuid4()), {"mon": free_port(), "rgw": free_port()}
    configured = _configure(workshop.folder, cluster, ports)
    address = f"[v1:127.0.0.1:{ports['mon']}]"
    workshop.run(make_map, "--create", "--fsid", cluster, "--addv", "a", address, "monmap")
    workshop.run(monitor, *configured, "--mkfs", "-i", "a", "--monmap", "monmap")
    workshop.spawn("mon.log", monitor, *configured, "-i", "a", "-f")
    osd_id = str(uuid.uuid4())
    workshop.wait(
        lambda: _worked(workshop, ceph, *configured, "osd", "new", osd_id), what="Ceph's monitor"
    )
    workshop.run(osd, *configured, "--mkfs", "-i", "0", "--osd-uuid", osd_id, "--no-mon-config")
    workshop.wait(lambda: _has_begun(workshop, osd, *configured), what="Ceph's OSD")
    workshop.spawn("rgw.log", gateway, *configured, "-n", "client.rgw", "-f")
    workshop.wait(lambda: listens(ports["rgw"]), what="Ceph")
    for key, secret in ((ACCESS_KEY, SECRET_KEY), (READER_KEY, READER_SECRET)):
        workshop.run(
            *(admin, *configured, "-n", "client.rgw", "user", "create", f"--uid={key}"),
            *(f"--display-name={key}", f"--access-key={key}", f"--secret-key={secret}"),
        )
    query = f"region={REGION}&scheme=http&path_style=1"
    return f"s3://{ACCESS_KEY}:{SECRET_KEY}@127.0.0.1:{ports['rgw']}/{BUCKET}?{query}"


# A client that speaks to the monitor before it was told the cluster's id is refused ("wrong fsid"),
# and says so by ending. It happens about once in twenty starts; the next try is a new client.


def _worked(workshop: Workshop, *command: str | Path) -> bool:
    try:
        workshop.run(*command)
    except Failed:
        return False
    return True


def _has_begun(workshop: Workshop, osd: Path, *configured: str) -> bool:
    """Start the OSD where it does not run, and say whether it has found its monitor."""
    monitor, *others = workshop.processes
    if all(process.poll() is not None for process in others):
        workshop.processes = [monitor]
        workshop.spawn("osd.log", osd, *configured, "-i", "0", "-f")
        return False
    log = workshop.folder / "osd.0.log"
    return log.exists() and "done with init" in log.read_text(errors="replace")


def _configure(folder: Path, cluster: str, ports: dict[str, int]) -> tuple[str, str]:
    """The option that names the configuration."""
    for name in ("mon", "osd", "rgw", "crash"):
        (folder / name).mkdir()
    (folder / "keyring").write_text("")
    path = folder / "ceph.conf"
    path.write_text(_CONFIGURATION.format(cluster=cluster, folder=folder, **ports))
    return ("-c", str(path))


CEPH = Service(name="ceph", variable="TEST_CEPH_URL", start=_start, stop_signal=9)
