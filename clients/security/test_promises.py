"""The table of promises in the documentation names tests that exist."""

import re

from oip_server import ROOT

SOURCES = ["clients/**/*.py", "crates/*/src/**/*.rs", "crates/*/tests/**/*.rs", "crates/python/tests/*.py"]


def rows():
    table = (ROOT / "docs/security-promises.md").read_text()
    found = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return [(promise.strip(), re.findall(r"`(\w+)`", tests)) for promise, tests in found[1:]]


def test_every_promise_of_the_documentation_names_tests_that_exist():
    text = "\n".join(path.read_text() for pattern in SOURCES for path in ROOT.glob(pattern))
    tests = set(re.findall(r"^\s*(?:async )?(?:def|fn) (\w+)\(", text, re.MULTILINE))
    promises = rows()
    assert len(promises) > 50
    for promise, named in promises:
        assert named or promise.startswith("**"), promise
        assert set(named) - tests == set(), promise


def test_every_test_of_how_the_original_fails_open_stands_behind_a_promise():
    source = (ROOT / "clients/security/test_original_fails_open.py").read_text()
    there = set(re.findall(r"^def (test_\w+)\(", source, re.MULTILINE))
    named = {name for _, tests in rows() for name in tests}
    assert there - named == set()
