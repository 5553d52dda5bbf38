"""A Kubernetes API: dicts in, dicts out."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from lightkube.core.exceptions import ApiError as LightkubeApiError
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import GenericGlobalResource, GenericNamespacedResource, create_api_info
from lightkube.types import PatchType

from tallship import __version__
from tallship.adapters import in_time, kube_shapes
from tallship.adapters import kubeconfig as kubeconfig_
from tallship.adapters.calls import Calls, Memory
from tallship.adapters.shapes import MISREAD, fitted
from tallship.errors import ApiError, SetupError, Unreachable

Document = dict[str, Any]
Documents = list[Document]
Lines = list[str]

FIELD_MANAGER = "tallship"
USER_AGENT = f"tallship/{__version__}"
UNKNOWN_KIND = "unknown-kind"
"""The code of an ApiError about a kind that the API server does not serve."""
MALFORMED = "malformed"
"""The code of an ApiError about an answer that is none of a Kubernetes API's."""
NO_SUCH_PATH = 404
"""Kubernetes: without a Status in its body it is about the path; an object that is not there has one."""
MOST_BYTES, MOST_PAGES = 64 * 1024**2, 200
"""Of one answer, and of one list: 500 objects a page."""
MOST_WORDS = 1000
"""Characters of an error's own words that are repeated."""
MAY_PASS = (408, 409, 429, 500, 502, 503, 504)
"""HTTP statuses that the same request may not meet again; 409 is a lost race."""
MISSHAPEN = ("failed to create typed patch object", "failed to convert new object")
"""kube-apiserver v1.32.2: how its 500 begins for an applied document that has not the shape of its kind."""
OWNED = "FieldManagerConflict"
"""Kubernetes: another manager owns a field that is applied; asking again changes nothing."""
HINTS = {
    "Forbidden": "the kubeconfig's user may not do this",
    "Unauthorized": "the kubeconfig's certificate is not accepted; `tallship up --only kubeconfig` fetches a new one",
    "Invalid": "another release of a provider may want other fields: see the detail",
    "Conflict": "something else changed it at the same time, or owns these fields: see the detail",
    UNKNOWN_KIND: "`tallship up --only capi-init` installs Cluster API's kinds",
}
SILENT_HINT = "is the machine behind it up, and does a firewall let this machine through? `tallship status` looks"
OTHER_HINT = "is the API server well? `tallship status` shows its cluster; the same command goes on from here"


class _Plural(NamedTuple):
    name: str
    is_namespaced: bool = True


PLURALS = {
    "Namespace": _Plural("namespaces", False),
    "Node": _Plural("nodes", False),
    "CustomResourceDefinition": _Plural("customresourcedefinitions", False),
    "ConfigMap": _Plural("configmaps"),
    "Secret": _Plural("secrets"),
    "Event": _Plural("events"),
    "Pod": _Plural("pods"),
    "Deployment": _Plural("deployments"),
    "DaemonSet": _Plural("daemonsets"),
    "Lease": _Plural("leases"),
    "Cluster": _Plural("clusters"),
    "Machine": _Plural("machines"),
    "MachineDeployment": _Plural("machinedeployments"),
    "MachineHealthCheck": _Plural("machinehealthchecks"),
    "MachineSet": _Plural("machinesets"),
    "HetznerCluster": _Plural("hetznerclusters"),
    "HCloudMachine": _Plural("hcloudmachines"),
    "HCloudMachineTemplate": _Plural("hcloudmachinetemplates"),
    "HCloudRemediationTemplate": _Plural("hcloudremediationtemplates"),
    "TalosConfig": _Plural("talosconfigs"),
    "TalosConfigTemplate": _Plural("talosconfigtemplates"),
    "TalosControlPlane": _Plural("taloscontrolplanes"),
    "Provider": _Plural("providers"),
}
"""How the kinds that we touch are spelled in a path; about all others the API server is asked once."""


