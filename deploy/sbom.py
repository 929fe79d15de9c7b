#!/usr/bin/env python3
"""Writes what the binary `oip` is made of, as CycloneDX 1.6 in JSON, to standard output.

    deploy/sbom.py > oip.cdx.json

Every crate that is compiled into the binary or runs while it is built, for Linux on x86-64, with its licence, the
checksum of Cargo.lock and the crates it needs. The same sources give the same bytes: the serial number is made from
the content, and a time is written only where SOURCE_DATE_EPOCH gives one. Needs cargo and Python 3.11, nothing else.
"""

import datetime
import json
import os
import pathlib
import subprocess
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "oip-cli"
TARGET = "x86_64-unknown-linux-gnu"
# Brought by a build dependency, but as files that are put into the binary.
EMBEDDED = {"utoipa-swagger-ui-vendored"}
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def compiled(edges):
    """Name and version of each crate that `cargo build --package oip-cli` compiles along these edges."""
    lines = cargo("tree", "--locked", "--package", PACKAGE, "--edges", edges, "--target", TARGET,
                  "--prefix", "none", "--format", "{p}")
    words = (line.split() for line in lines.splitlines() if line.strip())
    return {(name, version.removeprefix("v")) for name, version, *_ in words}


def checksums():
    """The SHA-256 of each package from the registry, by name and version."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(p["name"], p["version"]): p["checksum"] for p in lock["package"] if "checksum" in p}


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def licences(package):
    # Some crates still write the old MIT/Apache-2.0, which is no SPDX expression.
    expression = package.get("license")
    return [{"expression": expression.replace("/", " OR ")}] if expression else []


def component(package, hashes, scope):
    made = {"type": "library", "bom-ref": purl(package), "name": package["name"], "version": package["version"],
            "purl": purl(package), "scope": scope, "licenses": licences(package)}
    if package.get("description"):
        made["description"] = " ".join(package["description"].split())
    checksum = hashes.get((package["name"], package["version"]))
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


def in_binary(package, linked):
    """Whether it is linked; what runs only while the binary is built is not in it."""
    return (package["name"], package["version"]) in linked or package["name"] in EMBEDDED


def bill():
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET))
    hashes, linked, all_of_it = checksums(), compiled("normal"), compiled("normal,build")
    packages = {p["id"]: p for p in metadata["packages"] if (p["name"], p["version"]) in all_of_it}
    for package in packages.values():
        if package["source"] not in (None, REGISTRY):
            raise SystemExit(f"{package['name']} comes from {package['source']}, which has no purl of cargo's kind")
    ours = next(p for p in packages.values() if p["name"] == PACKAGE)
    components = [
        component(p, hashes, "required" if in_binary(p, linked) else "excluded")
        for p in packages.values() if p is not ours
    ]
    dependencies = [
        {"ref": purl(packages[node["id"]]),
         "dependsOn": sorted({purl(packages[d["pkg"]]) for d in node["deps"]
                              if d["pkg"] in packages and any(k["kind"] != "dev" for k in d["dep_kinds"])})}
        for node in metadata["resolve"]["nodes"] if node["id"] in packages
    ]
    binary = component(ours, hashes, "required") | {"type": "application"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": binary, "properties": [{"name": "oip:target", "value": TARGET}]},
        "components": sorted(components, key=lambda c: c["bom-ref"]),
        "dependencies": sorted(dependencies, key=lambda d: d["ref"]),
    }


def main():
    made = bill()
    content = json.dumps(made, sort_keys=True)
    made["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        time = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
        made["metadata"]["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    print(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
