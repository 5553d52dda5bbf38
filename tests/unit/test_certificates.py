"""The lab's certificates are taken by the strictest rules that Python's TLS has; no sockets."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tallship.lab.store import Store
from tallship.lab.talos.config import pki
from tallship.lab.world import Authority, load_pair

Pair = tuple[str, str]
Issue = Callable[[str, tuple[str, ...], tuple[str, ...]], Pair]

HOST = "127.0.0.9"


def talos(key: pki.Key) -> tuple[str, Issue]:
    certificate, private = pki.new_authority("talos", key)
    return certificate, lambda name, groups, hosts: pki.issue(certificate, private, name, groups, hosts)


def lab() -> tuple[str, Issue]:
    authority = Authority(Store(), "lab")
    return authority.certificate_pem, authority.issue


AUTHORITIES: dict[str, Callable[[], tuple[str, Issue]]] = {
    "Talos' API": lambda: talos(ed25519.Ed25519PrivateKey.generate()),
    "Kubernetes": lambda: talos(ec.generate_private_key(ec.SECP256R1())),
    "the lab": lab,
}


@pytest.mark.parametrize("name", AUTHORITIES)
def test_a_strict_client_and_a_strict_server_take_each_other(name: str) -> None:
    ca, issue = AUTHORITIES[name]()
    names = shake_hands(ca, issue("server", (), (HOST, "localhost")), issue("me", ("os:admin",), ()))
    assert ("organizationName", "os:admin") in names


@pytest.mark.parametrize("name", AUTHORITIES)
def test_a_strict_client_refuses_another_authority(name: str) -> None:
    ca, issue = AUTHORITIES[name]()
    _, other = AUTHORITIES[name]()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ca, other("server", (), (HOST,)), issue("me", (), ()))


@pytest.mark.parametrize("name", AUTHORITIES)
def test_a_clients_certificate_serves_nobody(name: str) -> None:
    ca, issue = AUTHORITIES[name]()
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        shake_hands(ca, issue(HOST, (), ()), issue("me", (), ()))


def test_a_server_without_a_name_is_known_by_its_addresses() -> None:
    ca, issue = talos(ed25519.Ed25519PrivateKey.generate())
    shake_hands(ca, issue("", (), (HOST,)), issue("me", (), ()))


def test_an_authority_without_an_identifier_can_issue() -> None:
    """A configuration of the user's own may hold such an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "own")])
    made, private = pki.new_authority("own", key)
    full = x509.load_pem_x509_certificate(made.encode())
    bare = x509.CertificateBuilder(name, name, key.public_key(), full.serial_number)
    bare = bare.not_valid_before(full.not_valid_before_utc).not_valid_after(full.not_valid_after_utc)
    ca = pki.pem(bare.sign(key, hashes.SHA256()))
    certificate, _ = pki.issue(ca, private, "me")
    loaded = x509.load_pem_x509_certificate(certificate.encode())
    assert not [each for each in loaded.extensions if isinstance(each.value, x509.AuthorityKeyIdentifier)]


@pytest.mark.parametrize(
    ("key", "header"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "-----BEGIN ED25519 PRIVATE KEY-----"),
        (ec.generate_private_key(ec.SECP256R1()), "-----BEGIN EC PRIVATE KEY-----"),
        (rsa.generate_private_key(65537, 2048), "-----BEGIN RSA PRIVATE KEY-----"),
    ],
    ids=["Ed25519", "ECDSA", "RSA"],
)
def test_keys_are_read_as_they_are_written(key: pki.Key, header: str) -> None:
    text = pki.key_pem(key)
    assert text.startswith(header)
    assert pki.key_pem(pki.load_key(text)) == text


def test_a_fingerprint_tells_authorities_apart() -> None:
    one, other = (pki.new_authority("talos", ed25519.Ed25519PrivateKey.generate())[0] for _ in range(2))
    assert pki.fingerprint(one) == pki.fingerprint(one) != pki.fingerprint(other)


def shake_hands(ca: str, server: Pair, client: Pair) -> set[tuple[str, str]]:
    """Return what the server knows of the client's name, after a handshake in memory by strict rules."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = _context(ssl.Purpose.CLIENT_AUTH, ca, server).wrap_bio(to_server, to_client, server_side=True)
    calling = _context(ssl.Purpose.SERVER_AUTH, ca, client).wrap_bio(to_client, to_server, server_hostname=HOST)
    waiting = [calling, serving]
    for _ in range(8):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting
    subject = (serving.getpeercert() or {})["subject"]
    return {pair for names in subject for pair in names}  # type: ignore[misc]


def _context(purpose: ssl.Purpose, ca: str, pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(purpose, cadata=ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    load_pair(context, *pair)
    return context
