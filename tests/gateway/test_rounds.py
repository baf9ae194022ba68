"""Whole rounds over real HTTPS: the gateway relays, the enclave sums, every node opens the same model."""

from tests.gateway.federation import Together


def test_a_round_over_https_ends_in_the_same_model_for_every_node(federate):
    federation = federate(5)
    hospitals = federation.hospitals()
    round_ = federation.order_round()
    assert (round_["state"], round_["number"], round_["attempt"]) == ("gathering", 0, 0)
    ended = Together(hospitals).join()
    assert set(ended.values()) == {"released"}
    assert len({hospital.artifact for hospital in hospitals}) == 1 and hospitals[0].artifact
    view = federation.round(round_["id"])
    assert (view["state"], view["number"], view["attempt"], view["faults"]) == ("released", 1, 1, [])