class Kube:
    """One API server, spoken to as the user of a kubeconfig. Every request has a time limit and is made once."""

    def __init__(self, kubeconfig: Path, context: str | None = None, timeout: float = 10) -> None:
        identity = kubeconfig_.read(kubeconfig, context)
        self.server = str(identity.config.cluster.server)
        self.calls = Calls("Kubernetes")
        self.memory = Memory()
        """What was read, while somebody looks at one moment."""
        self._plurals = dict(PLURALS)
        self._client: Any = kubeconfig_.client(
            identity,
            kubeconfig,
            timeout=httpx2.Timeout(timeout),
            trust_env=False,  # no proxy of the environment between us and a cluster
            field_manager=FIELD_MANAGER,
        )
        self._http: httpx2.Client = self._client._client._client
        self._http.headers["User-Agent"] = USER_AGENT
        self._http.event_hooks = {"response": [_read_bounded]}

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def is_up(self) -> bool:
        """True when the API server answers."""
        try:
            self.find("v1", "Namespace", "default")
        except Unreachable:
            return False
        return True

    def version(self) -> str:
        """Return the version that the API server says it is, such as `v1.32.2`."""
        with self._asking("get", "version"):
            answer = self._http.get("version")
            answer.raise_for_status()
            return str(fitted(answer.json(), {"gitVersion!": str})["gitVersion"])

    def find(self, api_version: str, kind: str, name: str, namespace: str = "") -> Document | None:
        """Return one object, or None when it does not exist.

        Raises ApiError with code `unknown-kind` when the API server does not serve the kind.
        """
        question = (api_version, kind, name, namespace)
        return self.memory.answer(question, lambda: self._find_now(api_version, kind, name, namespace))

    def _find_now(self, api_version: str, kind: str, name: str, namespace: str) -> Document | None:
        try:
            with self._asking("get", kind):
                resource = self._resource(api_version, kind)
                return _object(api_version, kind, self._client.get(resource, name, **self._scope(kind, namespace)))
        except ApiError as error:
            if error.code == "NotFound":
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "") -> Documents:
        """Return all objects of a kind, in one namespace or in all, at most 500 per request.

        There are none of a kind that the API server does not serve.
        """
        question = (api_version, kind, None, namespace, labels)
        return self.memory.answer(question, lambda: self._list_now(api_version, kind, namespace, labels))

    def _list_now(self, api_version: str, kind: str, namespace: str, labels: str) -> Documents:
        selector = dict(pair.split("=", 1) for pair in labels.split(",")) if labels else None
        try:
            with self._asking("list", kind):
                resource = self._resource(api_version, kind)
                scope = self._scope(kind, namespace or "*")
                pages = self._client.list(resource, chunk_size=500, labels=selector, **scope)
                return [_object(api_version, kind, each) for each in _few(pages)]
        except ApiError as error:
            if error.code == UNKNOWN_KIND:
                return []
            raise

    def apply(self, document: Document, *, force: bool = True, dry_run: bool = False) -> Document:
        """Server-side apply the document and return what is stored (or would be).

        With `force` its fields are taken over from other managers; without, theirs are an ApiError `Conflict`.
        """
        metadata, kind = document["metadata"], document["kind"]
        with self._asking("dry-run" if dry_run else "apply", kind):
            item = self._resource(document["apiVersion"], kind)(document)
            scope = self._scope(kind, metadata.get("namespace", ""))
            return _object(
                document["apiVersion"],
                kind,
                self._client.apply(item, metadata["name"], force=force, dry_run=dry_run, **scope),
            )

    def create(self, document: Document) -> Document:
        """Create an object and return what is stored. Raises ApiError `AlreadyExists` when somebody else was faster."""
        kind = document["kind"]
        with self._asking("create", kind):
            item = self._resource(document["apiVersion"], kind)(document)
            scope = self._scope(kind, document["metadata"].get("namespace", ""))
            return _object(document["apiVersion"], kind, self._client.create(item, **scope))

    def patch(self, api_version: str, kind: str, name: str, namespace: str, change: Document) -> Document:
        """Merge a change into an object and return what is stored."""
        with self._asking("patch", kind):
            resource = self._resource(api_version, kind)
            scope = self._scope(kind, namespace)
            return _object(
                api_version, kind, self._client.patch(resource, name, change, patch_type=PatchType.MERGE, **scope)
            )

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object; one that is gone already is fine."""
        try:
            with self._asking("delete", kind):
                self._client.delete(self._resource(api_version, kind), name, **self._scope(kind, namespace))
        except ApiError as error:
            if error.code != "NotFound":
                raise

    def evict(self, name: str, namespace: str) -> None:
        """Ask for a Pod's eviction; one that is gone already is fine.

        Raises ApiError, with code `429` while a disruption budget forbids it.
        """
        metadata = {"name": name, "namespace": namespace}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        with self._asking("evict", "Pod"):
            answer = self._http.post(f"api/v1/namespaces/{namespace}/pods/{name}/eviction", json=eviction)
            if answer.status_code != NO_SUCH_PATH:  # the object, here: each API server has the path
                answer.raise_for_status()

    def secret_value(self, name: str, namespace: str, key: str) -> str | None:
        """Return one decoded value of a Secret, or None while it is not there."""
        found = self.find("v1", "Secret", name, namespace)
        stored = (found or {}).get("data", {}).get(key)
        if stored is None:
            return None
        try:
            return base64.b64decode(stored, validate=True).decode()
        except ValueError as error:
            hint = "who wrote it? without it a controller may make it anew"
            raise ApiError(f"the Secret {name} has no text as its `{key}`", code=MALFORMED, hint=hint) from error

    def events(self, namespace: str, name: str = "") -> Lines:
        """Return the warnings of a namespace, or of the object of that name in it, oldest first, one line each."""
        found = [
            each
            for each in self.list("v1", "Event", namespace)
            if each.get("type") == "Warning" and name in ("", each["involvedObject"].get("name"))
        ]
        found.sort(key=lambda each: str(each.get("lastTimestamp") or each["metadata"].get("creationTimestamp") or ""))
        return [f"{e['involvedObject'].get('name', '')}: {e.get('reason', '')}: {e.get('message', '')}" for e in found]

    def log(self, namespace: str, pod: str, container: str = "", lines: int = 200) -> Lines:
        """Return the last lines of a Pod's log. Raises ApiError for a Pod that is not there or has not begun."""
        query: dict[str, str | int] = {"tailLines": lines, **({"container": container} if container else {})}
        with self._asking("log", "Pod"):
            answer = self._http.get(f"api/v1/namespaces/{namespace}/pods/{pod}/log", params=query)
            answer.raise_for_status()
            return answer.text.splitlines()

    def _resource(self, api_version: str, kind: str) -> Any:
        if kind not in self._plurals:
            self._discover(api_version, kind)
        plural = self._plurals[kind]
        group, _, version = api_version.rpartition("/")
        # A class of our own each time: lightkube's registry of them is global and refuses a core kind's second time.
        shape = GenericNamespacedResource if plural.is_namespaced else GenericGlobalResource
        return type(kind, (shape,), {"_api_info": create_api_info(group, version, kind, plural.name)})

    def _discover(self, api_version: str, kind: str) -> None:
        """Learn how a kind is spelled. Raises ApiError `unknown-kind` when it is not served."""
        root = "apis" if "/" in api_version else "api"
        with self._asking("discover", api_version):
            answer = self._http.get(f"{root}/{api_version}")
            if answer.status_code != NO_SUCH_PATH:
                answer.raise_for_status()
            for each in _served(answer.json()) if answer.status_code != NO_SUCH_PATH else ():
                if each["kind"] == kind and "/" not in each["name"]:
                    self._plurals[kind] = _Plural(each["name"], each["namespaced"])
                    return
        raise _unknown(kind, self.server)

    def _scope(self, kind: str, namespace: str) -> dict[str, str]:
        return {"namespace": namespace or "default"} if self._plurals[kind].is_namespaced else {}

    @contextmanager
    def _asking(self, verb: str, kind: str) -> Iterator[None]:
        self.calls.note(f"{verb} {kind}")
        try:
            with self._explaining(verb, kind):
                yield
        except ConfigError as error:
            raise SetupError(
                f"the kubeconfig for {self.server} cannot be used: {error}", hint=kubeconfig_.HINT
            ) from error
        except (httpx2.HTTPError, OSError) as error:
            said = f"no answer from {self.server}: {error or type(error).__name__}"
            raise Unreachable(said, hint=SILENT_HINT) from error
        except MISREAD as error:
            raise ApiError(
                f"{self.server} did not answer {verb} {kind} as a Kubernetes API does",
                code=MALFORMED,
                detail=(str(error) if isinstance(error, ValueError) else repr(error))[:200],
                hint="does a proxy stand between?",
                may_pass=True,
            ) from error

    @contextmanager
    def _explaining(self, verb: str, kind: str) -> Iterator[None]:
        """Raise our error for one of the API server's, which may itself be none that its API promises."""
        try:
            yield
        except LightkubeApiError as error:
            raise _translated(error, verb, kind, self.server) from error
        except httpx2.HTTPStatusError as error:
            code = error.response.status_code
            if code == NO_SUCH_PATH:
                raise _unknown(kind, self.server) from error
            hint = HINTS.get(str(error.response.reason_phrase), OTHER_HINT)
            raise ApiError(
                f"{self.server} answered {code} to {verb} {kind}", code=str(code), hint=hint, may_pass=code in MAY_PASS
            ) from error


