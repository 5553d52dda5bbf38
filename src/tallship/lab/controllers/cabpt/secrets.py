"""The Secrets of a whole cluster that CABPT makes: its keys, its Kubernetes CA, its talosconfig."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any

import yaml

from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import (
    CLUSTER_LABEL,
    CONTROL_PLANE_LABEL,
    new_secret,
    secret_value,
)
from tallship.lab.controllers.patch import copy_json
from tallship.lab.kubeclient import Object
from tallship.lab.talos.config import secrets

Bundle = dict[str, Any]

BUNDLE_GENERATION = 1.1
"""Seconds that making all keys of a cluster takes, the RSA one of 4096 bits above all (seen: 1.1 s)."""


class ClusterSecrets:
    """Makes them once, and keeps the talosconfig's endpoints current."""

    def __init__(self, api: CachedApi) -> None:
        self._api = api

    async def bundle(self, cluster: Object) -> Bundle:
        """Return the cluster's keys, made if there are none."""
        meta = cluster["metadata"]
        name = f"{meta['name']}-talos"
        found = self._api.get("Secret", name, meta["namespace"])
        if found is None:
            await self._api.clock.sleep(BUNDLE_GENERATION)
            text = yaml.safe_dump(secrets.new_bundle(), sort_keys=False)
            found = await self._api.create(new_secret(name, meta["namespace"], meta["name"], {"bundle": text}, cluster))
        loaded: Bundle = yaml.safe_load(secret_value(found, "bundle"))
        return loaded

    async def put_authority(self, cluster: Object, bundle: Bundle) -> None:
        """Make the Secret with the Kubernetes CA, if there is none."""
        meta = cluster["metadata"]
        name = f"{meta['name']}-ca"
        if self._api.get("Secret", name, meta["namespace"]) is None:
            pair = bundle["certs"]["k8s"]
            values = {"tls.crt": _decoded(pair["crt"]), "tls.key": _decoded(pair["key"])}
            await self._api.create(new_secret(name, meta["namespace"], meta["name"], values, cluster))

    async def put_talosconfig(self, cluster: Object) -> None:
        """Make the talosconfig Secret name every address of every control plane Machine, private ones too."""
        meta = cluster["metadata"]
        name, endpoints = f"{meta['name']}-talosconfig", self._endpoints(cluster)
        found = self._api.get("Secret", name, meta["namespace"])
        if found is not None and _endpoints_of(secret_value(found, "talosconfig")) == endpoints:
            return
        text = self.talosconfig(cluster, await self.bundle(cluster), endpoints)
        fresh = new_secret(name, meta["namespace"], meta["name"], {"talosconfig": text}, cluster)
        if found is None:
            await self._api.create(fresh)
        else:
            await self._api.save(found, {**copy_json(found), "data": fresh["data"]})

    @staticmethod
    def talosconfig(cluster: Object, bundle: Bundle, endpoints: list[str]) -> str:
        """Return an administrator's talosconfig."""
        return str(secrets.talosconfig(bundle, cluster["metadata"]["name"], endpoints))

    def _endpoints(self, cluster: Object) -> list[str]:
        meta = cluster["metadata"]
        labels = {CLUSTER_LABEL: meta["name"], CONTROL_PLANE_LABEL: ""}
        machines = self._api.list("Machine", meta["namespace"], labels)
        kinds = ("ExternalIP", "InternalIP")
        addresses = (each for machine in machines for each in machine.get("status", {}).get("addresses", []))
        return sorted(each["address"] for each in addresses if each["type"] in kinds)


@lru_cache(maxsize=16)
def _endpoints_of(talosconfig: str) -> list[str]:
    config = yaml.safe_load(talosconfig)
    endpoints: list[str] = config["contexts"][config["context"]].get("endpoints", [])
    return endpoints


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
