"""One machine: what is written on its disk, what it was told, and how far it has come."""

from __future__ import annotations

import json
from typing import Any

from tallship.lab.clock import LabClock
from tallship.lab.store import Document, Table
from tallship.lab.talos import durations, settings
from tallship.lab.talos.config.validate import ConfigError, MachineConfig
from tallship.lab.talos.etcd import Etcd, Identity, Member
from tallship.lab.talos.releases import boot_id

RELEASE = "v1.12.2"
"""What boots from an image that does not say which release it has."""


def new_record(server: Document, user_data: str, image: Document, old: Document | None, now: float) -> Document:
    """Return what is remembered of a machine that gets power now: its disk and its boots, if it had any before."""
    disk = json.dumps(image.get("content"), sort_keys=True)
    kept = old if old is not None and old["disk"] == disk else {}
    public = server["public_net"]["ipv4"]
    return {
        "id": server["id"],
        "name": server["name"],
        "public_ip": public["ip"] if public else "",
        "private_ips": [each["ip"] for each in server["private_net"]],
        "user_data": user_data,
        "talos": kept.get("installed") or kept.get("talos") or talos_on(image),
        "is_wiped": kept.get("is_wiped", False),
        "installed": "",
        "upgrade": None,
        "reset": None,
        "recovery": None,
        "lacks_kubelet": False,
        "disk": disk,
        "on": True,
        "halts_at": None,
        "is_dead": False,
        "boots": kept.get("boots", 0) + 1,
        "booted_at": now,
        "member": kept.get("member", 0),
        "etcd_at": None,
        "has_left": False,
        "has_images": kept.get("has_images", False),
        "images": kept.get("images", []),
        "api_server_takes": durations.API_SERVER_AGAIN if kept.get("has_images") else durations.API_SERVER_FIRST,
    }


def talos_on(image: Document) -> str:
    """Return the Talos version that an image boots, or nothing for another system.

    What is on the disk decides. Where nothing is known of that, the labels do that image builders give a snapshot of
    Talos: `os=talos`, or CAPH's `caph-image-name`.
    """
    content, labels = image.get("content") or {}, image.get("labels") or {}
    if content:
        return str(content.get("talos") or (RELEASE if content.get("os") == "talos" else ""))
    return RELEASE if labels.get("os") == "talos" or "caph-image-name" in labels else ""