def _read_bounded(answer: httpx2.Response) -> None:
    """Read an answer that is not longer than it may be, and whole in time. Raises ValueError and Late."""
    chunks = answer.iter_bytes()
    answer._content = in_time.body(lambda _size: next(chunks, b""), MOST_BYTES)


def _few(pages: Any) -> Iterator[Any]:
    """Yield what a list holds. Raises ValueError for one that has no end."""
    for number, (_, page) in enumerate(pages._inner_iter):
        if number >= MOST_PAGES:
            raise ValueError(f"after {MOST_PAGES} pages there are more")
        yield from page


def _object(api_version: str, kind: str, answer: Any) -> Document:
    """Return an answer that has what every object of its kind has; lists leave the kind out. Raises ValueError."""
    return {**fitted(answer, kube_shapes.of(kind)), "apiVersion": api_version, "kind": kind}


def _served(answer: Any) -> Documents:
    """Return the kinds of a group. Raises ValueError."""
    found: Documents = fitted(answer, {"resources!": [{"name!": str, "kind!": str, "namespaced!": bool}]})["resources"]
    return found


def _unknown(kind: str, server: str) -> ApiError:
    return ApiError(f"{server} does not serve the kind {kind}", code=UNKNOWN_KIND, hint=HINTS[UNKNOWN_KIND])


def _translated(error: LightkubeApiError, verb: str, kind: str, server: str) -> ApiError:
    status = error.status
    reason = str(status.reason or status.code)
    if is_misshapen := str(status.message).startswith(MISSHAPEN):
        reason = "Invalid"
    causes = (status.details and status.details.causes) or []
    return ApiError(
        f"{server} refused to {verb} {kind}: {str(status.message)[:MOST_WORDS]}",
        code=reason,
        detail="\n".join(f"{cause.field}: {cause.message}"[:MOST_WORDS] for cause in causes[:20]),
        hint=HINTS.get(reason, OTHER_HINT),
        may_pass=status.code in MAY_PASS and not is_misshapen and not any(cause.reason == OWNED for cause in causes),
    )
