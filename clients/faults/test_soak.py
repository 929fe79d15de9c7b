"""Everything at once for a while: both doors, good and bad requests, connections that come, stay and break off.

`OIP_SOAK` is how many seconds it lasts; `.ci/long soak` lets it run for long and prints what it took.
"""

import contextlib
import os
import random
import socket
import threading
import time

from load import BODY, Load, metric

SECONDS = float(os.environ.get("OIP_SOAK", "6"))
# Allocators and threads have their working set by then.
WARM_UP = min(2.0 + SECONDS / 20, 60)
GROWTH_MIB = 24

HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
WRONG = {
    "no JSON": (HEAD % 4 + b"{]]}", b"400"),
    "another datatype": (HEAD % len(BODY) + BODY.replace(b"FP32", b"FP99"), b"400"),
    "another shape": (HEAD % len(BODY) + BODY.replace(b"[1]", b"[9]"), b"400"),
    "a model that is not there": ((HEAD % len(BODY)).replace(b"/m/", b"/x/") + BODY, b"404"),
    "another method": (b"DELETE /v2/models/m/infer HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
    "over the limit": (HEAD % 99_999_999, b"413"),
    "no HTTP": (b"\x16\x03\x01 hello\r\n\r\n", b"400"),
}
# The client is gone before there is an answer.
BROKEN_OFF = [b"", HEAD[:30], HEAD % len(BODY) + BODY[:20], HEAD % len(BODY) + BODY, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]


class Vandal(threading.Thread):
    """Sends what is wrong and wants the right refusal for it, and leaves in the middle of things."""

    def __init__(self, server, seed):
        super().__init__(daemon=True)
        self.server, self.random, self.going = server, random.Random(seed), True
        self.count, self.failures = 0, []

    def run(self):
        while self.going:
            with socket.create_connection(("127.0.0.1", self.server.rest_port), 20) as stream:
                if self.random.random() < 0.5:
                    stream.sendall(self.random.choice(BROKEN_OFF))
                else:
                    self.expect(stream, *self.random.choice(list(WRONG.items())))
            self.count += 1
            time.sleep(0.005)

    def expect(self, stream, what, wrong):
        sent, status = wrong
        stream.sendall(sent)
        answer = stream.recv(65536).split(b"\r\n")[0]
        if status not in answer:
            self.failures.append((what, answer))


def test_a_mixed_load_takes_no_more_memory_with_time(served):
    server = served("--body-limit", "1MiB", "--rate-limit", "0")
    began, sizes = time.monotonic(), []
    with contextlib.ExitStack() as crowd:
        loads = [Load(server, 3, 3), Load(server, 2, kept=False)]
        vandals = [Vandal(server, seed) for seed in (1, 2)]
        for load in loads:
            crowd.enter_context(load)
        for vandal in vandals:
            vandal.start()
        while (passed := time.monotonic() - began) < SECONDS:
            time.sleep(0.05)
            if passed > WARM_UP:
                sizes.append(server.resident_mib())
            assert not any(load.failures for load in loads), [load.failures for load in loads]
        for vandal in vandals:
            vandal.going = False
            vandal.join(30)
    answered, wrong = sum(load.answered for load in loads), sum(vandal.count for vandal in vandals)
    assert [load.failures for load in loads] == [[], []] and [v.failures for v in vandals] == [[], []]
    assert answered > 50 * SECONDS and wrong > 10 * SECONDS, (answered, wrong)
    # The middle of the first and of the last tenth: a peak is none, a slope is.
    tenth = max(len(sizes) // 10, 1)
    first, last = (sorted(part)[len(part) // 2] for part in (sizes[:tenth], sizes[-tenth:]))
    print(f"\n{SECONDS:.0f} s, {answered} answered, {wrong} wrong or broken off: {first:.1f} MiB after {WARM_UP:.0f} s, "
          f"{last:.1f} at the end, {max(sizes):.1f} at most")
    assert last - first < GROWTH_MIB and max(sizes) - first < 2 * GROWTH_MIB
    server.wait_for("/v2/health/ready")
    end = time.monotonic() + 5
    while sum(metric(server, "oip_in_flight", door=door) for door in ("rest", "grpc")):
        assert time.monotonic() < end, "something is still counted as in flight"
        time.sleep(0.05)
