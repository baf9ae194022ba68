"""Nodes as services over real TLS: whole rounds, what they keep, and what leaves them."""

from tests.node.federation import MODEL, MOMENTS

from crimson_node.journal import Journal
from crimson_node.seen import VectorSent
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.transcript import model_digest


def test_moments_then_two_rounds_of_training(federation):
    one = federation(4)
    one.start()
    assert [one.round(MOMENTS), one.round(MODEL), one.round(MODEL)] == ["released"] * 3
    one.relay.wait(lambda: all(len(node.said("round-over")) == 3 for node in one.running.values()))
    one.stop()
    artifacts = set()
    for index, node in one.running.items():
        assert node.error is None
        home = one.homes.home(index)
        assert {path.name for path in (home / "receipts").iterdir()} == {
            f"{MOMENTS}-1.cbor",
            f"{MODEL}-1.cbor",
            f"{MODEL}-2.cbor",
        }
        artifact = (home / "models" / f"{MODEL}.artifact").read_bytes()
        artifacts.add(artifact)
        receipt = verify_receipt(
            (home / "receipts" / f"{MODEL}-2.cbor").read_bytes(), one.relay.session.instance.signing.public
        )
        assert receipt.output_digest == model_digest(artifact)
        sent = [entry for _, entry in Journal(home / "journal").entries() if isinstance(entry, VectorSent)]
        assert len(sent) == 3
        assert list((home / "outbox").iterdir()) == []
    assert len(artifacts) == 1
    assert Artifact.from_bytes(artifacts.pop(), MAX_ARTIFACT).vector().any()
