"""The gateway's own certificates. With operator_keys.py, where this room calls `cryptography`.

Where the operator brings no certificate, a local authority (P-384) signs one; hospitals are given `ca.pem`.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP384R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crimson_gateway.files import write_file

AUTHORITY_DAYS, LEAF_DAYS, RENEW_DAYS = 1826, 397, 30


class CertificateFault(Exception):
    """A certificate or key cannot be used: what is wrong, and what to do."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.text, self.hint = text, hint


@dataclass(frozen=True)
class TlsFiles:
    """Paths of a server's certificate (chain) and private key."""

    certificate: Path
    key: Path


def ensure_certificate(home: Path, hosts: Sequence[str], now: datetime | None = None) -> TlsFiles:
    """The gateway's own certificate for `hosts`, made or renewed by its local authority where that is due.

    A new one is issued where there is none, where it lacks one of the hosts, or where it ends within 30
    days. The authority itself is never replaced: hospitals trust it. Raises CertificateFault.
    """
    now = now or datetime.now(UTC)
    folder = home / "tls"
    files = TlsFiles(folder / "cert.pem", folder / "keys" / "cert.key.pem")
    authority, key = _authority(folder, now)
    if files.certificate.exists() and files.key.exists():
        leaf = _read_certificate(files.certificate)
        lasting = leaf.not_valid_after_utc - now > timedelta(days=RENEW_DAYS)
        if lasting and set(map(_general_name, hosts)) <= set(_names(leaf)):
            return files
    _issue(files, hosts, authority, key, now)
    return files


def check_certificate(files: TlsFiles, now: datetime | None = None) -> None:
    """Raise CertificateFault unless the key belongs to the certificate and it is valid now."""
    now = now or datetime.now(UTC)
    certificate = _read_certificate(files.certificate)
    key = _read_key(files.key)
    if _public_bytes(key.public_key()) != _public_bytes(certificate.public_key()):
        raise CertificateFault(
            f"the key in {files.key} does not belong to the certificate in {files.certificate}",
            "give certificate and key of one pair, the server's own certificate first in its file",
        )
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        raise CertificateFault(
            f"the certificate in {files.certificate} is not valid before {start:%Y-%m-%d %H:%M} UTC",
            "check this machine's clock, or wait",
        )
    if now >= end:
        raise CertificateFault(
            f"the certificate in {files.certificate} expired at {end:%Y-%m-%d %H:%M} UTC",
            "renew it and restart the gateway",
        )


def _authority(folder: Path, now: datetime) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    path, key_path = folder / "ca.pem", folder / "keys" / "ca.key.pem"
    if path.exists():
        certificate, key = _read_certificate(path), _read_key(key_path)
        if not isinstance(key, EllipticCurvePrivateKey):
            raise CertificateFault(f"{key_path} holds no elliptic-curve key", "restore it from the backup")
        if now >= certificate.not_valid_after_utc:
            raise CertificateFault(
                f"the local authority in {path} has expired",
                "move the folder tls away, run `crimson gateway init` and give hospitals the new ca.pem",
            )
        return certificate, key
    key = generate_private_key(SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Crimson gateway authority")])
    builder = (
        _builder(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA384())
    write_file(key_path, _pem(key))
    write_file(path, certificate.public_bytes(Encoding.PEM), 0o644)
    return certificate, key


def _issue(
    files: TlsFiles,
    hosts: Sequence[str],
    authority: x509.Certificate,
    signer: EllipticCurvePrivateKey,
    now: datetime,
) -> None:
    key = generate_private_key(SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Crimson gateway")])
    days = min(LEAF_DAYS, (authority.not_valid_after_utc - now).days)
    builder = (
        _builder(name, authority.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    write_file(files.key, _pem(key))
    write_file(files.certificate, builder.sign(signer, hashes.SHA384()).public_bytes(Encoding.PEM), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of hospitals may be a little behind.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public_bytes(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise CertificateFault(f"{path} holds no PEM certificate", "give a PEM file") from error


def _read_key(path: Path):  # type: ignore[no-untyped-def]
    try:
        return load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise CertificateFault(f"{path} holds no plain PEM private key", "give a PKCS#8 PEM file") from error
