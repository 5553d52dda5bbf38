"""The certificates of a plane: authorities, pairs that they sign, and the key of service account tokens."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tallship.localplane.files import write_private

_BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_LIFE = timedelta(days=3650)


@dataclass(frozen=True, repr=False)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str

    def write(self, certificate: Path, key: Path) -> None:
        """Write both, readable by this user only."""
        write_private(certificate, self.certificate)
        write_private(key, self.key)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Pair:
        """Return what `write` wrote. Raises OSError."""
        return cls(certificate.read_text(), key.read_text())


def authority(name: str) -> Pair:
    """Return a new certificate authority (ECDSA P-256, ten years)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def pair(signer: Pair, name: str, *, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> Pair:
    """Return a new pair: of a user in groups, and where hosts are given also of a server there.

    Raises ValueError for a signer whose key is neither ECDSA nor RSA.
    """
    parent = x509.load_pem_x509_certificate(signer.certificate.encode())
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in groups]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, parent.subject, key)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    purposes = _BOTH if hosts else (ExtendedKeyUsageOID.CLIENT_AUTH,)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    builder = builder.add_extension(_identifier(parent), critical=False)
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(each) for each in hosts]), critical=False)
    issuer = serialization.load_pem_private_key(signer.key.encode(), None)
    if not isinstance(issuer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("a certificate authority of a plane has an ECDSA or RSA key")
    return Pair(_pem(builder.sign(issuer, hashes.SHA256())), _key_pem(key))


def signing_key() -> str:
    """Return a new private key for the tokens of service accounts, in the form that client-go takes for both halves."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + _LIFE)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return builder.add_extension(identifier, critical=False)


def _identifier(parent: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return what names the parent: the identifier it gave itself, since it may be made by other software."""
    try:
        own = parent.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = parent.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise ValueError("a certificate authority of a plane has an ECDSA or RSA key") from None
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
