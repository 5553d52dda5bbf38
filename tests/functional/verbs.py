"""Each verb of the adapters that speak to an API, as something to call: how what it needs is made, and the call."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ship import Ship

from tallship.adapters import talos_recovery, talos_snapshot, talos_upgrade
from tallship.adapters.hetzner import Hetzner
from tallship.adapters.hetzner_resources import Resource
from tallship.adapters.kube import Kube
from tallship.adapters.talos import Talos
from tallship.adapters.web import Web
from tallship.env import Env
from tallship.talosproto import machine_pb2
from tallship.talosproto.machine_grpc import MachineServiceStub

PLACES: dict[str, type | ModuleType] = {
    "Hetzner": Hetzner,
    "Kube": Kube,
    "Talos": Talos,
    "Web": Web,
    "talos_recovery": talos_recovery,
    "talos_snapshot": talos_snapshot,
    "talos_upgrade": talos_upgrade,
}
"""The adapters whose answers come from an API that the lab serves."""
ASKS_NOBODY = {"Hetzner.close", "Kube.close", "talos_snapshot.facts"}
ELSEWHERE = {
    "Web.own_address": "the service is anybody's, and what it says is read as one address: `test_preflight.py`",
    "Talos.tell": "by way of `talos_upgrade.forfeit_leadership`",
    "Talos.tell_once": "by way of `talos_upgrade.reboot` and others",
    "Talos.upload": "by way of `talos_recovery.upload`",
}
"""Verbs that are tried in another place, and where."""
ONCE = {f"talos_{name}" for name in ("upgrade.start", "upgrade.reboot", "recovery.wipe", "recovery.bootstrap")}
"""Verbs whose call a node must not hear twice, and which leave no node as it was."""
CHANGES_NODES = ONCE | {"talos_upgrade.install", "talos_recovery.upload"}
SELECTOR = "made-by=test"
LABELS = {"made-by": "test"}
CONFIG_MAP = ("v1", "ConfigMap")
NUMBERS = itertools.count(1)


def verbs() -> list[str]:
    """Return every public verb, such as `Hetzner.list_servers`."""
    return [
        f"{place}.{name}"
        for place, owner in PLACES.items()
        for name, found in vars(owner).items()
        if inspect.isfunction(found)
        and not name.startswith("_")
        and found.__module__ in (getattr(owner, "__module__", ""), owner.__name__)
    ]


@dataclass(frozen=True)
class Verb:
    """One call: `make` prepares what it needs, where nothing goes wrong; `call` gets that."""

    call: Callable[[Scene, Any], object]
    make: Callable[[Scene], Any] = lambda scene: None


class Scene:
    """A finished cluster, and what the calls are about."""

    def __init__(self, ship: Ship, env: Env) -> None:
        self.ship, self.env = ship, env
        self.nodes: list[str] = [
            address["address"]
            for node in env.workload.list("v1", "Node")
            for address in node["status"]["addresses"]
            if address["type"] == "InternalIP"
        ]
        self.talos, self.hetzner, self.kube = env.talos, env.hetzner, env.management
        self._turn = itertools.cycle(self.nodes)
        self.spec = env.spec

    @property
    def name(self) -> str:
        """A name that nothing has."""
        return f"thing-{next(NUMBERS)}"

    @property
    def node(self) -> str:
        """Another node each time."""
        return next(self._turn)

    def tidy(self) -> None:
        """Take away what the calls made: a project has room for few."""
        for path in ("servers", "firewalls", "ssh_keys", "images"):
            for each in self.hetzner.list_resources(path, SELECTOR):
                self.hetzner.delete_resource(each)

    def new_key(self) -> int:
        return self.hetzner.create_ssh_key(self.name, public_key(), LABELS)

    def new_server(self) -> int:
        """Return a server that is switched off, and that no action holds."""
        made = self.hetzner.create_server(self.name, "cx23", "fsn1", "debian-12", LABELS, [])
        self.ship.world.clock.sleep(120)
        return made.id

    def new_image(self) -> int:
        lab, of = self.ship.world.lab.hetzner, {"architecture": "x86", "disk_gb": 10, "content": {}}
        made = self.ship.world.do(lambda: lab.add_snapshot(self.name, LABELS, **of))
        return int(made["id"])

    def new_firewall(self) -> Resource:
        name = self.name
        self.hetzner.put_firewall(name, [], SELECTOR, LABELS)
        return next(each for each in self.hetzner.list_resources("firewalls") if each.name == name)

    def new_config(self) -> str:
        return str(self.kube.create(config(name := self.name)) and name)

    def pod(self) -> tuple[str, str]:
        found = self.env.workload.list("v1", "Pod", "kube-system")
        return found[0]["metadata"]["namespace"], found[0]["metadata"]["name"]


def public_key() -> str:
    """Return a public key that the project does not know."""
    from tallship.adapters.ssh import new_key_pair

    return new_key_pair().public


def config(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}


def _hetzner() -> Iterator[tuple[str, Verb]]:
    yield "check_token", Verb(lambda scene, _: scene.hetzner.check_token())
    yield "list_locations", Verb(lambda scene, _: scene.hetzner.list_locations())
    yield "list_server_types", Verb(lambda scene, _: scene.hetzner.list_server_types())
    yield "find_server_type", Verb(lambda scene, _: scene.hetzner.find_server_type("cx23"))
    yield "pricing", Verb(lambda scene, _: scene.hetzner.pricing())
    yield "list_images", Verb(lambda scene, _: scene.hetzner.list_images(SELECTOR))
    yield "put_image_labels", Verb(lambda scene, key: scene.hetzner.put_image_labels(key, LABELS), Scene.new_image)
    yield "delete_image", Verb(lambda scene, key: scene.hetzner.delete_image(key), Scene.new_image)
    yield "list_servers", Verb(lambda scene, _: scene.hetzner.list_servers())
    yield "list_actions", Verb(lambda scene, key: scene.hetzner.list_actions(key), _any_server)
    yield "get_server", Verb(lambda scene, key: scene.hetzner.get_server(key), _any_server)
    yield "list_owned", Verb(lambda scene, _: scene.hetzner.list_owned(SELECTOR))
    yield "list_load_balancers", Verb(lambda scene, _: scene.hetzner.list_load_balancers(SELECTOR))
    yield "list_resources", Verb(lambda scene, _: scene.hetzner.list_resources("networks"))
    yield "list_documents", Verb(lambda scene, _: scene.hetzner.list_documents("networks"))
    yield "put_labels", Verb(lambda scene, thing: scene.hetzner.put_labels(thing, {"a": "b"}), Scene.new_firewall)
    yield "drop_label", Verb(lambda scene, thing: scene.hetzner.drop_label(thing, "made-by"), Scene.new_firewall)
    yield "delete_resource", Verb(lambda scene, thing: scene.hetzner.delete_resource(thing), Scene.new_firewall)
    yield "names_taken", Verb(lambda scene, _: _names_taken(scene))
    yield "find_firewall", Verb(lambda scene, _: scene.hetzner.find_firewall("no-such"))
    yield "put_firewall", Verb(lambda scene, name: scene.hetzner.put_firewall(name, [], SELECTOR, LABELS), _name)
    yield "create_ssh_key", Verb(lambda scene, key: scene.hetzner.create_ssh_key(scene.name, key, LABELS), _new_key)
    yield "list_ssh_keys", Verb(lambda scene, _: scene.hetzner.list_ssh_keys(SELECTOR))
    yield "delete_ssh_key", Verb(lambda scene, key: scene.hetzner.delete_ssh_key(key), Scene.new_key)
    yield "create_server", Verb(lambda scene, name: _create_server(scene, name), _name)
    yield "enable_rescue", Verb(lambda scene, key: scene.hetzner.enable_rescue(key, []), Scene.new_server)
    yield "power_on", Verb(lambda scene, key: scene.hetzner.power_on(key), Scene.new_server)
    yield "power_off", Verb(lambda scene, key: scene.hetzner.power_off(key), Scene.new_server)
    yield "create_image", Verb(lambda scene, key: scene.hetzner.create_image(key, "x", LABELS), Scene.new_server)
    yield "delete_server", Verb(lambda scene, key: scene.hetzner.delete_server(key), Scene.new_server)


def _kube() -> Iterator[tuple[str, Verb]]:
    yield "is_up", Verb(lambda scene, _: scene.kube.is_up())
    yield "version", Verb(lambda scene, _: scene.kube.version())
    yield "find", Verb(lambda scene, name: scene.kube.find(*CONFIG_MAP, name, "default"), Scene.new_config)
    yield "list", Verb(lambda scene, _: scene.kube.list(*CONFIG_MAP))
    yield "apply", Verb(lambda scene, name: scene.kube.apply(config(name)), _name)
    yield "create", Verb(lambda scene, name: scene.kube.create(config(name)), _name)
    yield (
        "patch",
        Verb(
            lambda scene, name: scene.kube.patch(*CONFIG_MAP, name, "default", {"data": {"c": "d"}}), Scene.new_config
        ),
    )
    yield "delete", Verb(lambda scene, name: scene.kube.delete(*CONFIG_MAP, name, "default"), Scene.new_config)
    yield "evict", Verb(lambda scene, pod: scene.env.workload.evict(pod[1], pod[0]), Scene.pod)
    yield "secret_value", Verb(lambda scene, _: scene.kube.secret_value("hetzner", "default", "hcloud"))
    yield "events", Verb(lambda scene, _: scene.kube.events("default"))
    yield "log", Verb(lambda scene, pod: scene.env.workload.log(*pod), Scene.pod)


def _talos() -> Iterator[tuple[str, Verb]]:
    for name in ("version", "services", "etcd_status", "stage", "images"):
        yield name, Verb(lambda scene, _, name=name: _first(getattr(scene.talos, name)(scene.nodes[:1])))  # type: ignore[misc]
    yield "pull_image", Verb(lambda scene, _: _first(scene.talos.pull_image(scene.nodes[:1], "ghcr.io/a/b:v1")))
    for name in ("members", "alarms", "manifests"):
        yield name, Verb(lambda scene, _, name=name: getattr(scene.talos, name)(scene.nodes[0]))  # type: ignore[misc]
    yield "follow", Verb(lambda scene, _: _follow(scene))


def _modules() -> Iterator[tuple[str, Verb]]:
    upgrade, recovery = talos_upgrade, talos_recovery
    yield "talos_upgrade.boot_id", Verb(lambda scene, _: upgrade.boot_id(scene.talos, scene.nodes[0]))
    yield "talos_upgrade.kernel_log", Verb(lambda scene, _: upgrade.kernel_log(scene.talos, scene.nodes[0], 5))
    yield "talos_upgrade.start", Verb(lambda scene, node: upgrade.start(scene.talos, node, "a/b:v1.12.3"), _node)
    yield (
        "talos_upgrade.install",
        Verb(lambda scene, node: upgrade.install(scene.talos, node, "a/b:v1.13.0", lambda _text: None), _node),
    )
    yield "talos_upgrade.reboot", Verb(lambda scene, node: upgrade.reboot(scene.talos, node), _node)
    yield (
        "talos_upgrade.forfeit_leadership",
        Verb(lambda scene, node: upgrade.forfeit_leadership(scene.talos, node), _node),
    )
    yield "talos_recovery.has_etcd_data", Verb(lambda scene, _: recovery.has_etcd_data(scene.talos, scene.nodes[0]))
    yield "talos_recovery.wipe", Verb(lambda scene, node: recovery.wipe(scene.talos, node), _node)
    yield "talos_recovery.upload", Verb(lambda scene, node: _upload(scene, node), _node)
    yield "talos_recovery.bootstrap", Verb(lambda scene, node: recovery.bootstrap(scene.talos, node), _node)
    yield "talos_snapshot.snapshot", Verb(lambda scene, name: _snapshot(scene, name), _name)
    yield "Web.register_schematic", Verb(lambda scene, _: scene.env.web.register_schematic(_factory(scene), "{}"))
    yield "Web.image_size", Verb(lambda scene, url: scene.env.web.image_size(url), lambda scene: _image_url(scene))
    yield "Web.image_sha256", Verb(lambda scene, url: scene.env.web.image_sha256(url), lambda scene: _image_url(scene))


def _any_server(scene: Scene) -> int:
    return scene.hetzner.list_servers()[0].id


def _name(scene: Scene) -> str:
    return scene.name


def _node(scene: Scene) -> str:
    return scene.node


def _new_key(_scene: Scene) -> str:
    return public_key()


def _names_taken(scene: Scene) -> object:
    return scene.hetzner.names_taken(network="a", placement_groups=["b"], firewall="c", ours=[])


def _create_server(scene: Scene, name: str) -> object:
    return scene.hetzner.create_server(name, "cx23", "fsn1", "debian-12", LABELS, [])


def _first(found: dict[str, Any]) -> object:
    """Return what the one node answered. Raises its error."""
    (answer,) = found.values()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _follow(scene: Scene) -> None:
    request = machine_pb2.DmesgRequest()
    scene.talos.follow(scene.nodes[0], "Dmesg", MachineServiceStub, request, lambda _each: None, 10)


def _upload(scene: Scene, node: str) -> None:
    file = scene.ship.folder / "some.snapshot"
    file.write_bytes(b"x" * 4096)
    text = scene.env.talosconfig.read_text()
    talos_recovery.upload(text, [scene.env.talos._endpoints[0]], node, file)


def _snapshot(scene: Scene, name: str) -> object:
    return talos_snapshot.snapshot(scene.talos, scene.nodes[0], scene.ship.folder / name)


def _factory(scene: Scene) -> str:
    return scene.env.site.factory_url


def _image_url(scene: Scene) -> str:
    schematic = scene.env.web.register_schematic(_factory(scene), "{}")
    return f"{_factory(scene)}/image/{schematic}/v1.12.2/hcloud-amd64.raw.xz"


VERBS: dict[str, Verb] = {
    **{f"Hetzner.{name}": verb for name, verb in _hetzner()},
    **{f"Kube.{name}": verb for name, verb in _kube()},
    **{f"Talos.{name}": verb for name, verb in _talos()},
    **dict(_modules()),
}
