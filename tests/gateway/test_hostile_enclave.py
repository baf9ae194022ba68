"""Whatever answers on the enclave's socket: the gateway lives, says that it is not ready, and tries again."""

import socket
import threading
import time

import pytest
from tests.gateway.federation import Federation, Together, valid_now
from tests.playground import make_parties

from crimson_protocol.wire import link

HUGE = (1 << 31).to_bytes(4, "big") + bytes([17])
STATUS = link.Status(
    1, bytes(16), bytes(32), "Idle", None, None, (), False, None, False, (), (), 10, bytes(32), 0
)
ANSWERS = {
    "hangs-up": b"",
    "nonsense": b"\xff" * 64,
    "too-large": HUGE,
    "wrong-kind": link.frame(link.Heard(())),
    "not-canonical": link.header(link.Status, 3) + b"\x9f\x00\xff",
    "no-leaves": link.frame(STATUS) + link.frame(link.Leaves(0, ())),
    "other-leaves": link.frame(STATUS) + link.frame(link.Leaves(5, (b"x",))),
    "fetches": link.frame(link.Fetch("vector", 0, None)) * 2000,
    "cut-off": link.frame(STATUS)[:-5],
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_hostile_enclave_costs_its_connection_and_nothing_else(tmp_path, answer):
    federation = Federation(tmp_path, parties=valid_now(make_parties(4, seed="hostile")), link_patience=2)
    federation.enclave.home.socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(federation.enclave.home.socket))
    listener.listen()
    connections = 0
    enough = threading.Event()

    def serve() -> None:
        nonlocal connections
        while not enough.is_set():
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            connections += 1
            with peer:
                peer.settimeout(1)
                try:
                    peer.recv(1 << 16)
                    peer.sendall(answer)
                    peer.recv(1 << 16)
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    federation.start()
    http = federation.client(0).http
    end = time.monotonic() + 20
    while connections < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert connections >= 2, "it did not try again"
    assert http.get("/livez").status_code == 200
    assert http.get("/readyz").json()["checks"]["enclave"] is False
    enough.set()
    listener.close()
    # The real one takes the socket over, and a round runs.
    federation.enclave.start()
    federation.order_round()
    assert set(Together(federation.hospitals()).join().values()) == {"released"}
    federation.close()
