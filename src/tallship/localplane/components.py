"""PURE: what is left of a provider's components when its manager runs as a process outside the cluster."""

from __future__ import annotations

import copy
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

Document = dict[str, Any]

HOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
DEFINITION = "CustomResourceDefinition"
LABEL = "clusterctl.cluster.x-k8s.io"
"""clusterctl: `move` takes along what has a definition with this label."""
_CERT_MANAGER = "cert-manager.io/"


def for_processes(documents: Iterable[Document], url: str, authority: str) -> list[Document]:
    """Return the definitions and webhooks, which the API server finds at `url`; nothing that would run in a pod.

    `authority` is the certificate (PEM) of who signs for `url`. Kubernetes: a webhook is named by a Service or by a
    URL; what asks cert-manager to fill in the authority goes.
    """
    bundle = b64encode(authority.encode()).decode()
    kept = [copy.deepcopy(each) for each in documents if each and each.get("kind") in (*HOOKS, DEFINITION)]
    for each in kept:
        annotations = each["metadata"].get("annotations", {})
        each["metadata"]["annotations"] = {k: v for k, v in annotations.items() if not k.startswith(_CERT_MANAGER)}
        if each["kind"] == DEFINITION:
            each["metadata"].setdefault("labels", {})[LABEL] = ""
            conversion = each["spec"].get("conversion", {}).get("webhook")
            hooks = [conversion] if conversion else []
        else:
            hooks = each["webhooks"]
        for hook in hooks:
            hook["clientConfig"] = _client(hook["clientConfig"], url, bundle)
    return sorted(kept, key=lambda each: each["kind"] != DEFINITION)


def _client(given: Document, url: str, bundle: str) -> Document:
    path = given["service"].get("path", "/") if "service" in given else "/" + given["url"].split("/", 3)[-1]
    return {"url": url.rstrip("/") + path, "caBundle": bundle}
