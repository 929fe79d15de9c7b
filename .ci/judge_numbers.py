#!/usr/bin/env python3
"""Numbers in JSON, judged by Python's json: what is written and what is read, bit by bit.

    .ci/judge_numbers.py PROGRAM [COUNT]     PROGRAM is the example `numbers` of crates/protocol

Half of the numbers are written by the program and read by Python, half the other way round.
Floats narrower than a double are held to the exact value of their text (fractions), where a
double in between could round once too often.
"""

import array
import json
import math
import random
import struct
import subprocess
import sys
import threading
from decimal import Decimal
from fractions import Fraction

LINE = 1000
INTEGERS = {f"{sign}INT{bits}": (bits, sign == "") for bits in (8, 16, 32, 64) for sign in ("", "U")}


def beside(text):
    """The double nearest to a text. Where it may be the middle between two narrower floats and the
    text lies beside it, the next double on the text's side: narrowing that rounds once."""
    double = float(text)
    bits = struct.unpack("<Q", struct.pack("<d", double))[0]
    if double and bits & 0xFFFFF == 0 and Fraction(text) != Fraction(double):
        up = abs(Fraction(text)) > abs(Fraction(double))
        double = struct.unpack("<d", struct.pack("<Q", bits + (1 if up else -1)))[0]
    return double


def brain(double):
    """The bits of the brain float nearest to a double."""
    bits = struct.unpack("<I", struct.pack("<f", double))[0]
    near = struct.unpack("<f", struct.pack("<I", bits))[0]
    if near != double:
        # Cut to a single, and odd as something was cut off: rounding that rounds once.
        bits = (bits - (abs(near) > abs(double))) | 1
    return struct.pack("<H", bits + 0x7FFF + (bits >> 16 & 1) >> 16)


def packed(datatype, text):
    """The bytes of an element."""
    if datatype in INTEGERS:
        bits, signed = INTEGERS[datatype]
        number = Fraction(text)
        assert number.denominator == 1, text
        return int(number).to_bytes(bits // 8, "little", signed=signed)
    if datatype == "FP64":
        return struct.pack("<d", float(text))
    double = beside(text)
    return brain(double) if datatype == "BF16" else struct.pack("<f" if datatype == "FP32" else "<e", double)


def elements(data):
    return [text.strip() for text in data.strip()[1:-1].split(",")]


def written(program, count):
    """The program writes, Python reads."""
    run = subprocess.Popen([program, "write", str(count), "1"], stdout=subprocess.PIPE, text=True)
    checked = 0
    for line in run.stdout:
        datatype, bits, data = line.split(" ", 2)
        json.loads(data)  # It is JSON, whatever else it is.
        expected, read = bytes.fromhex(bits), b"".join(packed(datatype, text) for text in elements(data))
        if read != expected:
            size = len(expected) // LINE
            wrong = next(n for n in range(LINE) if read[n * size : n * size + size] != expected[n * size : n * size + size])
            sys.exit(f"written wrongly: {datatype} {expected[wrong * size : wrong * size + size].hex()} became {elements(data)[wrong]}")
        checked += LINE
    if run.wait():
        sys.exit("the program has failed")
    return checked


def double(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def any_double(chance):
    while True:
        number = double(chance.getrandbits(64))
        if math.isfinite(number):
            return number


def integers(datatype, chance):
    """Integers of a datatype, its ends among them, some written as floats are."""
    bits, signed = INTEGERS[datatype]
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def one():
        form = chance.randrange(8)
        if form == 0:
            return str(chance.choice([least, most, 0, least + 1, most - 1]))
        number = chance.randint(least, most) >> chance.randrange(bits)
        if form == 1:
            return f"{number}.0"
        return f"{chance.randint(1, 12)}e1" if form == 2 else str(number)

    return "[" + ",".join(one() for _ in range(LINE)) + "]"


# What a line holds by its kind, and as which datatypes it may be read.
WIDE = 16


def wide(kind, chance):
    """Numbers that only some datatypes hold: (datatype, line)."""
    if kind == 8:  # Doubles of any bits.
        return "FP64", json.dumps([any_double(chance) for _ in range(LINE)])
    if kind == 9:  # All 17 digits, with exponents.
        return "FP64", "[" + ",".join(f"{any_double(chance):.16e}" for _ in range(LINE)) + "]"
    if kind == 10:  # Subnormal doubles, and the middle between two of them.
        def small():
            number = double(chance.getrandbits(chance.randint(1, 53)))
            return repr(number) if chance.random() < 0.5 else f"{Decimal(number) + Decimal(double(1)) / 2:.40e}"
        return "FP64", "[" + ",".join(small() for _ in range(LINE)) + "]"
    if kind == 11:  # The ends of doubles, and numbers that vanish.
        ends = ["1.7976931348623157e308", "-1.7976931348623157e+308", "1.797693134862315807e308", "2.2250738585072014e-308",
                "2.2250738585072011e-308", "5e-324", "4.9e-324", "2.5e-324", "2.4e-324", "1e-400", "-0.0", "0e5", "-1e-999",
                "9007199254740993", "9007199254740992.99999", "1" + "0" * 300, "0." + "0" * 320 + "7"]
        return "FP64", "[" + ",".join(chance.choice(ends) for _ in range(LINE)) + "]"
    if kind == 12:  # Singles of any bits, subnormal ones among them.
        def any_single():
            bits = chance.getrandbits(32) & ~(1 << 23)
            if chance.random() < 0.2:
                bits &= 0x807FFFFF
            return repr(struct.unpack("<f", struct.pack("<I", bits))[0])
        return "FP32", "[" + ",".join(any_single() for _ in range(LINE)) + "]"
    if kind == 13:  # Halves, subnormal ones, the middles between them and just beside.
        def half():
            bits = chance.getrandbits(15) % 0x7BFF
            value, above = struct.unpack("<2e", struct.pack("<2H", bits, bits + 1))
            number = chance.choice([value, (value + above) / 2, chance.uniform(value, above)])
            return f"{Decimal(number):f}" + chance.choice(["", "1", "0001"] if number % 1 else [""])
        return "FP16", "[" + ",".join(half() for _ in range(LINE)) + "]"
    if kind == 14:  # Brain floats, likewise.
        def brain_text():
            bits = chance.getrandbits(15) % 0x7F7F
            value, above = struct.unpack("<2f", struct.pack("<2I", bits << 16, bits + 1 << 16))
            number = chance.choice([value, (value + above) / 2, chance.uniform(value, above)])
            return chance.choice(["", "-"]) + f"{Decimal(number):.60e}"
        return "BF16", "[" + ",".join(brain_text() for _ in range(LINE)) + "]"
    datatype = chance.choice(sorted(INTEGERS))
    return datatype, integers(datatype, chance)


# How numbers of a line may lie apart. Line ends are whitespace like these, and end a line here.
GAPS = [",", ", ", ",\t", ",  ", " ,", " , ", ",\r"]


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
            kind = number % WIDE
            if kind < 8:
                datatype, data = "FP64" if number % 3 == 2 else "FP32", texts(kind, chance)
            else:
                datatype, data = wide(kind, chance)
            data = data.replace(", ", ",").replace(",", chance.choice(GAPS))
            lines.append((datatype, data))
            run.stdin.write(f"{datatype} {data}\n")
        run.stdin.close()

    sender = threading.Thread(target=send)
    sender.start()
    checked = 0
    for number, bits in enumerate(run.stdout):
        datatype, data = lines[number]
        lines[number] = None
        numbers = elements(data)
        expected = b"".join(packed(datatype, text) for text in numbers)
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
