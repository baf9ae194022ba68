"""Throw-away certificate authorities and the certificates they give."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Authority:
    """A certificate authority that lives for one test."""

    name: str

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP384R1())
        subject = _name(self.name)
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=400))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(self.key, hashes.SHA384())
        )

    def pem(self) -> bytes:
        """What a node trusts."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, folder: Path, host: str = "127.0.0.1", *, days: tuple[int, int] = (-1, 30)) -> Path:
        """A PEM file with a certificate for `host` and its key; valid from and until these days from now."""
        key, now = ec.generate_private_key(ec.SECP384R1()), datetime.now(UTC)
        try:
            named: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            named = x509.DNSName(host)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(host))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.SubjectAlternativeName([named]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self.key, hashes.SHA384())
        )
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path = folder / f"{self.name}-{host}-{certificate.serial_number:x}.pem"
        path.write_bytes(
            certificate.public_bytes(encoding)
            + key.private_bytes(encoding, form, serialization.NoEncryption())
        )
        return path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
