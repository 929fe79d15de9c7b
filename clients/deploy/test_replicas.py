"""Two replicas behind a real HAProxy, both doors, and a restart of each under load."""

import time

import pytest

import replicas
from oip_server import ROOT
from replicas import Load, Replicas

pytestmark = pytest.mark.skipif(replicas.PROXY is None, reason="haproxy is not installed")

FLOWER = ("iris", "input", [1, 4], [5.1, 3.5, 1.4, 0.2])
# Longer than HAProxy takes to notice: it looks every 0.2 s.
DRAIN = ("--shutdown-delay=1s", "--shutdown-grace=20s")


@pytest.fixture
def pair(tmp_path):
    with Replicas(ROOT / "examples" / "models", tmp_path, *DRAIN) as pair:
        pair.start(0)
        pair.start(1)
        pair.wait_until_served()
        # The proxy has seen both.
        time.sleep(0.5)
        yield pair


def test_the_streams_of_one_grpc_connection_reach_both_replicas(pair):
    with Load(pair.port, *FLOWER, rest=0, streams=4) as load:
        while load.count()["grpc"] < 200 and not load.failures:
            time.sleep(0.05)
    assert not load.failures, load.failures[:5]
    shares = [pair.answered(which, "iris") for which in (0, 1)]
    assert sum(shares) == load.answers["grpc"]
    assert min(shares) >= 0.2 * sum(shares), shares


def test_a_rolling_restart_under_load_of_both_doors_loses_no_call(pair):
    with Load(pair.port, *FLOWER) as load:
        for which in (0, 1):
            before = load.count()
            pair.stop(which)
            during = load.count()
            pair.start(which)
            # It has calls again before the other one goes.
            while pair.answered(which, "iris") < 50 and not load.failures:
                time.sleep(0.05)
            for door in ("rest", "grpc"):
                assert during[door] > before[door], f"{door} stood still while replica {which} was away"
    assert not load.failures, (len(load.failures), load.failures[:5], load.answers)
    assert min(load.answers.values()) > 100
