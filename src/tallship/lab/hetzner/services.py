"""A load balancer's services: what it listens on, where it forwards to, how it checks the targets."""

from __future__ import annotations

from typing import Any, Final

from tallship.lab.hetzner.body import Body
from tallship.lab.hetzner.catalog import LoadBalancerType
from tallship.lab.hetzner.errors import Refused, not_found, over_limit
from tallship.lab.store import Document

PROTOCOLS: Final = ("tcp", "http", "https")
PORTS: Final = {"http": 80, "https": 443}


def with_service(balancer: Document, kind: LoadBalancerType, body: Body) -> Document:
    """Return the load balancer with one more service."""
    if len(balancer["services"]) >= kind.max_services:
        raise over_limit("load_balancer_service_limit", message=f"{kind.name} has at most {kind.max_services} services")
    return _placed(balancer, balancer["services"], _service(body, {}), taken_status=412)


def with_updated_service(balancer: Document, body: Body) -> Document:
    """Return the load balancer with the service of that listen port changed."""
    old = _service_on(balancer, body.port("listen_port"))
    others = [service for service in balancer["services"] if service is not old]
    return _placed(balancer, others, _service(body, old), taken_status=422)


def without_service(balancer: Document, body: Body) -> Document:
    """Return the load balancer without the service of that listen port."""
    gone = _service_on(balancer, body.port("listen_port"))
    return {**balancer, "services": [service for service in balancer["services"] if service is not gone]}


def _placed(balancer: Document, others: list[Document], service: Document, taken_status: int) -> Document:
    if any(other["listen_port"] == service["listen_port"] for other in others):
        message = f"listen port {service['listen_port']} is already used"
        raise Refused("source_port_already_used", message, status=taken_status)
    return {**balancer, "services": [*others, service]}


def _service_on(balancer: Document, port: int) -> Document:
    found: Document | None = next((service for service in balancer["services"] if service["listen_port"] == port), None)
    if found is None:
        raise not_found("service with listen port", port)
    return found


def _service(body: Body, old: Document) -> Document:
    """Hetzner API: ports may be left out for http and https, the health check always (CAPH sends none)."""
    protocol = body.choice("protocol", PROTOCOLS, old.get("protocol"))
    usual = PORTS.get(protocol)
    service: dict[str, Any] = {
        "protocol": protocol,
        "listen_port": body.port("listen_port", old.get("listen_port", usual)),
        "destination_port": body.port("destination_port", old.get("destination_port", usual and 80)),
        "proxyprotocol": body.flag("proxyprotocol", old.get("proxyprotocol", False)),
    }
    service["health_check"] = _health_check(body.object("health_check"), service, old.get("health_check", {}))
    if protocol != "tcp":
        service["http"] = _http(body.object("http"), protocol, old.get("http", {}))
    return service


def _health_check(body: Body, service: Document, old: Document) -> Document:
    usual = "tcp" if service["protocol"] == "tcp" else "http"
    check: dict[str, Any] = {
        "protocol": body.choice("protocol", ("tcp", "http"), old.get("protocol", usual)),
        "port": body.port("port", old.get("port", service["destination_port"])),
        "interval": _between(body, "interval", 3, 60, old.get("interval", 15)),
        "timeout": _between(body, "timeout", 1, 60, old.get("timeout", 10)),
        "retries": _between(body, "retries", 1, 5, old.get("retries", 3)),
    }
    if check["protocol"] == "http":
        http, before = body.object("http"), old.get("http", {})
        check["http"] = {
            "domain": http.text("domain", before.get("domain", "")),
            "path": http.text("path", before.get("path", "/")),
            "response": http.text("response", before.get("response", "")),
            "status_codes": list(http.texts("status_codes")) or before.get("status_codes", ["2??", "3??"]),
            "tls": http.flag("tls", before.get("tls", False)),
        }
    return check


def _http(body: Body, protocol: str, old: Document) -> Document:
    if protocol == "https" or body.numbers("certificates"):
        raise Refused("unsupported_error", "the lab has no certificates")
    return {
        "cookie_name": body.text("cookie_name", old.get("cookie_name", "HCLBSTICKY")),
        "cookie_lifetime": _between(body, "cookie_lifetime", 30, 86400, old.get("cookie_lifetime", 300)),
        "timeout_idle": body.number("timeout_idle", old.get("timeout_idle", 50)),
        "sticky_sessions": body.flag("sticky_sessions", old.get("sticky_sessions", False)),
        "redirect_http": body.flag("redirect_http", old.get("redirect_http", False)),
        "certificates": [],
    }


def _between(body: Body, name: str, least: int, most: int, default: int) -> int:
    value = body.number(name, default)
    if not least <= value <= most:
        raise body.wrong(name, f"must be between {least} and {most}")
    return value
