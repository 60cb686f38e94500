"""Certificates of a fleet: one authority, and a pair each for client, scheduler and workers, made once."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.core import files
from slide_export.core.errors import BackendUnavailable, RequestError, option

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate
    from distributed.security import Security

AUTHORITY = "ca.pem"
ROLES = ("client", "scheduler", "worker")
YEARS = 3


def make(directory: Path) -> tuple[Path, ...]:
    """Write new certificates into a directory; the authority's own key is not kept: nobody can add a machine to it.

    Raises:
        RequestError: there are some already.
    """
    x509 = _cryptography()
    if (directory / AUTHORITY).exists():
        raise RequestError(
            f"expected a directory without certificates, {directory} has {AUTHORITY}: name another one, or remove it"
        )
    authority_key = _key()
    authority = _signed(x509, "slide-export fleet", authority_key, None, None)
    made = []
    for role in ROLES:
        key = _key()
        certificate = _signed(x509, f"slide-export {role}", key, authority, authority_key)
        made += [_write(directory / f"{role}.pem", _pem(certificate)), _write_secret(directory / f"{role}.key", key)]
    return _write(directory / AUTHORITY, _pem(authority)), *made


def security(directory: Path | None, role: str = "client") -> Security:
    """What dask takes of a directory of certificates.

    Raises:
        RequestError: there is none, or a file of it is missing.
    """
    if directory is None:
        raise RequestError(f"expected {option('tls')} with the directory of certificates for a tls:// address")
    names = (AUTHORITY, f"{role}.pem", f"{role}.key")
    if lacking := [name for name in names if not (directory / name).is_file()]:
        raise RequestError(
            f"expected certificates in {directory}, found no {lacking[0]}: `sweep certificates` makes them"
        )
    from distributed.security import Security

    return Security(
        tls_ca_file=str(directory / AUTHORITY),
        require_encryption=True,
        **{f"tls_{role}_cert": str(directory / f"{role}.pem"), f"tls_{role}_key": str(directory / f"{role}.key")},
    )


def _cryptography() -> Any:
    try:
        from cryptography import x509
    except ImportError as error:
        raise BackendUnavailable(
            "expected the package cryptography for certificates, found it not installed: "
            "pip install 'slide-export[fleet]'"
        ) from error
    return x509


def _key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _signed(
    x509: Any,
    name: str,
    key: EllipticCurvePrivateKey,
    authority: Certificate | None,
    authority_key: EllipticCurvePrivateKey | None,
) -> Certificate:
    """A certificate for a key, of an authority or its own."""
    from cryptography.hazmat.primitives import hashes

    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    made: Certificate = builder.sign(authority_key or key, hashes.SHA256())
    return made


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _write(path: Path, content: bytes) -> Path:
    files.write(path, content)
    return path


def _write_secret(path: Path, key: EllipticCurvePrivateKey) -> Path:
    """Write a key that its owner alone can read, from its first byte on."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    before = os.umask(0o077)
    try:
        return _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    finally:
        os.umask(before)
