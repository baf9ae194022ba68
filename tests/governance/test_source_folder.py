"""A source folder holds plain files: no links, no private keys, nothing that is passed over in silence."""

import os
import shutil

import pytest
from tests.governance.sources import dual, run

from crimson_governance.outcome import BadSource
from crimson_governance.public_files import BEGIN, read_public, write_public
from crimson_governance.source.folder import read_source
from crimson_protocol.secret.key_files import to_pem

LINKED = (
    "federation.yaml",
    "roster.yaml",
    "access.cedar",
    "models/model.yaml",
    "governors/alice.pub",
    "models",
    "README.md",
)


@pytest.mark.parametrize("name", LINKED)
def test_a_symbolic_link_is_refused_wherever_it_lies(name, source, capfd):
    path, elsewhere = source.folder / name, source.folder.parent / "elsewhere"
    if path.exists():
        shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
    elsewhere.exists() or elsewhere.write_text("x")
    answer = run(capfd, "lint", source.folder)
    assert answer.code == 4
    assert "symbolic link" in answer.error["message"] and answer.error["code"] == "source-link"


def test_a_file_that_is_turned_into_a_link_between_two_looks_is_not_followed(source, monkeypatch):
    secret = source.folder.parent / "secret"
    secret.write_text("nodes: []\n")
    (source.folder / "roster.yaml").unlink()
    (source.folder / "roster.yaml").symlink_to(secret)
    monkeypatch.setattr("crimson_governance.source.folder._refuse_links", lambda folder: None)
    with pytest.raises(OSError):
        read_source(source.folder)


def test_a_pipe_holds_nobody_up(source):
    (source.folder / "roster.yaml").unlink()
    os.mkfifo(source.folder / "roster.yaml")
    with pytest.raises(BadSource, match="not a plain file"):
        read_source(source.folder)


@pytest.mark.parametrize(
    "path", ["../alice.pub", "/etc/hostname", "governors/../../x", "drafts/1/policy.cbor"]
)
def test_key_files_lie_within_the_folder(path, source, capfd):
    text = (source.folder / "federation.yaml").read_text()
    (source.folder / "federation.yaml").write_text(text.replace("governors/alice.pub", path))
    answer = run(capfd, "lint", source.folder)
    assert answer.code == 4 and "within this folder" in answer.error["message"]


@pytest.mark.parametrize("name", ["federation.yaml", "roster.yaml", "access.cedar", "governors/bob.pub"])
def test_a_missing_file_is_named(name, source, capfd):
    (source.folder / name).unlink()
    answer = run(capfd, "lint", source.folder)
    assert answer.code == 4 and name in answer.error["message"]
    assert answer.error["hint"]


@pytest.mark.parametrize("name", ["survival.yml", "survival.yaml~", "notes.txt"])
def test_a_file_that_looks_like_a_model_is_not_passed_over(name, source, capfd):
    (source.folder / "models" / name).write_text("model: survival\n")
    answer = run(capfd, "lint", source.folder)
    assert answer.code == 4 and name in answer.error["message"]


def test_a_models_file_bears_its_name(source, capfd):
    (source.folder / "models/model.yaml").rename(source.folder / "models/other.yaml")
    assert "must be model.yaml" in run(capfd, "lint", source.folder).error["message"]


@pytest.mark.parametrize(
    "name", ["federation.yaml", "access.cedar", "access.cedarschema", "governors/carol.pub"]
)
def test_a_huge_file_is_refused(name, source, capfd):
    (source.folder / name).write_bytes(b"#" * ((1 << 20) + 1))
    answer = run(capfd, "lint", source.folder)
    assert answer.code == 4 and "bytes" in answer.error["message"]


def test_a_private_key_among_the_public_ones_is_called_by_name(source, capfd):
    (source.folder / "governors/alice.pub").write_bytes(to_pem(dual("alice")))
    answer = run(capfd, "lint", source.folder)
    assert (answer.code, answer.error["code"]) == (4, "private-key-in-source")
    assert "PRIVATE KEY" not in answer.error["message"]


def test_public_keys_in_both_forms():
    public = dual("alice").public
    assert read_public("f", write_public(public)) == public
    assert read_public("f", public.to_bytes()) == public
    assert write_public(public).decode().startswith(BEGIN)


@pytest.mark.parametrize("data", [b"", b"hello", write_public(dual("alice").public)[:-60], b"\xff" * 40])
def test_a_file_without_public_keys_is_refused(data, source, capfd):
    (source.folder / "governors/alice.pub").write_bytes(data)
    answer = run(capfd, "lint", source.folder)
    assert (answer.code, answer.error["code"]) == (4, "bad-public-key")
    assert "governors/alice.pub" in answer.error["message"]


def test_a_folder_that_is_no_source_is_refused(tmp_path, capfd):
    assert run(capfd, "lint", tmp_path).code == 4
