"""Rules about servers, images and the load balancer: Cluster API's view against Hetzner's."""

from __future__ import annotations

from collections.abc import Iterator

from tallship.manifests import conditions, image
from tallship.manifests.diagnosis.finding import Finding, Rule
from tallship.manifests.picture import Document, Picture

ORDERS = {
    "resource_unavailable": (
        "sold-out",
        "a server cannot be had: its type is sold out in its location",
        "wait, CAPH asks again; or choose another server type: `tallship up --replace`",
    ),
    "resource_limit_exceeded": (
        "quota",
        "the project's limit of servers is reached",
        "delete what is not needed, or ask Hetzner for a higher limit in its console",
    ),
    "placement_error": (
        "placement-group-full",
        "a placement group takes no more servers",
        "a spread group holds ten: make the control plane or the pool smaller",
    ),
}
"""What Hetzner answers to an order: code, cause, advice."""

BALANCER_GONE = "save what you can; then `tallship destroy`, and `tallship backup restore --anew` from a backup"


def images(picture: Picture) -> Iterator[Finding]:
    """CAPH looks an image up by its label and refuses to choose between two."""
    name = image.name(picture.spec)
    found = [each for each in picture.hetzner.get("images", ()) if each["labels"].get(image.NAME_LABEL) == name]
    asked = _reasons(picture, ("ImageNotFound", "ImageAmbiguous"))
    if "images" in picture.hetzner and len(found) > 1:
        yield Finding(
            "image-ambiguous",
            "error",
            "CAPH orders no server",
            f"{len(found)} snapshots are named {name}, and CAPH refuses to choose",
            "`tallship image build --rebuild` puts one new in their place",
            (*(f"snapshot {each['id']}" for each in found), *asked),
        )
    elif "images" in picture.hetzner and not found:
        yield Finding(
            "image-missing",
            "error" if asked else "warning",
            "a new server would have nothing to boot from",
            f"no snapshot is named {name}: the name in the template and the snapshot's label must be equal",
            "`tallship up --only image` builds it",
            tuple(asked),
        )
    elif asked:
        wanted = sorted(
            {str(each["spec"].get("imageName", "")) for each in picture.management.get("HCloudMachine", ())}
            - {name, ""}
        )
        yield Finding(
            "image-mismatch",
            "error",
            "CAPH orders no server",
            f"servers are to boot from {', '.join(wanted) or 'another image'}, the cluster file says {name}",
            "`tallship up --replace` makes the template name the image",
            tuple(asked),
        )


def orders(picture: Picture) -> Iterator[Finding]:
    """Hetzner refuses to make a server."""
    for each in picture.management.get("HCloudMachine", ()):
        refused = conditions.find_condition(each, "ServerCreateSucceeded")
        if refused is None or refused.get("status") != "False":
            continue
        message = str(refused.get("message", ""))
        for word, (code, cause, advice) in ORDERS.items():
            if word in message:
                what = f"server {conditions.name(each)} is not made"
                yield Finding(code, "error", what, cause, advice, (message,))


def lost(picture: Picture) -> Iterator[Finding]:
    """Machines without a server, servers without a Machine, and servers that are off."""
    if "servers" not in picture.hetzner or "HCloudMachine" not in picture.management:
        return
    servers = {str(each["id"]): each for each in picture.hetzner["servers"]}
    claimed = set()
    for machine, item in picture.machines():
        provider = str(((item or {}).get("spec") or {}).get("providerID") or "").removeprefix("hcloud://")
        if not provider:
            continue
        claimed.add(provider)
        server = servers.get(provider)
        if server is None and not machine["metadata"].get("deletionTimestamp"):
            yield Finding(
                "server-lost",
                "error",
                f"Machine {conditions.name(machine)} has no server any more",
                "somebody deleted its server; no controller makes it anew",
                "delete the Machine: its place is filled again; etcd first must have enough other members",
                tuple(conditions.why_not_ready(item or {})[:3]),
            )
        elif server is not None and server["status"] == "off":
            yield Finding(
                "server-off",
                "error",
                f"server {server['name']} is switched off",
                "somebody switched it off, or its system has shut down",
                "switch it on in Hetzner's console",
            )
    names = {conditions.name(each) for each in _items(picture)}
    for key, server in servers.items():
        if key not in claimed and server["name"] not in names:
            yield Finding(
                "server-orphan",
                "warning",
                f"server {server['name']} belongs to no Machine",
                "it carries the cluster's label and costs money, and no controller knows it",
                "delete it in Hetzner's console, once you know what it was for",
            )


def balancers(picture: Picture) -> Iterator[Finding]:
    """The load balancer sends only to those that it finds well; without one nothing leads to the API."""
    live = picture.the("HetznerCluster")
    address = ((live or {"spec": {}})["spec"].get("controlPlaneEndpoint") or {}).get("host")
    if address and picture.hetzner.get("load_balancers") == []:
        yield Finding(
            "balancer-gone",
            "error",
            "nothing leads to the cluster's API",
            f"somebody has deleted its load balancer, and {address} with it",
            BALANCER_GONE,
            (f"every certificate and kubeconfig of the cluster names {address}, and another one is a new address",),
        )
    names = {each["id"]: each["name"] for each in picture.hetzner.get("servers", ())}
    for balancer in picture.hetzner.get("load_balancers", ()):
        sick = [
            f"{names.get(target['server']['id'], target['server']['id'])}, port {health['listen_port']}"
            for target in balancer["targets"]
            if "server" in target
            for health in target.get("health_status") or ()
            if health["status"] == "unhealthy"
        ]
        if sick:
            yield Finding(
                "balancer-target",
                "error" if len(sick) >= len(names) > 0 else "warning",
                f"load balancer {balancer['name']} does not send to every server",
                "nothing answers on that port there, or a firewall on the server keeps the load balancer out",
                "is the node well? with Talos' own firewall the private network must be let in",
                tuple(sick),
            )


def _reasons(picture: Picture, reasons: tuple[str, ...]) -> list[str]:
    """Return what CAPH says where a server could not be ordered for one of these reasons."""
    found = []
    for each in _items(picture):
        refused = conditions.find_condition(each, "ServerCreateSucceeded")
        if refused is not None and refused.get("reason") in reasons:
            found.append(f"{conditions.name(each)}: {refused['reason']}: {refused.get('message', '')}")
    return found


def _items(picture: Picture) -> list[Document]:
    return picture.management.get("HCloudMachine", [])


RULES: tuple[Rule, ...] = (images, orders, lost, balancers)
