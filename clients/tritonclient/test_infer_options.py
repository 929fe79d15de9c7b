"""What a client may ask of an inference beside its tensors."""

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from doors import response_of

A = np.arange(32, dtype=np.int32).reshape(2, 16)
B = np.full((2, 16), 100, np.int32)
PAIR = {"INPUT0": A, "INPUT1": B}


def test_all_outputs_come_when_none_is_asked_for(door):
    result = door.infer("add_sub", PAIR)
    assert np.array_equal(result.as_numpy("OUTPUT0"), A + B)
    assert np.array_equal(result.as_numpy("OUTPUT1"), A - B)


@pytest.mark.parametrize("names", [["OUTPUT1"], ["OUTPUT1", "OUTPUT0"]])
def test_requested_outputs_select_and_order(door, names):
    result = door.infer("add_sub", PAIR, [door.output(n) for n in names])
    assert [o["name"] for o in response_of(result)["outputs"]] == names
    assert np.array_equal(result.as_numpy("OUTPUT1"), A - B)


@pytest.mark.parametrize("ident", ["", "1", "a b", "Grüße"])
def test_a_request_id_comes_back(door, ident):
    result = door.infer("add_sub", PAIR, request_id=ident)
    assert response_of(result).get("id", "") == ident


@pytest.mark.parametrize("version, added, answered", [("", 10, "10"), ("1", 1, "1"), ("2", 2, "2"), ("10", 10, "10")])
def test_the_version_asked_for_answers(door, version, added, answered):
    result = door.infer("versions", {"IN": np.array([0.5], np.float32)}, model_version=version)
    assert result.as_numpy("OUT")[0] == added + 0.5
    header = response_of(result)
    assert (header["model_name"], header["model_version"]) == ("versions", answered)


@pytest.mark.parametrize("request_side", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_side", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_http_compression_works_both_ways(http_door, request_side, response_side, binary):
    outputs = [http_door.output("OUTPUT0", binary=binary)]
    result = http_door.infer(
        "add_sub", PAIR, outputs, binary_in=binary,
        request_compression_algorithm=request_side, response_compression_algorithm=response_side,
    )
    assert np.array_equal(result.as_numpy("OUTPUT0"), A + B)


def test_grpc_gzip_works(grpc_door):
    result = grpc_door.infer("add_sub", PAIR, compression_algorithm="gzip")
    assert np.array_equal(result.as_numpy("OUTPUT0"), A + B)


@pytest.mark.parametrize("parameters", [{"text": "x", "flag": True, "count": 3}])
def test_own_parameters_are_accepted(door, parameters):
    result = door.infer("add_sub", PAIR, parameters=parameters)
    assert np.array_equal(result.as_numpy("OUTPUT0"), A + B)


def test_a_class_count_gives_the_best_values_with_their_indices(door):
    flowers = np.array([[4.8, 3.0, 1.4, 0.3], [6.7, 3.3, 5.7, 2.1]], np.float32)
    plain = door.infer("iris", {"input": flowers}).as_numpy("probabilities")
    result = door.infer("iris", {"input": flowers}, [door.output("probabilities", class_count=2)])
    classes = result.as_numpy("probabilities")
    assert classes.shape == (2, 2)
    for row, values in zip(classes, plain):
        ranking = np.argsort(-values)[:2]
        found = [text.decode().split(":")[:2] for text in row]
        assert [int(index) for _, index in found] == list(ranking)
        assert [float(value) for value, _ in found] == pytest.approx(values[ranking], abs=1e-5)


def test_a_class_count_larger_than_the_classes_gives_all(door):
    result = door.infer("iris", {"input": np.ones((1, 4), np.float32)}, [door.output("probabilities", class_count=99)])
    assert result.as_numpy("probabilities").shape == (1, 3)


def test_an_http_output_flag_outweighs_the_default(http_door):
    outputs = [http_door.output("OUTPUT0", binary=True), http_door.output("OUTPUT1", binary=False)]
    header = response_of(http_door.infer("add_sub", PAIR, outputs))
    assert "data" not in header["outputs"][0] and "data" in header["outputs"][1]


def test_requests_in_parallel_get_their_own_answers(server):
    import tritonclient.http as http

    client = http.InferenceServerClient(server.rest, concurrency=8)
    pending = []
    for number in range(200):
        tensor = http.InferInput("IN", [3], "FP32")
        tensor.set_data_from_numpy(np.full(3, number, np.float32))
        pending.append(client.async_infer("vector_fp32", [tensor], request_id=str(number)))
    for number, request in enumerate(pending):
        result = request.get_result()
        assert result.get_response()["id"] == str(number)
        assert np.array_equal(result.as_numpy("OUT"), np.full(3, number, np.float32))
    client.close()


def test_grpc_calls_in_parallel_get_their_own_answers(server):
    import queue

    import tritonclient.grpc as grpc

    answers = queue.Queue()
    with grpc.InferenceServerClient(server.grpc) as client:
        for number in range(200):
            tensor = grpc.InferInput("IN", [3], "FP32")
            tensor.set_data_from_numpy(np.full(3, number, np.float32))
            client.async_infer("vector_fp32", [tensor], lambda result, error: answers.put((result, error)), request_id=str(number))
        for _ in range(200):
            result, error = answers.get(timeout=30)
            assert error is None
            assert result.as_numpy("OUT")[0] == float(result.get_response().id)


@pytest.mark.parametrize("limit", [0.05])
def test_a_grpc_deadline_that_runs_out_is_deadline_exceeded(grpc_door, limit):
    busy = {"x": np.zeros((1024, 1024), np.float32)}
    with pytest.raises(InferenceServerException) as caught:
        grpc_door.infer("busy", busy, client_timeout=limit)
    assert "DEADLINE_EXCEEDED" in caught.value.status()


def test_the_server_serves_on_after_deadlines(grpc_door):
    for _ in range(5):
        with pytest.raises(InferenceServerException):
            grpc_door.infer("busy", {"x": np.zeros((1024, 1024), np.float32)}, client_timeout=0.01)
    assert np.array_equal(grpc_door.infer("add_sub", PAIR).as_numpy("OUTPUT0"), A + B)
