"""Private keys in files: PKCS#8 PEM that other tools read, and nothing else is taken for a key."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.playground import entropy

from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.key_files import LAYOUTS, from_pem, to_pem
from crimson_protocol.secret.keys import BoxKey, DualKey, IdentityKey


@pytest.mark.parametrize("kind", list(LAYOUTS))
def test_a_key_comes_back_as_it_was(kind):
    key = kind.fresh(entropy(1))
    data = to_pem(key)
    assert from_pem(kind, data).public == key.public
    assert data.count(b"-----BEGIN PRIVATE KEY-----") == len(LAYOUTS[kind])


def test_openssl_reads_an_identity_key(tmp_path: Path):
    key = IdentityKey.fresh(entropy(2))
    path = tmp_path / "identity.pem"
    path.write_bytes(to_pem(key))
    done = subprocess.run(
        ["openssl", "pkey", "-in", str(path), "-pubout", "-outform", "DER"], capture_output=True, check=True
    )
    assert done.stdout[-32:] == key.public
    assert load_pem_private_key(path.read_bytes(), None).public_key().public_bytes_raw() == key.public


@pytest.mark.parametrize("kind", list(LAYOUTS))
def test_another_kind_of_key_is_refused(kind):
    for other in set(LAYOUTS) - {kind}:
        with pytest.raises(CallerFault) as caught:
            from_pem(kind, to_pem(other.fresh(entropy(3))))
        assert caught.value.code is Refusal.MALFORMED


@pytest.mark.parametrize("damage", ["empty", "cut", "not pem", "doubled", "certificate"])
def test_a_damaged_file_is_refused_without_showing_it(damage):
    data = to_pem(DualKey.fresh(entropy(4)))
    broken = {
        "empty": b"",
        "cut": data[: len(data) // 3],
        "not pem": b"hello -----END PRIVATE KEY-----",
        "doubled": data + data,
        "certificate": data.replace(b"PRIVATE KEY", b"CERTIFICATE"),
    }[damage]
    with pytest.raises(CallerFault) as caught:
        from_pem(DualKey, broken)
    assert caught.value.code is Refusal.MALFORMED
    line = data.splitlines()[1].decode()
    assert line not in str(caught.value)


def test_a_key_of_another_algorithm_is_refused(tmp_path: Path):
    done = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        capture_output=True,
        check=True,
    )
    with pytest.raises(CallerFault) as caught:
        from_pem(BoxKey, done.stdout)
    assert caught.value.code is Refusal.UNSUPPORTED
