"""Three governors, two of whom sign: on one machine and on several, with whatever may go wrong on the way."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.governance.sources import (
    GOVERNORS,
    Answer,
    Plain,
    SourceFolder,
    dual,
    federation,
    model,
    node,
    run,
)
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata
from tuf.ngclient import FetcherInterface, Updater

from crimson_governance.commands import main
from crimson_governance.files import write_private_key
from crimson_governance.published import read_published
from crimson_protocol.policy.document import MAX_POLICY, Policy
from crimson_protocol.policy.soundness import reasons
from crimson_protocol.transcript import model_digest


class Room:
    """A source, everybody's keys, and a repository."""

    def __init__(self, source: SourceFolder, capfd: object) -> None:
        self.source, self.capfd = source, capfd
        self.repository = source.folder.parent / "repository"

    def sign(self, name: str, folder: Path | None = None) -> Answer:
        key = self.source.folder.parent / "keys" / f"{name}.pem"
        if not key.exists():
            key.parent.mkdir(exist_ok=True)
            write_private_key(key, dual(name))
        options = ("--key", key, "--repository", self.repository, "--yes")
        return run(self.capfd, "sign", folder or self.source.folder, *options)

    def publish(self, *more: object, key: str = "publisher", folder: Path | None = None) -> Answer:
        self.source.keys()
        file = self.source.folder.parent / "keys" / f"{key}.pem"
        options = ("--repository", self.repository, "--publisher-key", file)
        return run(self.capfd, "publish", folder or self.source.folder, *options, *more)

    def published(self, *names: str) -> Answer:
        """Signed by these, and published."""
        for name in names:
            assert self.sign(name).code == 0
        return self.publish()

    def draft(self, serial: int = 1) -> Path:
        return self.source.folder / "drafts" / str(serial)


@pytest.fixture
def room(source, capfd) -> Room:
    return Room(source, capfd)


def test_two_of_three_publish_a_version(room):
    first = room.sign("alice")
    assert first.code == 0 and not first.data["enough"] and first.data["serial"] == 1
    refused = room.publish()
    assert (refused.code, refused.error["code"]) == (5, "too-few-signatures")
    assert "bob and carol" in refused.error["message"] and "bob and carol" in refused.error["hint"]
    assert not room.repository.exists()
    assert room.sign("carol").data["enough"]
    answer = room.publish()
    assert answer.code == 0
    found = read_published(room.repository)
    assert found.policy.digest().hex() == answer.data["digest"] == first.data["digest"]
    assert found.anchor.hex() == answer.data["anchor"]
    assert found.parties.names() == GOVERNORS and found.parties.threshold == 2
    assert reasons(found.policy) == []


def test_one_governor_does_not_count_twice(room):
    room.sign("alice")
    room.sign("alice")
    copy = next((room.draft() / "signatures").iterdir())
    shutil.copy(copy, copy.with_name("bob-00000000.json"))
    answer = room.publish()
    assert (answer.code, answer.error["code"]) == (9, "foreign-signature")
    copy.with_name("bob-00000000.json").unlink()
    assert room.publish().error["code"] == "too-few-signatures"


def test_versions_follow_each_other_and_the_diff_is_shown(room):
    room.published("alice", "bob")
    room.source.models = [model(numbers={"clip": Plain("8.5")})]
    room.source.write()
    answer = room.sign("bob")
    assert answer.data["serial"] == 2
    groups = {part["title"]: part["changes"] for part in answer.data["changes"]}
    assert groups["Model model"][0]["what"] == "clip"
    assert set(groups) == {"Model model", "Validity"}
    assert not (room.draft(2) / "root.json").exists()
    assert room.published("carol").data["serial"] == 2
    assert read_published(room.repository).policy.models[0].numbers.clip_micro == 8_500_000


def test_a_version_in_which_nothing_changes_but_its_end(room):
    room.published("alice", "bob")
    assert room.published("alice", "carol").data["serial"] == 2


def test_signatures_from_two_machines_count_together(room, tmp_path):
    room.sign("alice")
    other = tmp_path / "other machine" / "policies"
    shutil.copytree(room.source.folder, other)
    assert room.sign("bob", other).data["enough"]
    # Only bob's file comes back, by mail.
    for path in (other / "drafts/1/signatures").glob("bob-*.json"):
        shutil.copy(path, room.draft() / "signatures")
    assert room.publish().code == 0


