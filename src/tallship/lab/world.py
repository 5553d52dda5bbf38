"""The pieces that every server of the lab shares: addresses, certificates, and whose request this is."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tallship.lab.clock import HELD_HEADER, held_for_client
from tallship.lab.store import Document, Store

PROGRAM_AGENTS = ("tallship", "kind", "clusterctl", "helm", "kubectl", "Helm")


def is_tallship(user_agent: str) -> bool:
    """True for a request made by tallship itself or by a program that it calls: those count as its writes."""
    return user_agent.startswith(PROGRAM_AGENTS)


@web.middleware
async def hold_clients(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Mark requests of tallship's own threads, so that a virtual clock may jump while the lab holds them."""
    is_thread = request.headers.get("User-Agent", "").startswith("tallship")
    mark = held_for_client.set(is_thread or HELD_HEADER in request.headers)
    try:
        return await handler(request)
    finally:
        held_for_client.reset(mark)


class Addresses:
    """The lab's own 127.A.B.0/24: who has which address; given back when the thing is deleted."""

    def __init__(self, store: Store, network: str) -> None:
        self.network = network
        self._table = store.table("addresses")

    @property
    def services(self) -> str:
        """Where the Hetzner API, the image factory and the lab's control listen."""
        return f"{self.network}.1"

    @property
    def management(self) -> str:
        """Where the management cluster's API listens."""
        return f"{self.network}.2"

    def take(self, owner: str, first: int, last: int) -> str:
        """Return the owner's address, giving it the lowest free one in the range when it has none."""
        for address, document in self._table.items():
            if document["owner"] == owner:
                return address
        for number in range(first, last + 1):
            address = f"{self.network}.{number}"
            if address not in self._table:
                self._table[address] = {"owner": owner}
                return address
        raise LookupError(f"no free address in {self.network}.{first}-{last}")

    def give_back(self, owner: str) -> None:
        """Free the owner's address."""
        for address, document in self._table.items():
            if document["owner"] == owner:
                del self._table[address]


class Authority:
    """A certificate authority (ECDSA P-256) kept in the store; makes serving and client certificates."""

    def __init__(self, store: Store, name: str) -> None:
        table = store.table("authorities")
        if name not in table:
            table[name] = _new_authority(name)
        self.certificate_pem = str(table[name]["certificate"])
        self.key_pem = str(table[name]["key"])

    def issue(
        self, common_name: str, organizations: tuple[str, ...] = (), hosts: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """Return (certificate, key) as PEM: for a server when hosts are given, else for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.load_pem_x509_certificate(self.certificate_pem.encode())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
        builder = _builder(x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        builder = builder.issuer_name(authority.subject).public_key(key.public_key())
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(_authority_identifier(authority), critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(each) for each in hosts]), critical=False
            )
        signer = serialization.load_pem_private_key(self.key_pem.encode(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101 - made by _new_authority
        return _pem(builder.sign(signer, hashes.SHA256())), _key_pem(key)

    def server_tls(self, *hosts: str, client_authority: str = "") -> ssl.SSLContext:
        """Return a serving context for the hosts; with a client authority it asks for client certificates."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        load_pair(context, *self.issue(hosts[0], hosts=hosts))
        if client_authority:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(cadata=client_authority)
        return context


def load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a PEM pair into a context (ssl takes it from a file only)."""
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(f"{certificate}\n{key}".encode())
        pair.flush()
        context.load_cert_chain(Path(pair.name))


def _new_authority(name: str) -> Document:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return {"certificate": _pem(builder.sign(key, hashes.SHA256())), "key": _key_pem(key)}


def _builder(subject: x509.Name) -> x509.CertificateBuilder:
    now = datetime.now(UTC)  # real time: TLS libraries know no other
    builder = x509.CertificateBuilder().subject_name(subject).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=3650))


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(_public_key(authority))


def _public_key(authority: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = authority.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - made by _new_authority
    return key


def _host(name: str) -> x509.GeneralName:
    import ipaddress

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
