"""Certificates for tests of TLS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HERE: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]


def self_signed(host: str = "localhost") -> tuple[bytes, bytes]:
    """Return a key and a certificate of its own authority for a host, PEM."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _named(host)
    return _private(key), _signed(name, key.public_key(), name, key, [x509.DNSName(host)], is_authority=True)


def for_mesh(folder: Path) -> dict[str, str]:
    """Write an authority and one certificate of it for all services of this machine; return the settings that name them."""
    authority_key, authority = ec.generate_private_key(ec.SECP256R1()), _named("mesh authority")
    authority_pem = _signed(authority, authority_key.public_key(), authority, authority_key, _HERE, is_authority=True)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(_named("service"), key.public_key(), authority, authority_key, _HERE, is_authority=False)
    files = {"certificate": certificate, "key": _private(key), "authority": authority_pem}
    for name, text in files.items():
        (folder / f"{name}.pem").write_bytes(text)
    return {f"RAG_TLS_{name.upper()}_FILE": str(folder / f"{name}.pem") for name in files}


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _signed(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    by: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName],
    *,
    is_authority: bool,
) -> bytes:
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(by, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
