"""The tables of docs/reliability.md name tests that exist."""

import re

from oip_server import ROOT

SOURCES = ["clients/**/*.py", "crates/*/src/**/*.rs", "crates/*/tests/**/*.rs", "crates/python/tests/*.py"]
SHOWN = "the test that shows it |"


def rows():
    """The first cell of each row of a table that names tests, and what its last one names."""
    found, within = [], False
    for line in (ROOT / "docs" / "reliability.md").read_text().splitlines():
        within = line.endswith(SHOWN) or (within and line.startswith("|"))
        if within and not line.endswith((SHOWN, "---|")):
            cells = line.strip("| ").split(" | ")
            found.append((cells[0], cells[-1]))
    return found


def test_every_limit_and_every_fault_names_tests_that_exist():
    text = "\n".join(path.read_text() for pattern in SOURCES for path in ROOT.glob(pattern))
    tests = re.findall(r"^\s*(?:async )?(?:def|fn) (\w+)\(", text, re.MULTILINE)
    assert len(rows()) > 35
    for promise, shown in rows():
        named = re.findall(r"`(\w+)(…?)`", shown)
        assert named or shown.startswith("the same"), promise
        for name, cut in named:
            assert any(test == name or (cut and test.startswith(name)) for test in tests), (promise, name)
