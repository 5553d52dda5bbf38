"""The Kubernetes client of the stand-ins: what a controller needs, over a real socket with a real certificate."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tallship.lab.clock import HELD_HEADER, held_for_client
from tallship.lab.http_session import HttpSession
from tallship.lab.kinds import BY_NAME, Kind

Object = dict[str, Any]

_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class KubeRefused(Exception):
    """The API server answered with a Status; `code` is the HTTP status and `reason` Kubernetes' own word."""

    def __init__(self, status: int, body: Object) -> None:
        super().__init__(f"{status} {body.get('reason', '')}: {body.get('message', '')}")
        self.code = status
        self.reason = str(body.get("reason", ""))


class KubeClient:
    """One API server, spoken to as one user. Objects are plain dicts; their kind is found in `kinds.BY_NAME`.

    `source` is the address of this machine that its connections come from.
    """

    def __init__(self, server: str, tls: ssl.SSLContext, user_agent: str, source: str = "") -> None:
        self.server = server.rstrip("/")
        self._tls = tls
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        self._source = source
        self._http = HttpSession(self._new_session)

    @classmethod
    def from_kubeconfig(cls, text: str, user_agent: str) -> KubeClient:
        """Return a client for the current context of a kubeconfig with embedded certificates."""
        config = yaml.safe_load(text)
        context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        user = next(u["user"] for u in config["users"] if u["name"] == context["user"])
        tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pair:  # ssl takes a client certificate from a file only
            pair.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            tls.load_cert_chain(Path(pair.name))
        return cls(cluster["server"], tls, user_agent)

    async def move(self, server: str, source: str) -> None:
        """Speak to another API server from now on, from an address of this machine; what is open is closed."""
        self.server, self._source = server, source
        await self._http.renew()

    async def close(self) -> None:
        """Close all connections, for ever."""
        await self._http.close()

    async def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return one object, or None when it does not exist."""
        try:
            return await self._send("GET", BY_NAME[kind].path(namespace, name))
        except KubeRefused as refused:
            if refused.code == 404:
                return None
            raise

    async def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """Return all objects of a kind, in one namespace or in all."""
        known = BY_NAME[kind]
        body = await self._send("GET", known.path(namespace), params={"labelSelector": labels} if labels else {})
        return [{"apiVersion": known.api_version, "kind": known.kind, **item} for item in body["items"]]

    async def create(self, item: Object) -> Object:
        """Create an object and return it as stored."""
        kind, namespace, _ = _address(item)
        return await self._send("POST", kind.path(namespace), item)

    async def bind(self, pod: Object, node: str) -> None:
        """Give a Pod its node, as the scheduler does; one that has a node already keeps it."""
        kind, namespace, name = _address(pod)
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        try:
            await self._send("POST", kind.path(namespace, name, "binding"), binding)
        except KubeRefused as refused:
            if refused.code != 409:
                raise

    async def evict(self, pod: Object) -> None:
        """Ask for a Pod's eviction; one that is gone already is fine. Raises KubeRefused (429: a disruption budget)."""
        kind, namespace, name = _address(pod)
        meta = {"name": name, "namespace": namespace}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
        try:
            await self._send("POST", kind.path(namespace, name, "eviction"), eviction)
        except KubeRefused as refused:
            if refused.code != 404:
                raise

    async def update(self, item: Object, subresource: str = "") -> Object:
        """Replace an object (409 when its resourceVersion is old) and return it as stored."""
        kind, namespace, name = _address(item)
        return await self._send("PUT", kind.path(namespace, name, subresource), item)

    async def patch(self, item: Object, body: Any, how: str = "merge", subresource: str = "") -> Object:
        """Patch the object that `item` names: `how` is merge, strategic or json."""
        kind, namespace, name = _address(item)
        return await self._send("PATCH", kind.path(namespace, name, subresource), body, _PATCH_TYPES[how])

    async def apply(self, item: Object, manager: str, force: bool = True, subresource: str = "") -> Object:
        """Server-side apply."""
        kind, namespace, name = _address(item)
        params = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._send("PATCH", kind.path(namespace, name, subresource), item, _PATCH_TYPES["apply"], params)

    async def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object; one that is gone already is fine. A Pod is given no time to end."""
        params = {"gracePeriodSeconds": "0"} if kind == "Pod" else {}
        try:
            await self._send("DELETE", BY_NAME[kind].path(namespace, name), params=params)
        except KubeRefused as refused:
            if refused.code != 404:
                raise

    async def ready(self) -> bool:
        """True when the server answers /readyz."""
        try:
            async with self._http.get().get(f"{self.server}/readyz", ssl=self._tls) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def watch(self, kind: str, namespace: str = "") -> AsyncIterator[tuple[str, Object]]:
        """Yield ("ADDED" | "MODIFIED" | "DELETED", object): first what is there, then every change, for ever.

        Ends when the server closes the connection; the caller starts again.
        """
        known = BY_NAME[kind]
        listed = await self._send("GET", known.path(namespace))
        for item in listed["items"]:
            yield "ADDED", {"apiVersion": known.api_version, "kind": known.kind, **item}
        params = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
        url = self.server + known.path(namespace)
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._http.get().get(url, params=params, ssl=self._tls, timeout=timeout) as answer:
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]

    async def _send(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", params: Any = None
    ) -> Object:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type} if body is not None else {}
        if held_for_client.get():
            headers[HELD_HEADER] = "1"
        async with self._http.get().request(
            method, self.server + path, data=data, headers=headers, params=params or {}, ssl=self._tls
        ) as answer:
            if answer.content_type != "application/json":  # a path that no resource has
                raise KubeRefused(answer.status, {"reason": answer.reason, "message": await answer.text()})
            found: Object = await answer.json()
            if answer.status >= 400:
                raise KubeRefused(answer.status, found)
            return found

    def _new_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, local_addr=(self._source, 0) if self._source else None)
        return aiohttp.ClientSession(headers=self._headers, connector=connector)


async def close_all(clients: list[KubeClient]) -> None:
    """Close several clients."""
    await asyncio.gather(*(client.close() for client in clients))


def _address(item: Object) -> tuple[Kind, str, str]:
    group = item["apiVersion"].rpartition("/")[0]
    kind = BY_NAME.get(f"{item['kind']}.{group}") or BY_NAME[item["kind"]]
    return kind, item["metadata"].get("namespace", ""), item["metadata"].get("name", "")
