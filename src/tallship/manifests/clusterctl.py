"""How clusterctl installs exactly the providers that are known to work together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tallship.manifests.yaml_text import dump
from tallship.versions import CERT_MANAGER, PROVIDERS


def config(urls: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return clusterctl's configuration; `urls` may name another source for a component, such as a folder."""
    return {
        "providers": [
            {"name": provider.name, "type": provider.kind, "url": (urls or {}).get(provider.component, provider.url)}
            for provider in PROVIDERS
        ],
        "cert-manager": {"version": CERT_MANAGER},
    }


def init_arguments() -> list[str]:
    """Return the arguments of `clusterctl init` that name each provider and its version."""
    return [word for provider in PROVIDERS for word in (provider.flag, f"{provider.name}:{provider.version}")]


def text() -> str:
    """Return manifests/clusterctl.yaml."""
    return dump(config(), {(): "Exactly these versions: a newer provider speaks another contract."})
