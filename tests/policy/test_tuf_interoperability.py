"""The TUF project's own client follows what is published, from the first root on, and refuses what we refuse."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.playground import FOUNDED, Parties, entropy, initial, make_parties
from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from crimson_governance.in_process import Government
from crimson_governance.repository import repository_files, write_files
from crimson_protocol.policy.bundle import MAX_BUNDLE, PolicyBundle
from crimson_protocol.policy.document import MAX_POLICY, Policy
from crimson_protocol.policy.update import Trust, update
from crimson_protocol.secret.keys import DualKey
from crimson_protocol.transcript import model_digest

CREATED = FOUNDED
"""The project's client goes by the machine's clock."""
DISTANT = 4_000_000_000


class Downloads(FetcherInterface):
    """The client's downloads, from a folder; it keeps a list of what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(url.removeprefix("file://"))
        self.asked.append(path.name)
        if not path.is_file():
            raise DownloadHTTPError(url, 404)
        yield path.read_bytes()


class World:
    """A federation's repository, the TUF project's client with a memory on disk, and our own with its trust."""

    def __init__(self, folder: Path) -> None:
        draw = entropy("interoperability")
        self.keys = [DualKey.fresh(draw) for _ in range(5)]
        self.publishers = [DualKey.fresh(draw) for _ in range(2)]
        self.government = Government.found(self.keys[:3], self.publishers[0], CREATED, 2)
        self.members: Parties = make_parties(4, seed="interoperability")
        self.repository, self.client = folder / "repository", folder / "client"
        for name in ("metadata", "targets"):
            (self.client / name).mkdir(parents=True)
        self.trust = Trust.anchored(self.government.roots[0])
        self.artifacts = {
            model_digest(made): made
            for made in (initial(rules.numbers) for rules in self.members.policy.models)
        }

    def publish(self, serial: int, version: int | None = None, fresh_until: int = DISTANT) -> Policy:
        policy = Policy(**{**vars(self.members.policy), "serial": serial, "expires": DISTANT})
        bundle = self.government.publish(policy, fresh_until, self.artifacts, version)
        write_files(self.repository, repository_files(bundle, self.artifacts))
        return policy

    def updater(self) -> Updater:
        self.downloads = Downloads()
        return Updater(
            metadata_dir=str(self.client / "metadata"),
            metadata_base_url=f"file://{self.repository}/metadata/",
            target_dir=str(self.client / "targets"),
            target_base_url=f"file://{self.repository}/targets/",
            fetcher=self.downloads,
            bootstrap=self.government.roots[0],
        )

    def theirs(self) -> bytes:
        """The policy as the project's client gets it."""
        updater = self.updater()
        updater.refresh()
        return Path(updater.download_target(updater.get_targetinfo("policy.cbor"))).read_bytes()

    def ours(self, now: int = CREATED + 1) -> Policy:
        """The policy as every party of ours gets it."""
        verified = update(self.trust, (self.repository / "policy.bundle").read_bytes(), now)
        self.trust = verified.trust
        return verified.policy


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_both_follow_two_versions_a_rotation_of_everybody_and_a_third(world: World):
    for serial in (1, 2):
        policy = world.publish(serial)
        assert Policy.from_bytes(world.theirs(), MAX_POLICY) == world.ours() == policy
    successor = Government.found(world.keys[2:], world.publishers[1], CREATED, 2)
    world.government = world.government.succeeded_by(successor, CREATED)
    policy = world.publish(3)
    assert Policy.from_bytes(world.theirs(), MAX_POLICY) == world.ours() == policy
    assert "2.root.json" in world.downloads.asked and "1.root.json" not in world.downloads.asked
    # A client that was never there before comes to the same.
    for path in world.client.rglob("*"):
        if path.is_file():
            path.unlink()
    world.trust = Trust.anchored(world.government.roots[0])
    assert Policy.from_bytes(world.theirs(), MAX_POLICY) == world.ours() == policy


def test_both_get_the_artifacts_that_models_start_from(world: World):
    world.publish(1)
    updater = world.updater()
    for digest, artifact in world.artifacts.items():
        target = updater.get_targetinfo(f"artifacts/{digest.hex()}")
        assert Path(updater.download_target(target)).read_bytes() == artifact


def test_a_fresh_timestamp_alone_is_followed_by_both(world: World):
    world.publish(1)
    world.theirs(), world.ours()
    before = world.trust
    policy = world.publish(1, version=2)
    assert Policy.from_bytes(world.theirs(), MAX_POLICY) == world.ours() == policy
    assert (world.trust.seen.timestamp, before.seen.timestamp) == (2, 1)


@pytest.mark.parametrize("attack", ["rollback", "freeze", "another government", "rotation by strangers"])
def test_both_refuse(world: World, attack: str):
    world.publish(2)
    world.theirs(), world.ours()
    known = world.trust
    strangers = Government.found(world.keys[3:], world.publishers[1], CREATED, 2)
    match attack:
        case "rollback":
            world.publish(1)
        case "freeze":
            world.publish(3, fresh_until=CREATED)
        case "another government":
            governing, world.government = world.government, strangers
            world.publish(3)
            world.government = governing
        case "rotation by strangers":
            world.government = strangers.succeeded_by(strangers, CREATED)
            world.government = Government(
                strangers.governors, strangers.publisher, 2, (known.root, world.government.roots[1])
            )
            world.publish(3)
    with pytest.raises(RepositoryError):
        world.theirs()
    with pytest.raises(Exception, match=r"\[(policy-went-back|expired|policy-rejected|bad-signature)\]"):
        world.ours()
    assert world.trust is known


def test_the_bundle_is_the_repositorys_files_byte_for_byte(world: World):
    world.publish(1)
    bundle = PolicyBundle.from_bytes((world.repository / "policy.bundle").read_bytes(), MAX_BUNDLE)
    metadata = world.repository / "metadata"
    assert bundle.roots == ((metadata / "1.root.json").read_bytes(),)
    for name, data in (
        ("timestamp", bundle.timestamp),
        ("1.snapshot", bundle.snapshot),
        ("1.targets", bundle.targets),
    ):
        assert (metadata / f"{name}.json").read_bytes() == data
