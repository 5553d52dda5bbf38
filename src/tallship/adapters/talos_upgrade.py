"""A node's upgrade in place: what starts it, what tells its boots apart, and what the node says of it meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from tallship.adapters.talos import Talos
from tallship.errors import ApiError, Unreachable
from tallship.talosproto import common_pb2, image_pb2, lifecycle_pb2, machine_pb2
from tallship.talosproto.image_grpc import ImageServiceStub
from tallship.talosproto.lifecycle_grpc import LifecycleServiceStub
from tallship.talosproto.machine_grpc import MachineServiceStub

BOOT_ID = "/proc/sys/kernel/random/boot_id"
"""Linux: another content after each boot, by kexec too."""
START_SECONDS = 600.0
"""Talos v1.12: the installer is pulled before the call is answered."""
INSTALL_SECONDS = 600.0
REBOOT_SECONDS = 30.0

_STORE = common_pb2.ContainerdInstance(driver=common_pb2.CRI, namespace=common_pb2.NS_SYSTEM)
"""Talos v1.13: talosctl pulls installers to here; the installer is looked for where it was pulled to."""


def boot_id(talos: Talos, node: str) -> str:
    """Return what the node's kernel calls its present boot. Raises ApiError."""
    found: list[bytes] = []
    request = machine_pb2.ReadRequest(path=BOOT_ID)
    talos.follow(node, "Read", MachineServiceStub, request, lambda each: found.append(each.bytes), 10)
    told = b"".join(found).decode().strip()
    if not told:  # nothing is not another boot
        raise Unreachable(f"Talos on {node} did not tell its boot", code="UNAVAILABLE")
    return told


def kernel_log(talos: Talos, node: str, lines: int) -> list[str]:
    """Return the last lines of the node's kernel log, which begins anew with each boot. Raises ApiError."""
    found: list[bytes] = []
    request = machine_pb2.DmesgRequest(follow=False, tail=False)
    talos.follow(node, "Dmesg", MachineServiceStub, request, lambda each: found.append(each.bytes), 10)
    return b"".join(found).decode(errors="replace").splitlines()[-lines:]


def start(talos: Talos, node: str, installer: str) -> None:
    """Begin an upgrade that the node does by itself: cordon, drain, install, reboot, uncordon.

    Talos v1.12: the call pulls the installer and asks etcd first; what fails after that is seen at the node only.
    Raises ApiError.
    """
    request = machine_pb2.UpgradeRequest(image=installer, preserve=True)
    talos.tell_once(node, "Upgrade", MachineServiceStub, request, START_SECONDS)


def install(talos: Talos, node: str, installer: str, tell: Callable[[str], None]) -> None:
    """Run an installer beside the running system, saying what it says: the node's next boot is in its version.

    From Talos v1.13 on. Raises ApiError, with code `INSTALLER` and its last words when the installer fails.
    """
    _pull(talos, node, installer)
    said: list[str] = []
    codes: list[int] = []

    def take(message: lifecycle_pb2.LifecycleServiceUpgradeResponse) -> None:
        if message.progress.WhichOneof("response") == "exit_code":
            codes.append(message.progress.exit_code)
        else:
            said.append(message.progress.message)
            tell(message.progress.message)

    source = lifecycle_pb2.InstallArtifactsSource(image_name=installer)
    request = lifecycle_pb2.LifecycleServiceUpgradeRequest(containerd=_STORE, source=source)
    talos.follow(node, "Upgrade", LifecycleServiceStub, request, take, INSTALL_SECONDS)
    if codes != [0]:
        ended = f"ended with status {codes[0]}" if codes else "did not tell how it ended"
        raise ApiError(f"the installer on {node} {ended}", code="INSTALLER", detail="\n".join(said[-8:]))


def _pull(talos: Talos, node: str, installer: str) -> None:
    names: list[str] = []
    request = image_pb2.ImageServicePullRequest(containerd=_STORE, image_ref=installer)
    talos.follow(node, "Pull", ImageServiceStub, request, lambda each: names.append(each.name), START_SECONDS)
    if not any(names):
        raise ApiError(f"Talos on {node} did not pull {installer}", code="PULL", may_pass=True)


def reboot(talos: Talos, node: str) -> None:
    """Reboot the node, which drains nothing by itself. Raises ApiError."""
    talos.tell_once(node, "Reboot", MachineServiceStub, machine_pb2.RebootRequest(), REBOOT_SECONDS)


def forfeit_leadership(talos: Talos, node: str) -> str:
    """Give etcd's leadership to another member; returns its name, or nothing where the node did not lead.

    Raises ApiError.
    """
    request = machine_pb2.EtcdForfeitLeadershipRequest()
    reply = talos.tell(node, "EtcdForfeitLeadership", MachineServiceStub, request)
    return "".join(str(each.member) for each in reply.messages)
