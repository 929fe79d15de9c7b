"""The Rego policy of the documentation, decided by real Rego engines behind OPA's data API."""

import importlib.util
import json
import re
import threading

import pytest
import regopy

from guarded import DOORS, NO, WHO, YES, authorization
from oip_server import ROOT
from stub import Stub, http_answer

POLICY = re.search(r"```rego\n(.*?)```", (ROOT / "docs/security.md").read_text(), re.DOTALL)[1]
# rego-cpp always; OPA's own engine where the binding `opa-golib-python-bindings` is installed.
ENGINES = ["rego-cpp"] + (["opa"] if importlib.util.find_spec("opa_bindings") else [])


def rego_cpp(given):
    interpreter = regopy.Interpreter()
    interpreter.add_module("oip.rego", POLICY)
    interpreter.set_input(given)
    said = str(interpreter.query("allow = data.oip.allow"))
    return {} if said == "undefined" else {"result": json.loads(said)["bindings"]["allow"]}


def opa(given):
    from opa_bindings import OpaEngine

    with OpaEngine() as engine:
        engine.add_policy("oip.rego", POLICY)
        return {"result": engine.eval_document("oip.allow", input=given)}


@pytest.fixture(params=ENGINES)
def ruled(request, guard):
    evaluate, turn = {"rego-cpp": rego_cpp, "opa": opa}[request.param], threading.Lock()

    def answer(asked):
        with turn:
            return http_answer(json.dumps(evaluate(json.loads(asked.body)["input"])))

    stub = Stub(answer)
    yield guard("--pdp", "opa", "--pdp-url", stub.url("/v1/data/oip/allow"))
    stub.close()


def test_the_rego_of_the_documentation_permits_what_it_says(ruled, issuer):
    user, admin, stranger = (authorization(issuer.bearer("alice", [role])) for role in ("user", "admin", "x"))
    for door in DOORS:
        for what, headers, model, word in (
            ("infer", user, "iris", "not found"), ("infer", user, "iris-2", "not found"), ("infer", user, "m", NO),
            ("infer", stranger, "iris", "not found"), ("infer", [], "iris", WHO), ("infer", [], "m", WHO),
            ("metadata", user, "iris", NO), ("load", user, "iris", NO), ("index", user, "m", NO),
            ("infer", admin, "m", YES), ("load", admin, "m", YES), ("index", admin, "m", YES),
        ):
            assert ruled.ask(door, what, headers, model).word == word, (door, what, model)
