"""The certificates of a Talos cluster: an Ed25519 CA for Talos' API, ECDSA ones for etcd and Kubernetes.

Talos writes Ed25519 keys under a PEM header of its own, which no common library reads; `readable` renames it.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

TEN_YEARS = timedelta(days=3650)
TALOS_HEADER = "ED25519 PRIVATE KEY"


def new_authority(organization: str, key: Key) -> tuple[str, str]:
    """Return a self-signed CA as (certificate, key) in PEM, the key as Talos writes it.

    Talos gives the CA of Kubernetes' aggregator no name at all: an empty organization.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else [])
    builder = _builder(subject, TEN_YEARS).issuer_name(subject).public_key(key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    return pem(builder.sign(key, _hash(key))), key_pem(key)


def issue(
    ca: str,
    ca_key: str,
    common_name: str = "",
    organizations: tuple[str, ...] = (),
    hosts: tuple[str, ...] = (),
    key: Key | None = None,
    lifetime: timedelta = timedelta(days=365),
) -> tuple[str, str]:
    """Return (certificate, key) in PEM: a server's when hosts are given, else a client's; the key in PKCS#8."""
    authority = x509.load_pem_x509_certificate(ca.encode())
    signer = load_key(ca_key)
    own = key or (
        ed25519.Ed25519PrivateKey.generate() if _is_ed25519(signer) else ec.generate_private_key(ec.SECP256R1())
    )
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    if common_name:
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    usages = [ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = _builder(x509.Name(names), lifetime).issuer_name(authority.subject).public_key(own.public_key())
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    identifier = _authority_identifier(authority)
    if identifier is not None:
        builder = builder.add_extension(identifier, critical=False)
    if hosts:
        alternatives = x509.SubjectAlternativeName([_host(each) for each in dict.fromkeys(hosts)])
        builder = builder.add_extension(alternatives, critical=not names)
    return pem(builder.sign(signer, _hash(signer))), readable(key_pem(own))


def load_key(pem: str) -> Key:
    """Return a private key, whatever header it has."""
    key = serialization.load_pem_private_key(readable(pem).encode(), None)
    assert isinstance(key, (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, rsa.RSAPrivateKey))  # noqa: S101 - no other kind is made here
    return key


def readable(pem: str) -> str:
    """Return a key's PEM with the header that common libraries know; the body is PKCS#8 already."""
    return pem.replace(TALOS_HEADER, "PRIVATE KEY")


def key_pem(key: Key) -> str:
    """Return a private key as Talos writes it: Ed25519 under its own header, others in their traditional form."""
    is_ed25519 = _is_ed25519(key)
    form = serialization.PrivateFormat.PKCS8 if is_ed25519 else serialization.PrivateFormat.TraditionalOpenSSL
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    return text.replace("PRIVATE KEY", TALOS_HEADER) if is_ed25519 else text


def fingerprint(pem: str) -> str:
    """Return a certificate's SHA-256, to tell authorities apart."""
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()


def _is_ed25519(key: Key) -> bool:
    return isinstance(key, ed25519.Ed25519PrivateKey)


def _hash(key: Key) -> hashes.SHA256 | None:
    return None if _is_ed25519(key) else hashes.SHA256()


def _builder(subject: x509.Name, lifetime: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)  # real time: TLS libraries know no other
    builder = x509.CertificateBuilder().subject_name(subject).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + lifetime)


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


def _authority_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier | None:
    """Return what names the authority: its own identifier, which Talos draws at random; None when it has none."""
    try:
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def pem(certificate: x509.Certificate) -> str:
    """Return a certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
