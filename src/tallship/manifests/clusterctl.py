"""How clusterctl installs exactly the providers that are known to work together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tallship.manifests.yaml_text import dump
from tallship.versions import CERT_MANAGER, PROVIDERS, Provider


def config(folder: Path | None = None) -> dict[str, Any]:
    """Return clusterctl's configuration.

    With a folder nothing is fetched: it holds `INVENTORY-NAME/VERSION/FILE` for each provider, with its metadata.yaml,
    and `cert-manager/VERSION/cert-manager.yaml`, as clusterctl's local repositories do.
    """
    providers = [{"name": each.name, "type": each.kind, "url": _url(each, folder)} for each in PROVIDERS]
    cert_manager = {"version": CERT_MANAGER}
    if folder is not None:
        cert_manager["url"] = (folder / "cert-manager" / CERT_MANAGER / "cert-manager.yaml").as_uri()
    return {"providers": providers, "cert-manager": cert_manager}


def _url(provider: Provider, folder: Path | None) -> str:
    if folder is None:
        return provider.url
    return (folder / provider.inventory / provider.version / provider.file).as_uri()


def init_arguments() -> list[str]:
    """Return the arguments of `clusterctl init` that name each provider and its version."""
    return [word for provider in PROVIDERS for word in (provider.flag, f"{provider.name}:{provider.version}")]


def text() -> str:
    """Return manifests/clusterctl.yaml."""
    return dump(config(), {(): "Exactly these versions: a newer provider speaks another contract."})
