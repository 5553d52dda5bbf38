"""Who the parts of a cluster are: certificates of the cluster's own Kubernetes CA."""

from __future__ import annotations

import base64
import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tallship.lab.world import load_pair

_YEAR = timedelta(days=365)


@dataclass(frozen=True)
class ClusterAuthority:
    """The Kubernetes CA of one cluster, as PEM, the way a control plane's machine configuration carries it."""

    certificate: str
    key: str

    @classmethod
    def of_config(cls, config: dict[str, object]) -> ClusterAuthority:
        """Return the CA in a control plane's v1alpha1 document."""
        pair = config["cluster"]["ca"]  # type: ignore[index]
        return cls(base64.b64decode(pair["crt"]).decode(), base64.b64decode(pair["key"]).decode())

    def client_tls(self, user: str, groups: tuple[str, ...] = ()) -> ssl.SSLContext:
        """Return a context that trusts the cluster and is this user."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        certificate = self._sign(subject, key.public_key(), ExtendedKeyUsageOID.CLIENT_AUTH, None)
        context = ssl.create_default_context(cadata=self.certificate)
        load_pair(context, certificate, _key_pem(key))
        return context

    def sign_serving_request(self, request: str) -> str:
        """Return the certificate (PEM) for a kubelet's signing request (PEM)."""
        wanted = x509.load_pem_x509_csr(request.encode())
        names = wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = wanted.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - kubelets make no other
        return self._sign(wanted.subject, key, ExtendedKeyUsageOID.SERVER_AUTH, names)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> str:
        now = datetime.now(UTC)  # real time: TLS libraries know no other
        issuer = x509.load_pem_x509_certificate(self.certificate.encode()).subject
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + _YEAR)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        signer = serialization.load_pem_private_key(self.key.encode(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101 - Talos makes ECDSA P-256
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def serving_request(node: str, addresses: list[str]) -> str:
    """Return a kubelet's request (PEM) for a serving certificate: its node's name and addresses."""
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes")
    subject = x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}")])
    hosts: list[x509.GeneralName] = [x509.DNSName(node)]
    hosts += [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def requested_addresses(request: str) -> tuple[list[str], list[str]]:
    """Return the DNS names and the IP addresses that a signing request (PEM) asks for."""
    extensions = x509.load_pem_x509_csr(request.encode()).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    return names.get_values_for_type(x509.DNSName), addresses


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