def test_drafts_that_two_begun_apart_do_not_mix(room, tmp_path, monkeypatch):
    room.sign("alice")
    other = tmp_path / "other" / "policies"
    shutil.copytree(room.source.folder, other)
    shutil.rmtree(other / "drafts")
    monkeypatch.setattr("crimson_governance.commands.sign.time.time", lambda: 1_900_000_000)
    room.sign("bob", other)
    monkeypatch.undo()
    for path in (other / "drafts/1/signatures").glob("bob-*.json"):
        shutil.copy(path, room.draft() / "signatures")
    answer = room.publish()
    assert (answer.code, answer.error["code"]) == (9, "foreign-signature")
    assert "bob" in answer.error["message"] and "another draft" in answer.error["message"]


@pytest.mark.parametrize("name", ["roster.yaml", "access.cedar", "models/model.yaml", "federation.yaml"])
def test_a_source_that_changes_after_the_first_signature_is_refused(name, room):
    room.sign("alice")
    before = (room.source.folder / name).read_text()
    edits = {
        "access.cedar": before + "\n// a comment\n",
        "roster.yaml": before.replace("of site-3", "of site-3b"),
    }
    edits |= {"models/model.yaml": before.replace('"weight_cap": 16', '"weight_cap": 17')}
    edits |= {"federation.yaml": before.replace('"lifetime_days": 90', '"lifetime_days": 91')}
    (room.source.folder / name).write_text(edits[name])
    answer = room.sign("bob")
    assert (answer.code, answer.error["code"]) == (5, "source-changed")
    assert name in answer.error["message"]
    assert len(list((room.draft() / "signatures").iterdir())) == 1
    (room.source.folder / name).write_text(before)
    assert room.sign("bob").code == 0


def test_a_comment_in_yaml_changes_nothing_that_is_signed(room):
    room.sign("alice")
    text = (room.source.folder / "roster.yaml").read_text()
    (room.source.folder / "roster.yaml").write_text("# a comment\n" + text)
    assert room.sign("bob").data["enough"]


def test_before_the_first_signature_the_draft_follows_the_source(room):
    room.sign("alice")
    for path in (room.draft() / "signatures").iterdir():
        path.unlink()
    room.source.models = [model(numbers={"weight_cap": 99})]
    room.source.write()
    assert room.published("bob", "carol").code == 0
    assert read_published(room.repository).policy.models[0].numbers.weight_cap == 99


