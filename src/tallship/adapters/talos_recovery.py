"""What recovers etcd on machines that keep their configuration: data wiped, a snapshot sent, an etcd made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tallship.adapters.talos import Talos
from tallship.errors import ApiError, Unreachable
from tallship.talosproto import common_pb2, machine_pb2
from tallship.talosproto.machine_grpc import MachineServiceStub

DATA = "/var/lib/etcd/member"
EPHEMERAL = "EPHEMERAL"
"""Talos: the label of the partition with etcd's data and the images; configuration and boot loader lie elsewhere."""

CHUNK = 2**20
"""Talos v1.12: no message of the upload is larger."""
LIST_SECONDS = 10.0
RESET_SECONDS = 30.0
UPLOAD_SECONDS = 600.0
BOOTSTRAP_SECONDS = 60.0
"""Talos v1.12: the waiting etcd is stopped before the call is answered."""

_ABSENT = "no such file or directory"


def has_etcd_data(talos: Talos, node: str) -> bool:
    """True when the node's disk holds data of etcd's, running or not. Raises ApiError."""
    errors: list[str] = []

    def take(entry: machine_pb2.FileInfo) -> None:
        errors.append(f"{entry.error} {entry.metadata.error}")

    request = machine_pb2.ListRequest(root=DATA)
    try:
        talos.follow(node, "List", MachineServiceStub, request, take, LIST_SECONDS)
    except ApiError as error:
        if isinstance(error, Unreachable) or _ABSENT not in f"{error.message} {error.detail}":
            raise
        return False
    return not any(_ABSENT in each for each in errors)


def wipe(talos: Talos, node: str) -> None:
    """Begin to reset the node's data, and boot it again with the configuration it has. Raises ApiError.

    Not gracefully: that would need an etcd that lets the node go. Naming no partition would wipe the system disk.
    """
    spec = machine_pb2.ResetPartitionSpec(label=EPHEMERAL, wipe=True)
    request = machine_pb2.ResetRequest(graceful=False, reboot=True, system_partitions_to_wipe=[spec])
    talos.tell_once(node, "Reset", MachineServiceStub, request, RESET_SECONDS)


def upload(talosconfig: str, addresses: Sequence[str], node: str, snapshot: Path) -> None:
    """Send a snapshot to a node by way of the first address that answers: best its own, so that nobody passes it on.

    Talos v1.12 checks nothing of it before it is restored. Raises ApiError, and OSError for the file.
    """
    talos = Talos(talosconfig, addresses)
    talos.upload(node, "EtcdRecover", MachineServiceStub, _Chunks(snapshot), UPLOAD_SECONDS)


def bootstrap(talos: Talos, node: str) -> None:
    """Begin to make an etcd of the snapshot that the node was sent; whether it works is seen at its service etcd.

    Raises ApiError, with code `ALREADY_EXISTS` where the node has an etcd's data.
    """
    request = machine_pb2.BootstrapRequest(recover_etcd=True)
    talos.tell_once(node, "Bootstrap", MachineServiceStub, request, BOOTSTRAP_SECONDS)


class _Chunks:
    """A file as messages; read anew for each endpoint that is tried."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __iter__(self) -> Iterator[common_pb2.Data]:
        with self._file.open("rb") as content:
            while chunk := content.read(CHUNK):
                yield common_pb2.Data(bytes=chunk)
