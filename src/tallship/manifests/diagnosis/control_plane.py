"""Rules about the control plane: etcd, roll-outs that do not end, and servers that are rebooted for nothing."""

from __future__ import annotations

from collections.abc import Iterator

from tallship.manifests import conditions, deadlock
from tallship.manifests.deadlock import Service
from tallship.manifests.diagnosis.finding import Finding, Rule
from tallship.manifests.picture import Document, Picture
from tallship.spec.names import CONTROL_PLANE_LABEL


def stuck_machine(picture: Picture) -> Iterator[Finding]:
    """A Machine that has left etcd and that nobody will delete."""
    if picture.members is None:
        return
    planes = [each for each, _ in picture.machines() if CONTROL_PLANE_LABEL in (each["metadata"].get("labels") or {})]
    name = deadlock.stuck_machine(planes, picture.members, picture.services)
    if name is None:
        return
    plane = picture.the("TalosControlPlane")
    yield Finding(
        "member-left",
        "error",
        "a roll-out waits for ever",
        f"Machine {name} has left etcd and was not deleted: CACPPT v0.5.12 does not come back to it"
        " (siderolabs/cluster-api-control-plane-provider-talos #237)",
        "delete exactly that Machine; the roll-out then goes on by itself",
        tuple(conditions.why_not_ready(plane)[:4]) if plane else (),
        f"machine {name}",
    )


def etcd(picture: Picture) -> Iterator[Finding]:
    """Members that are missing, learning or not well, and etcd's own alarms."""
    plane = picture.the("TalosControlPlane")
    if plane is not None and not conditions.initialized(plane):
        return  # etcd is only being made
    yield from _unwell(picture)
    if picture.alarms:
        yield Finding(
            "etcd-alarm",
            "error",
            "etcd refuses to write",
            "it has raised an alarm: NOSPACE means that its database has reached its limit",
            "free space first: `talosctl etcd defrag` on one node after the other, then `talosctl etcd alarm disarm`",
            tuple(picture.alarms),
        )
    learners = [each.hostname for each in picture.members or () if each.is_learner]
    if learners:
        yield Finding(
            "learner",
            "warning",
            "a member of etcd has no vote yet",
            "it is new and has still to catch up; etcd lets in one at a time",
            "wait; after ten minutes look at that node",
            tuple(learners),
        )


def _unwell(picture: Picture) -> Iterator[Finding]:
    """A lost majority, or else the members that are not well."""
    planes = [each for each in picture.hosts if conditions.is_control_plane(each)]
    states = {conditions.name(each): _etcd(picture, each) for each in planes}
    unwell = [
        f"etcd on {name} is {own.state}, not healthy" for name, own in states.items() if own and not own.is_healthy
    ]
    sick = [*picture.etcd_errors, *unwell]
    # Talos asks etcd with a read that needs the majority, so that without one no member is well.
    has_majority = len(planes) - len(unwell) > len(planes) // 2 and any(
        own and own.is_healthy for own in states.values()
    )
    if not has_majority and (unwell or any("no leader" in each for each in picture.etcd_errors)):
        yield Finding(
            "no-quorum",
            "error",
            "etcd has no majority: the cluster's API cannot write",
            "more than half of its members are gone or not well",
            "bring the servers back; if their disks are lost, `tallship backup restore`",
            (*sick, *(f"Talos on {name} does not answer" for name, own in states.items() if own is None)),
        )
    elif sick:
        yield Finding(
            "member-sick",
            "error",
            "a member of etcd is not well",
            "its disk is too slow or full, or ports 2379 and 2380 are closed between the servers",
            "no upgrade until it is well; `talosctl logs etcd` on that node says more",
            tuple(sick),
        )


def _etcd(picture: Picture, node: Document) -> Service | None:
    """Return the service etcd of a node, or None where it was not seen."""
    found = picture.services.get(conditions.internal_ip(node), ())
    return None if isinstance(found, Exception) else next((each for each in found if each.id == "etcd"), None)


def health_checks(picture: Picture) -> Iterator[Finding]:
    """A health check that reboots servers which are only waiting for their network."""
    checks = picture.management.get("MachineHealthCheck", ())
    never = [each for each in picture.nodes if not conditions.node_ready(each)]
    if checks and picture.nodes and len(never) == len(picture.nodes):
        yield Finding(
            "check-early",
            "error",
            "servers are rebooted although they are well",
            "a MachineHealthCheck is there, and no node has a network yet: to it all of them are sick",
            "take it away until the nodes are ready: `tallship up` puts it back last",
            tuple(conditions.name(each) for each in checks),
            "health-checks",
        )


def given_up(picture: Picture) -> Iterator[Finding]:
    """After its reboots a remediation leaves a mark that nobody takes away."""
    ready = {conditions.name(each) for each in picture.nodes if conditions.node_ready(each)}
    for machine, _ in picture.machines():
        mark = conditions.find_condition(machine, "OwnerRemediated")
        if mark is None or mark.get("status") != "False":
            continue
        node = ((machine.get("status") or {}).get("nodeRef") or {}).get("name", "")
        back = node in ready
        yield Finding(
            "given-up",
            "warning" if back else "error",
            f"Machine {conditions.name(machine)} counts as sick",
            "its reboots are used up, and its node came back all the same: CACPPT never takes the mark away"
            if back
            else "its reboots are used up, and no provider replaces a control plane server by itself",
            f"delete Machine {conditions.name(machine)} when etcd has its full number of members: it is replaced",
            (str(mark.get("message", "")),),
        )


RULES: tuple[Rule, ...] = (stuck_machine, etcd, health_checks, given_up)
