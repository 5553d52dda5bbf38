"""CAPH's decisions on the signing requests of kubelets: it approves, and it denies."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID

from tallship.lab.clock import created, wall
from tallship.lab.controllers.informer import CachedApi, Informer, itself
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Again, Controller, Outcome
from tallship.lab.kubeclient import KubeClient, Object

PREFIX = "system:node:"
UNKNOWN_NODE_RETRY = 20.0
LONGEST_WAIT = timedelta(hours=1)


class SigningRequests:
    """Decides the signing requests of one workload cluster."""

    def __init__(self, api: CachedApi, client: KubeClient, namespace: str) -> None:
        self._api = api
        self._client = client
        self._namespace = namespace
        self._requests = Informer(client, "CertificateSigningRequest", api.clock)
        self._controller = Controller("csr", self._reconcile, api.clock, workers=1)

    async def run(self) -> None:
        """Decide until cancelled."""
        self._requests.on_change(lambda old, new: self._controller.add(itself(new or old or {})))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._requests.run())
            group.create_task(self._controller.run())

    async def _reconcile(self, _: str, name: str) -> Outcome:
        request = self._requests.items.get(("", name))
        if request is None or request.get("status", {}).get("conditions"):
            return None
        user = str(request["spec"].get("username", ""))
        if not user.startswith(PREFIX):
            return None
        machine = self._api.get("HCloudMachine", user.removeprefix(PREFIX), self._namespace)
        if machine is None:
            return Again(UNKNOWN_NODE_RETRY)
        trouble = self._too_old(request) or problem(request, machine)
        if trouble:
            text = f"Validation by cluster-api-provider-hetzner failed: {trouble}"
            await self._decide(request, "Denied", "CSRValidationFailed", text)
        else:
            await self._decide(request, "Approved", "CSRValidationSucceed", "Validation was successful")
        return None

    def _too_old(self, request: Object) -> str:
        made = created(self._api.clock, request)
        return "csr is older than one hour" if wall(self._api.clock) > made + LONGEST_WAIT else ""

    async def _decide(self, request: Object, verdict: str, reason: str, message: str) -> None:
        decided = copy_json(request)
        condition = {"type": verdict, "status": "True", "reason": reason, "message": message}
        condition["lastUpdateTime"] = self._api.now()
        decided.setdefault("status", {})["conditions"] = [condition]
        self._requests.put(await self._client.update(decided, "approval"))


def problem(request: Object, machine: Object) -> str:
    """Return what is wrong with a kubelet's signing request; empty when nothing is."""
    name = machine["metadata"]["name"]
    wanted = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
    common = _attribute(wanted, NameOID.COMMON_NAME)
    organizations = _attribute(wanted, NameOID.ORGANIZATION_NAME)
    if common != [f"{PREFIX}{name}"] or organizations != ["system:nodes"]:
        return f"subject must be {PREFIX}{name} of system:nodes, but is {common} of {organizations}"
    try:
        names = wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    if any(each != name for each in names.get_values_for_type(x509.DNSName)):
        return f"DNS names must be {name}, but are {names.get_values_for_type(x509.DNSName)}"
    known = {each["address"] for each in machine.get("status", {}).get("addresses", [])}
    foreign = [str(each) for each in names.get_values_for_type(x509.IPAddress) if str(each) not in known]
    return f"IP addresses {foreign} are not the machine's" if foreign else ""


def _attribute(request: x509.CertificateSigningRequest, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(each.value) for each in request.subject.get_attributes_for_oid(oid)]
