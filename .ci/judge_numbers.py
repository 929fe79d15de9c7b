#!/usr/bin/env python3
"""Numbers in JSON, judged by Python's json: what is written and what is read, bit by bit.

    .ci/judge_numbers.py PROGRAM [COUNT]     PROGRAM is the example `numbers` of crates/protocol

Half of the numbers are written by the program and read by Python, half the other way round.
A single is held to the exact value of its text (fractions), where a double in between could
round it once too often.
"""

import array
import json
import random
import struct
import subprocess
import sys
import threading
from fractions import Fraction

LINE = 1000


def single(text):
    """The bits of the single nearest to a text, rounded once."""
    double = float(text)
    bits = struct.unpack("<Q", struct.pack("<d", double))[0]
    if bits & 0x1FFFFFFF == 0x10000000 and "e" not in text and Fraction(text) != Fraction(double):
        # The double lies in the middle between two singles and the text beside it.
        up = Fraction(abs(Fraction(text))) > abs(Fraction(double))
        double = struct.unpack("<d", struct.pack("<Q", bits + (1 if up else -1)))[0]
    return struct.pack("<f", double)


def written(program, count):
    """The program writes, Python reads."""
    run = subprocess.Popen([program, "write", str(count), "1"], stdout=subprocess.PIPE, text=True)
    checked = 0
    for line in run.stdout:
        datatype, bits, data = line.split(" ", 2)
        kind = "d" if datatype == "FP64" else "f"
        expected = array.array(kind, bytes.fromhex(bits))
        read = array.array(kind, json.loads(data))
        if read.tobytes() != expected.tobytes():
            wrong = next(n for n in range(len(read)) if read[n] != expected[n])
            sys.exit(f"written wrongly: {expected[wrong]!r} became {json.loads(data)[wrong]!r}")
        checked += len(read)
    if run.wait():
        sys.exit("the program has failed")
    return checked


def texts(kind, chance):
    """A line of numbers as clients may write them."""
    if kind == 0:  # Doubles between -1 and 1, all their digits.
        return json.dumps([chance.uniform(-1, 1) for _ in range(LINE)])
    if kind == 1:  # Singles as doubles: what NumPy's tolist gives.
        values = array.array("f", [chance.uniform(-1, 1) for _ in range(LINE)])
        return json.dumps(values.tolist())
    if kind == 2:  # Of any size, with exponents.
        return json.dumps([chance.uniform(-1, 1) * 10 ** chance.randint(-37, 37) for _ in range(LINE)])
    if kind == 3:  # Few digits, no space.
        return "[" + ",".join(f"{chance.uniform(-300, 300):.{chance.randint(1, 6)}f}" for _ in range(LINE)) + "]"
    if kind == 4:  # More digits than a double has.
        return "[" + ", ".join(f"{chance.uniform(-2, 2):.{chance.randint(16, 30)}f}" for _ in range(LINE)) + "]"
    if kind == 5:  # The middle between two singles, and just beside it.
        def middle():
            value = struct.unpack("<f", struct.pack("<I", chance.randint(0x3D000000, 0x44000000)))[0]
            above = struct.unpack("<f", struct.pack("<I", struct.unpack("<I", struct.pack("<f", value))[0] + 1))[0]
            return f"{(value + above) / 2:.40f}" + chance.choice(["", "1", "0001"])
        return "[" + ",".join(middle() for _ in range(LINE)) + "]"
    if kind == 6:  # Whole numbers.
        return json.dumps([chance.randint(-300, 300) for _ in range(LINE)])
    return "[" + ", ".join(  # Of both kinds in turn.
        chance.choice(["0.5", "-1", "1e-3", "12.25", "0.0", "-0.0", "7", "255", "1E5", "0.1"]) for _ in range(LINE)
    ) + "]"


def read(program, count):
    """Python writes, the program reads."""
    run = subprocess.Popen([program, "read"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    chance = random.Random(1)
    lines = []

    def send():
        for number in range(count // LINE):
            datatype = "FP64" if number % 3 == 2 else "FP32"
            data = texts(number % 8, chance)
            lines.append((datatype, data))
            run.stdin.write(f"{datatype} {data}\n")
        run.stdin.close()

    sender = threading.Thread(target=send)
    sender.start()
    checked = 0
    for number, bits in enumerate(run.stdout):
        datatype, data = lines[number]
        lines[number] = None
        numbers = [text.strip() for text in data[1:-1].split(",")]
        if datatype == "FP64":
            expected = array.array("d", map(float, numbers)).tobytes()
        else:
            expected = b"".join(map(single, numbers))
        if bytes.fromhex(bits) != expected:
            size = len(expected) // len(numbers)
            got = bytes.fromhex(bits)
            wrong = next(n for n in range(0, len(got), size) if got[n : n + size] != expected[n : n + size])
            sys.exit(f"read wrongly as {datatype}: {numbers[wrong // size]}")
        checked += len(numbers)
    sender.join()
    if run.wait() or checked != count // LINE * LINE:
        sys.exit("the program has failed")
    return checked


if __name__ == "__main__":
    half = int(sys.argv[2] if len(sys.argv) > 2 else 10_000_000) // 2
    print(f"{written(sys.argv[1], half):,} numbers written are read back by Python to the bit")
    print(f"{read(sys.argv[1], half):,} numbers of Python's are read to the bit")
