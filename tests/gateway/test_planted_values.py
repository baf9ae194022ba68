"""Nothing of a hospital's update stands in the clear in what the gateway keeps or logs."""

import threading
from dataclasses import replace

import numpy as np
from tests.gateway.federation import Together
from tests.gateway.hospital import Hospital

from crimson_node.member import Update

PLANTED = np.float32(1.2345678)


class Planting(Hospital):
    """Every parameter is the same well-known value."""

    def update(self) -> Update:
        honest = super().update()
        return replace(honest, parameters=np.full_like(honest.parameters, PLANTED))


def everything_kept(federation) -> list[tuple[str, bytes]]:
    files = [path for path in federation.home.rglob("*") if path.is_file()] + [
        federation.folder / "gateway.log"
    ]
    return [(str(path), path.read_bytes()) for path in files]


def test_spool_database_and_log_hold_no_planted_value(federate):
    federation = federate(5, log_level="DEBUG")
    hospitals = [
        Planting(federation.folder, index, federation.parties, federation.client(index)) for index in range(5)
    ]
    gate = threading.Event()
    hospitals[0].pause_before["UnmaskRequest"] = gate
    round_ = federation.order_round()
    together = Together(hospitals)
    federation.wait_until(round_["id"], "unmasking")
    kept = everything_kept(federation)
    gate.set()
    together.join()
    kept += everything_kept(federation)
    assert sum("attempts" in name for name, _ in kept) >= 3 * len(hospitals), "uploads were not looked at"
    encoded = [vector for hospital in hospitals for vector in hospital.encoded.values()]
    assert len(encoded) == len(hospitals)
    needles = [PLANTED.tobytes() * 2, b"1.2345678"]
    # Four encoded parameters in a row, as they stand in the vector before it is masked.
    needles += [vector[2:6].astype("<u4").tobytes() for vector in encoded]
    keys = [identity.reveal() for identity in federation.parties.identities]
    for name, data in kept:
        for needle in [*needles, *keys, *(key.hex().encode() for key in keys)]:
            assert needle not in data, name


def test_logs_name_no_key_and_no_signature(federate):
    federation = federate(4)
    client = federation.client(0)
    request = client.request("GET", "/v1/policy")
    client.send(request)
    federation.stop()
    log = (federation.folder / "gateway.log").read_text()
    assert '"route": "/v1/policy"' in log and '"caller": "site-0"' in log
    signature = request.headers["signature"].split(":")[1]
    assert signature not in log and client.key_id not in log
