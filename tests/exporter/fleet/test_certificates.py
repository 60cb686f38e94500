"""Certificates of a fleet: private, of one authority, for three years, and complete or refused."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from slide_export.core.errors import RequestError
from slide_export.fleet.certificates import ROLES, YEARS, make, security


def test_certificates_are_made_once_and_their_keys_are_private(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert {path.name for path in made} == {path.name for path in tmp_path.iterdir()}
    assert {path.stat().st_mode & 0o077 for path in made if path.suffix == ".key"} == {0}
    with pytest.raises(RequestError, match="expected a directory without certificates"):
        make(tmp_path)
    with pytest.raises(RequestError, match=r"found no ca\.pem"):
        security(tmp_path / "other")


def test_each_is_the_authoritys_and_none_may_sign_others(tmp_path: Path) -> None:
    made = {
        path.name: x509.load_pem_x509_certificate(path.read_bytes()) for path in make(tmp_path) if path.suffix == ".pem"
    }
    authority = made.pop("ca.pem")
    assert set(made) == {f"{role}.pem" for role in ROLES}
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    for certificate in made.values():
        certificate.verify_directly_issued_by(authority)
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        valid = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert valid == datetime.timedelta(days=365 * YEARS, hours=1)
    assert len({certificate.serial_number for certificate in made.values()}) == len(ROLES)


def test_an_authority_does_not_vouch_for_anothers(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    other, client = (
        x509.load_pem_x509_certificate((tmp_path / place).read_bytes()) for place in ("a/ca.pem", "b/client.pem")
    )
    with pytest.raises(InvalidSignature):
        client.verify_directly_issued_by(other)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_needs_its_own_pair(role: str, tmp_path: Path) -> None:
    make(tmp_path)
    found = security(tmp_path, role)
    assert found.require_encryption
    assert found.get_tls_config_for_role(role)["ca_file"] == str(tmp_path / "ca.pem")
    (tmp_path / f"{role}.key").unlink()
    with pytest.raises(RequestError, match=rf"found no {role}\.key"):
        security(tmp_path, role)
    with pytest.raises(RequestError, match="with the directory of certificates for a tls:// address"):
        security(None, role)