ALTERED = {
    "policy": ("policy.cbor", lambda data: data.replace(b"site-5", b"site-X")),
    "targets": ("targets.json", lambda data: data.replace(b'"version": 1', b'"version": 9')),
    "root": ("root.json", lambda data: data.replace(b'"threshold": 4', b'"threshold": 2')),
    "begun in the future": ("draft.json", lambda data: data.replace(b'"created": 1', b'"created": 9')),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_draft_that_was_altered_on_its_way_is_not_signed(name, room):
    room.sign("alice")
    file, alter = ALTERED[name]
    path = room.draft() / file
    altered = alter(path.read_bytes())
    assert altered != path.read_bytes()
    path.write_bytes(altered)
    answer = room.sign("bob")
    assert (answer.code, answer.error["code"]) == (9, "draft-altered")
    assert len(list((room.draft() / "signatures").iterdir())) == 1


@pytest.mark.parametrize("name", ["policy", "targets", "root"])
def test_a_draft_that_was_altered_after_the_last_signature_is_not_published(name, room):
    room.sign("alice")
    room.sign("bob")
    file, alter = ALTERED[name]
    path = room.draft() / file
    path.write_bytes(alter(path.read_bytes()))
    assert room.publish().code in (5, 9)
    assert not room.repository.exists()


def test_a_policy_swapped_for_another_sound_one_is_not_published(room):
    room.sign("alice")
    room.sign("bob")
    path = room.draft() / "policy.cbor"
    policy = Policy.from_bytes(path.read_bytes(), MAX_POLICY)
    path.write_bytes(replace(policy, expires=policy.expires + 1).to_bytes())
    assert room.publish().code == 9


BROKEN = {
    "cut": lambda text: text[: len(text) // 2],
    "no JSON": lambda text: "hello",
    "a list": lambda text: "[]",
    "another schema": lambda text: text.replace("crimson/signatures/1", "crimson/signatures/9"),
    "nested": lambda text: "[" * 50_000,
    "another document": lambda text: text.replace("targets.json", "../targets.json"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_signature_file_is_named(name, room):
    room.sign("alice")
    (path,) = (room.draft() / "signatures").iterdir()
    path.write_text(BROKEN[name](path.read_text()))
    answer = room.publish()
    assert (answer.code, answer.error["code"]) == (4, "bad-draft")
    assert path.name in answer.error["message"]


@pytest.mark.parametrize("half", [0, 1])
def test_half_a_pair_does_not_count(half, room):
    """An Ed25519 signature alone, or an ML-DSA-65 one alone, is no governor's signature."""
    room.sign("alice")
    room.sign("bob")
    path = next((room.draft() / "signatures").glob("bob-*"))
    facts = json.loads(path.read_text())
    for signatures in facts["documents"].values():
        signatures.pop(sorted(signatures, key=lambda key: len(signatures[key]))[half])
    path.write_text(json.dumps(facts))
    assert room.publish().error["code"] == "foreign-signature"


def test_a_stranger_cannot_sign(room):
    answer = room.sign("mallory")
    assert (answer.code, answer.error["code"]) == (5, "unknown-governor")
    assert not list((room.draft() / "signatures").iterdir())


def test_the_publisher_cannot_sign_nor_a_governor_publish(room):
    assert room.sign("publisher").error["code"] == "unknown-governor"
    room.sign("alice")
    room.sign("bob")
    assert room.publish(key="alice").error["code"] == "unknown-publisher"


def test_an_unsound_policy_is_not_signed(room):
    room.source.models = [model(numbers={"min_cohort": 2})]
    room.source.write()
    answer = room.sign("alice")
    assert (answer.code, answer.error["code"]) == (5, "unsound-policy")


def test_nobody_signs_without_being_asked(room, capfd):
    keys = room.source.keys()
    answer = run(capfd, "sign", room.source.folder, "--key", keys["alice"])
    assert (answer.code, answer.error["code"]) == (4, "not-confirmed")
    assert not list((room.draft() / "signatures").iterdir())


def test_a_private_key_in_the_source_is_not_used(room, capfd):
    key = room.source.folder / "alice.pem"
    write_private_key(key, dual("alice"))
    answer = run(capfd, "sign", room.source.folder, "--key", key, "--yes")
    assert (answer.code, answer.error["code"]) == (4, "private-key-in-source")


def test_the_published_version_must_be_named_once_there_is_one(room, capfd):
    room.published("alice", "bob")
    answer = run(capfd, "sign", room.source.folder, "--key", room.source.keys()["alice"], "--yes")
    assert (answer.code, answer.error["code"]) == (4, "repository-needed")


REWRITTEN = {
    "a node removed": (lambda nodes: nodes[:-1], "policy-rejected"),
    "two nodes swapped": (lambda nodes: [nodes[1], nodes[0], *nodes[2:]], "policy-rejected"),
    "a node put before the others": (lambda nodes: [node("new"), *nodes], "policy-rejected"),
    "a revocation taken back": (
        lambda nodes: [{**nodes[0], "status": "active"}, *nodes[1:]],
        "policy-rejected",
    ),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_history_is_not_rewritten(name, room):
    room.source.nodes[0]["status"] = "revoked"
    room.source.write()
    room.published("alice", "bob")
    edit, code = REWRITTEN[name]
    room.source.nodes = edit(room.source.nodes)
    room.source.write()
    answer = room.sign("alice")
    assert (answer.code, answer.error["code"]) == (5, code)


def test_a_federation_keeps_its_name(room):
    room.published("alice", "bob")
    room.source.federation["federation"] = "south"
    room.source.write()
    assert room.sign("alice").error["code"] == "policy-rejected"


def rotate(room: Room, governors: tuple[str, ...], **changes: object) -> None:
    named = [{"name": name.split("-")[0], "keys": f"governors/{name}.pub"} for name in governors]
    room.source.federation = {**federation(), "governors": named, **changes}
    room.source.write()


def test_new_governors_need_the_old_and_the_new_threshold(room):
    room.published("alice", "bob")
    rotate(room, ("carol", "dora", "erin"))
    assert not room.sign("dora").data["enough"]
    answer = room.sign("erin")
    counts = {count["what"]: count["enough"] for count in answer.data["counts"]}
    assert counts == {
        "the policy": True,
        "the new root, by its own governors": True,
        "the new root, by the governors so far": False,
    }
    refused = room.publish()
    assert refused.error["code"] == "too-few-signatures" and "governors so far" in refused.error["message"]
    assert room.sign("alice").code == 0
    assert room.sign("bob").data["enough"]
    assert room.publish().data["roots"] == 2
    found = read_published(room.repository)
    assert found.parties.names() == ("carol", "dora", "erin") and found.root_version == 2
    # Those who left may not sign the next version; those who came may.
    assert room.sign("alice").error["code"] == "unknown-governor"
    assert room.published("carol", "dora").data["serial"] == 3


def test_the_old_governors_alone_cannot_put_others_in(room):
    room.published("alice", "bob")
    rotate(room, ("carol", "dora", "erin"))
    for name in ("alice", "bob"):
        assert room.sign(name).code == 0
    answer = room.publish()
    assert answer.error["code"] == "too-few-signatures" and "the policy: 0 of 2" in answer.error["message"]


def test_a_governor_changes_keys_and_signs_with_both(room):
    room.published("alice", "bob")
    rotate(room, ("alice-2", "bob", "carol"))
    for name in ("alice-2", "alice", "bob"):
        assert room.sign(name).code == 0
    assert {path.name.split("-")[0] for path in (room.draft(2) / "signatures").iterdir()} == {"alice", "bob"}
    assert len(list((room.draft(2) / "signatures").iterdir())) == 3
    assert room.publish().code == 0
    assert room.sign("alice").error["code"] == "unknown-governor"
    assert room.sign("alice-2").code == 0


def test_a_higher_threshold_holds_at_once(room):
    room.published("alice", "bob")
    rotate(room, GOVERNORS, threshold=3)
    room.sign("alice")
    room.sign("bob")
    answer = room.publish()
    assert answer.error["code"] == "too-few-signatures" and "2 of 3" in answer.error["message"]
    room.sign("carol")
    assert room.publish().code == 0


def test_a_new_publisher_takes_over(room):
    room.published("alice", "bob")
    rotate(room, GOVERNORS, publisher={"name": "other", "keys": "governors/other.pub"})
    room.sign("alice")
    room.sign("bob")
    room.source.keys()
    assert room.publish(key="publisher").error["code"] == "unknown-publisher"
    assert room.publish(key="other").code == 0
    assert room.publish("--refresh", key="publisher").error["code"] == "unknown-publisher"
    assert room.publish("--refresh", key="other").code == 0


def test_a_first_draft_with_foreign_governors_is_not_published(room, tmp_path):
    """Whoever slips the publisher a whole draft of their own has not founded the federation."""
    foreign = SourceFolder(tmp_path / "foreign" / "policies")
    foreign.federation = {
        **federation(),
        "governors": [{"name": "mallory", "keys": "governors/mallory.pub"}],
        "threshold": 1,
    }
    assert Room(foreign.write(), room.capfd).sign("mallory").data["enough"]
    shutil.copytree(foreign.folder / "drafts", room.source.folder / "drafts")
    answer = room.publish()
    assert (answer.code, answer.error["code"]) == (5, "source-changed")


def test_a_refresh_changes_nothing_but_how_fresh_it_is(room):
    first = room.published("alice", "bob")
    before = read_published(room.repository).bundle
    answer = room.publish("--refresh", "--days", 14)
    after = read_published(room.repository).bundle
    assert answer.data["digest"] == first.data["digest"]
    assert (after.roots, after.targets, after.policy) == (before.roots, before.targets, before.policy)
    versions = [Metadata.from_bytes(data).signed.version for data in (after.snapshot, after.timestamp)]
    assert versions == [2, 2]
    assert answer.data["fresh_until"] > first.data["fresh_until"]


def test_nothing_to_refresh_nothing_to_publish(room):
    room.source.keys()
    assert room.publish("--refresh").error["code"] == "no-policy"
    assert room.publish().error["code"] == "no-draft"


def test_a_draft_that_follows_another_version_is_not_published(room):
    room.published("alice", "bob")
    kept = room.repository.parent / "kept"
    shutil.copytree(room.repository, kept)
    room.source.models = [model(numbers={"weight_cap": 7})]
    room.source.write()
    room.sign("alice")
    room.sign("bob")
    # Another version 1 of the same governors, as a fork would have it.
    other = room.source.folder.parent / "fork"
    shutil.copytree(room.source.folder, other)
    shutil.rmtree(other / "drafts")
    shutil.rmtree(room.repository)
    room.sign("alice", other)
    room.sign("bob", other)
    assert room.publish(folder=other).code == 0
    answer = room.publish()
    assert (answer.code, answer.error["code"]) == (5, "stale-draft")


def test_a_damaged_repository_is_not_built_upon(room):
    room.published("alice", "bob")
    path = room.repository / "policy.bundle"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert room.sign("alice").code == 9
    assert room.publish().code == 9


def test_a_publication_that_was_cut_off_can_be_run_again(room, monkeypatch):
    for name in ("alice", "bob"):
        room.sign(name)
    written = []

    def cut(path: Path, data: bytes, mode: int = 0o644) -> None:
        if len(written) == 4:
            raise OSError(28, "no space left", str(path))
        written.append(path)
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr("crimson_governance.repository.write_file", cut)
        assert room.publish().code == 4
    assert not (room.repository / "policy.bundle").exists()
    assert room.publish().code == 0


def test_show_explain_and_diff_read_what_was_published(room, capfd):
    room.published("alice", "bob")
    bundle = room.repository / "policy.bundle"
    shown = run(capfd, "show", bundle).data
    assert shown["serial"] == 1 and len(shown["anchor"]) == 64
    assert run(capfd, "explain", room.repository).code == 0
    groups = run(capfd, "diff", bundle, room.source.folder).data["groups"]
    assert {part["title"] for part in groups} <= {"Validity"}


class Folder(FetcherInterface):
    """A TUF client's downloads, from a repository on this disk."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(url.removeprefix("file://"))
        if not path.is_file():
            raise DownloadHTTPError(url, 404)
        yield path.read_bytes()


def test_the_tuf_projects_own_client_reads_what_is_published(room, tmp_path):
    room.published("alice", "bob")
    first = (room.repository / "metadata/1.root.json").read_bytes()
    rotate(room, ("carol", "alice", "dora"))
    room.published("alice", "carol", "bob")
    for name in ("metadata", "targets"):
        (tmp_path / name).mkdir()
    updater = Updater(
        metadata_dir=str(tmp_path / "metadata"),
        metadata_base_url=f"file://{room.repository}/metadata/",
        target_dir=str(tmp_path / "targets"),
        target_base_url=f"file://{room.repository}/targets/",
        fetcher=Folder(),
        bootstrap=first,
    )
    updater.refresh()
    target = updater.get_targetinfo("policy.cbor")
    policy = Policy.from_bytes(Path(updater.download_target(target)).read_bytes(), MAX_POLICY)
    assert policy == read_published(room.repository).policy and policy.serial == 2
    for rules in policy.models:
        found = updater.get_targetinfo(f"artifacts/{rules.initial_digest.hex()}")
        assert model_digest(Path(updater.download_target(found)).read_bytes()) == rules.initial_digest


def test_the_words_of_signing(room, capfd):
    """What a governor reads, once, as people see it."""
    room.published("alice", "bob")
    room.source.nodes.append(node("newcomer"))
    room.source.write()
    keys = room.source.keys()
    argv = ["sign", room.source.folder, "--key", keys["bob"], "--repository", room.repository, "--yes"]
    assert main([*map(str, argv)]) == 0
    shown = capfd.readouterr()
    assert "+ newcomer (organisation of newcomer, hospital) joins" in shown.err
    assert "the policy: 1 of 2 (bob); 1 more of alice and carol" in shown.out