class Machine:
    """A server that runs Talos, or would if it had power and a configuration that can be loaded."""

    def __init__(self, table: Table, server_id: int, etcd: Etcd, clock: LabClock) -> None:
        self._table = table
        self._key = str(server_id)
        self._etcd = etcd
        self._clock = clock
        self.server_id = server_id
        self.refusal = ""
        """What keeps it out of its cluster's etcd."""
        self.serves_talos = False
        """True while its Talos API answers."""
        self.serves_kubernetes = False
        """True while its own API server answers."""
        self.sequence = "boot"
        """What it is doing as a whole: boot, reboot or shutdown; a reset and an upgrade are remembered instead."""
        self.is_installing = False
        """True while LifecycleService runs an installer."""
        self.loaded: MachineConfig | None = None
        """The configuration, or None when Talos could not load it."""
        self.problem = ""
        """Why the configuration could not be loaded."""
        self.load()

    @property
    def record(self) -> Document:
        """What is remembered of it."""
        return self._table[self._key]

    def change(self, **values: Any) -> None:
        """Remember other values."""
        self._table[self._key] = {**self.record, **values}

    def load(self) -> None:
        """Read the configuration in the user data."""
        self.loaded, self.problem = None, ""
        try:
            self.loaded = settings.load(self.record["user_data"])
        except ConfigError as error:
            self.problem = str(error)

    @property
    def settings(self) -> MachineConfig:
        """The configuration of a machine that has one."""
        assert self.loaded is not None, self.problem  # noqa: S101 - nothing runs on a machine without one
        return self.loaded

    @property
    def config(self) -> Document:
        """The v1alpha1 document of its configuration."""
        return {"machine": self.settings.machine, "cluster": self.settings.cluster}

    @property
    def name(self) -> str:
        """The server's name, which is the platform's host name too."""
        return str(self.record["name"])

    @property
    def hostname(self) -> str:
        """The configured host name, else the platform's."""
        return (self.loaded.hostname if self.loaded else "") or self.name

    @property
    def public_ip(self) -> str:
        """The address that it can be dialled at."""
        return str(self.record["public_ip"])

    @property
    def private_ip(self) -> str:
        """Its first private address, or nothing."""
        return next(iter(self.record["private_ips"]), "")

    @property
    def addresses(self) -> list[str]:
        """Every address, the public one first."""
        return [each for each in (self.public_ip, *self.record["private_ips"]) if each]

    @property
    def cluster_id(self) -> str:
        """What all machines of its cluster share."""
        return self.settings.cluster_id

    @property
    def identity(self) -> Identity:
        """What must be equal on all machines of its cluster."""
        own = self.settings
        return Identity(
            cluster_id=own.cluster_id,
            cluster_secret=own.cluster_secret,
            token=own.token,
            endpoint=own.endpoint,
            os_ca=own.os_ca,
            kubernetes_ca=own.kubernetes_ca,
            bootstrap_token=str(own.cluster.get("token", "")),
            etcd_ca=own.etcd_ca,
        )

    @property
    def etcd_address(self) -> str | None:
        """The address that its etcd advertises; None while it has none that may be."""
        return settings.etcd_address(self.settings, self.addresses)

    @property
    def talos_version(self) -> str:
        """The version that runs, such as `v1.12.2`."""
        return str(self.record["talos"])

    @property
    def boots(self) -> int:
        """How often it has booted."""
        return int(self.record["boots"])

    @property
    def boot_id(self) -> str:
        """What its kernel calls this boot."""
        return boot_id(self.hostname, self.boots)

    @property
    def upgrade(self) -> Document | None:
        """How far an upgrade in place is: what is remembered of it; None while there is none."""
        found: Document | None = self.record.get("upgrade")
        return found

    def note_upgrade(self, key: str) -> None:
        """Remember when something of the upgrade happened first, such as `cordoned_at`."""
        if self.upgrade is not None and self.upgrade[key] is None:
            self.change(upgrade={**self.upgrade, key: self._clock.now()})

    @property
    def has_stopped_services(self) -> bool:
        """True when an upgrade or a reset has stopped everything but the Talos API."""
        return any(each is not None and each["stopped_at"] is not None for each in (self.upgrade, self.reset))

    @property
    def reset(self) -> Document | None:
        """How far a reset is: what is remembered of it; None while there is none."""
        found: Document | None = self.record.get("reset")
        return found

    @property
    def recovery(self) -> Document | None:
        """What is remembered of a Bootstrap with a snapshot while etcd has no data of it."""
        found: Document | None = self.record.get("recovery")
        return found

    @property
    def recovery_problem(self) -> str:
        """Why no etcd could be made of the snapshot, or nothing."""
        return str((self.recovery or {}).get("problem", ""))

    @property
    def is_on(self) -> bool:
        """True while it has power and Talos is what boots: nothing does from a disk that was wiped."""
        return bool(self.record["on"] and self.record["talos"] and not self.record.get("is_wiped"))

    @property
    def is_control_plane(self) -> bool:
        """True when it runs etcd and an API server."""
        return self.settings.is_control_plane

    @property
    def api_at(self) -> float:
        """When the Talos API of this boot comes up."""
        return float(self.record["booted_at"]) + durations.API_UP

    @property
    def etcd_at(self) -> float | None:
        """When etcd runs in this boot; None while that is not known."""
        found = self.record["etcd_at"]
        return None if found is None else float(found)

    @property
    def api_server_at(self) -> float | None:
        """When its API server is up, if etcd lets it; None while that is not known."""
        return None if self.etcd_at is None else self.etcd_at + float(self.record["api_server_takes"])

    @property
    def images(self) -> list[str]:
        """The images for kubelet's containers that were pulled by request."""
        return list(self.record["images"])

    @property
    def member(self) -> Member | None:
        """The etcd member whose data it has, as long as that is a member."""
        found = self._etcd.member_of(self.cluster_id, self.server_id)
        return found if found and found.id == self.record["member"] else None

    @property
    def has_etcd_data(self) -> bool:
        """True when `/var/lib/etcd` is not empty."""
        return bool(self.record["member"])

    @property
    def etcd_state(self) -> str:
        """The state of Talos' service etcd."""
        if self.record["has_left"] or self.has_stopped_services:
            return "Finished"
        now = self._clock.now()
        if not self.has_etcd_data and self.recovery:
            return "Failed" if self.recovery_problem else "Preparing"
        if not self.has_etcd_data:
            return "Preparing" if now < self.api_at + durations.ETCD_JOIN_LIMIT else "Failed"
        if self.etcd_at is None or now < self.etcd_at:
            return "Preparing"
        return "Running" if self.member else "Failed"

    @property
    def runs_etcd(self) -> bool:
        """True while its etcd takes part."""
        return self.serves_talos and self.is_control_plane and self.etcd_state == "Running"

    @property
    def kubelet_may_register(self) -> bool:
        """True while kubelet runs and has what it needs to reach an API server."""
        if not self.serves_talos or self.refusal or self.has_stopped_services or self.record.get("lacks_kubelet"):
            return False
        if self.is_control_plane:
            up = self.api_server_at if self.runs_etcd else None
        else:
            up = self.api_at + durations.WORKER_KUBELET
        return up is not None and self._clock.now() >= up + durations.KUBELET_REGISTERS

    @property
    def stage(self) -> str:
        """Talos' word for how far it has come; `off` without power."""
        if not self.is_on:
            return "off"
        if self.sequence != "boot":
            return {"reboot": "rebooting", "shutdown": "shuttingDown"}[self.sequence]
        if self.reset is not None:
            return "resetting"
        if self.upgrade is not None:
            return "upgrading"
        return "running" if self.serves_talos and (not self.is_control_plane or self.runs_etcd) else "booting"
