"""What goes wrong is told by the same code and the same sentence through every client."""

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

FLOAT = np.zeros((1, 2), np.float32)
INT = np.zeros((1, 16), np.int32)
PAIR = {"INPUT0": INT, "INPUT1": INT}


def refused(door, http, grpc, *needles, call):
    with pytest.raises(InferenceServerException) as caught:
        call()
    assert (str(http) if door.is_http else grpc) in caught.value.status(), caught.value
    message = caught.value.message().lower()
    for needle in needles:
        assert str(needle).lower() in message, (needle, message)
    return message


@pytest.mark.parametrize("model, version", [("nope", ""), ("add_sub", "2"), ("add_sub", "x")])
def test_an_unknown_model_or_version_is_not_found(door, model, version):
    refused(door, 404, "NOT_FOUND", model, call=lambda: door.infer(model, PAIR, model_version=version))
    for name in ("get_model_metadata", "get_inference_statistics") + (() if version else ("get_model_config",)):
        refused(door, 404, "NOT_FOUND", model, call=lambda: door.call(name, model, version))


@pytest.mark.parametrize(
    "arrays, needles",
    [
        ({"INPUT0": INT}, ["INPUT1"]),
        ({**PAIR, "INPUT2": INT}, ["INPUT2"]),
        ({"INPUT0": INT, "INPUT1": INT.astype(np.int64)}, ["INPUT1", "INT32", "INT64"]),
        ({"INPUT0": INT, "INPUT1": np.zeros((1, 15), np.int32)}, ["INPUT1", "16", "15"]),
        ({"INPUT0": INT, "INPUT1": np.zeros(16, np.int32)}, ["INPUT1"]),
        ({"INPUT0": INT, "INPUT1": np.zeros((1, 1, 16), np.int32)}, ["INPUT1"]),
    ],
    ids=["missing", "unknown", "datatype", "dimension", "rank-1", "rank-3"],
)
def test_an_input_that_does_not_fit_is_named_with_declared_and_found(door, arrays, needles):
    refused(door, 400, "INVALID_ARGUMENT", *needles, call=lambda: door.infer("add_sub", arrays))


def test_an_input_given_twice_is_refused(door):
    inputs = [door.input("INPUT0", INT), door.input("INPUT0", INT), door.input("INPUT1", INT)]
    refused(door, 400, "INVALID_ARGUMENT", "INPUT0", call=lambda: door.call("infer", "add_sub", inputs))


@pytest.mark.parametrize("names", [["NOPE"], ["OUTPUT0", "OUTPUT0"]])
def test_an_output_that_is_unknown_or_asked_for_twice_is_refused(door, names):
    outputs = [door.output(n) for n in names]
    refused(door, 400, "INVALID_ARGUMENT", names[0], call=lambda: door.infer("add_sub", PAIR, outputs))


def test_both_doors_say_the_same_sentence(server):
    from doors import Door

    sentences = set()
    for kind in ("http", "http.aio", "grpc", "grpc.aio"):
        door = Door(kind, server)
        sentences.add(refused(door, 400, "INVALID_ARGUMENT", call=lambda: door.infer("add_sub", {"INPUT0": INT, "INPUT1": FLOAT})))
        door.close()
    assert len(sentences) == 1, sentences


def test_a_class_count_of_a_text_output_is_refused(door):
    array = np.array([[b"a"]], np.object_)
    outputs = [door.output("OUTPUT0", class_count=1)]
    refused(door, 400, "INVALID_ARGUMENT", "OUTPUT0", call=lambda: door.infer("identity_bytes", {"INPUT0": array}, outputs))


def test_shared_memory_is_refused_as_not_served(door):
    if "system_shared_memory" in door.document("get_server_metadata")["extensions"]:
        pytest.skip("shared memory is served")
    tensor = door.module.InferInput("INPUT0", [1, 16], "INT32")
    tensor.set_shared_memory("region", 64)
    refused(door, 400, "INVALID_ARGUMENT", call=lambda: door.call("infer", "add_sub", [tensor, door.input("INPUT1", INT)]))
