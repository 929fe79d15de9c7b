"""Every datatype through every client and every wire form comes back bit for bit."""

import json

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from doors import SAMPLES, same, sample

# FP16 and BF16 have no JSON form in tritonclient.
IN_JSON = [d for d in SAMPLES if d not in ("FP16", "BF16")]


def identity(door, datatype, array, **kwargs):
    outputs = [door.output("OUTPUT0", binary=kwargs.pop("binary_out", True))]
    result = door.infer(f"identity_{datatype.lower()}", {"INPUT0": array}, outputs, **kwargs)
    return result.as_numpy("OUTPUT0")


@pytest.mark.parametrize("datatype", SAMPLES)
def test_a_datatype_travels_in_binary_or_raw(door, datatype):
    array = sample(datatype)
    assert same(identity(door, datatype, array), array)


@pytest.mark.parametrize("binary_in, binary_out", [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("datatype", IN_JSON)
def test_a_datatype_travels_as_json_in_or_out(http_door, datatype, binary_in, binary_out):
    array = sample(datatype)
    answered = identity(http_door, datatype, array, binary_in=binary_in, binary_out=binary_out)
    assert same(answered, array)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_a_half_float_answers_as_json_numbers(http_door, datatype):
    array = sample(datatype)
    outputs = [http_door.output("OUTPUT0", binary=False)]
    result = http_door.infer(f"identity_{datatype.lower()}", {"INPUT0": array}, outputs)
    output = result.get_output("OUTPUT0")
    assert output["datatype"] == datatype
    assert np.array_equal(np.array(output["data"], dtype=array.dtype).reshape(array.shape), array)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (1, 1), (1, 100_000)])
@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL", "BYTES"])
def test_a_shape_comes_back_as_sent_the_empty_one_too(door, datatype, shape):
    dtype = sample(datatype).dtype
    array = np.full(shape, b"ab", dtype) if datatype == "BYTES" else np.ones(shape, dtype)
    if datatype == "BYTES" and array.size == 0 and door.is_http:
        pytest.skip("tritonclient cannot write an empty BYTES tensor over HTTP")
    answered = identity(door, datatype, array)
    # For no bytes at all tritonclient gives an array of its own shape.
    assert answered is not None and answered.size == array.size
    if array.size:
        assert same(answered, array)


@pytest.mark.parametrize("value", [b"\xff\xfe\x00\x80", bytes(range(256)), b"\x00" * 10])
def test_bytes_that_are_no_text_travel_in_binary(door, value):
    array = np.array([[value, b""]], dtype=np.object_)
    assert same(identity(door, "BYTES", array), array)


def test_bytes_that_are_no_text_are_refused_as_json_output(http_door):
    array = np.array([[b"\xff\xfe"]], dtype=np.object_)
    with pytest.raises(InferenceServerException, match="(?i)binary"):
        identity(http_door, "BYTES", array, binary_out=False)


def test_the_bits_of_nan_and_infinity_are_kept(door):
    array = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    array.view(np.uint32)[0, 0] = 0x7F800001
    assert same(identity(door, "FP32", array), array)


def test_numpy_reads_a_null_of_json_back_as_nan(http_door):
    array = np.array([[np.nan, 1.0]], np.float32)
    answered = identity(http_door, "FP32", array, binary_out=False)
    assert np.isnan(answered[0, 0]) and answered[0, 1] == 1


def test_a_tensor_without_dimensions_travels(door):
    result = door.infer("scalar", {"x": np.array(1.5, np.float32)})
    assert result.as_numpy("y") == np.float32(3)
    assert result.as_numpy("y").shape == ()


def test_a_tensor_of_megabytes_travels(door):
    array = np.arange(3 * 224 * 224 * 8, dtype=np.float32).reshape(8, -1)
    assert same(identity(door, "FP32", array), array)


@pytest.mark.parametrize("folder", ["iris", "digits", "recommender"])
def test_an_example_model_gives_the_answer_beside_it(door, examples, folder):
    model = next(p for p in examples if p.name == folder)
    request = json.loads((model / "sample-request.json").read_text())
    expected = json.loads((model / "sample-response.json").read_text())
    kinds = {"FP32": np.float32, "INT64": np.int64}
    arrays = {
        i["name"]: np.array(i["data"], kinds[i["datatype"]]).reshape(i["shape"]) for i in request["inputs"]
    }
    result = door.infer(folder, arrays)
    for output in expected["outputs"]:
        wanted = np.array(output["data"], kinds[output["datatype"]]).reshape(output["shape"])
        answered = result.as_numpy(output["name"])
        assert answered.dtype == wanted.dtype and answered.shape == wanted.shape
        assert np.allclose(answered, wanted, rtol=1e-4, atol=1e-5)
