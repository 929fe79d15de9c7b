"""Content types as views."""

from __future__ import annotations

import numpy as np
import pytest

from oip import InferenceRequest, ModelHandler, RequestInput, codecs
from oip.errors import InvalidRequest
from oip.testing import client


def test_a_codec_changes_neither_datatype_nor_shape() -> None:
    array = np.array([[1, 2]], dtype=np.int32)
    tensor = codecs.NumpyArrayCodec.encode_output("y", array)
    assert tensor.datatype == "INT32" and tensor.shape == [1, 2]
    assert tensor.parameters is not None and tensor.parameters.content_type == "numpy"
    assert codecs.NumpyArrayCodec.decode_output(tensor).dtype == np.int32


def test_the_content_type_of_a_tensor_chooses_its_codec() -> None:
    text = RequestInput("x", [1], "BYTES", {"content_type": "str"}, ["a"])
    assert codecs.decode(text) == ["a"]
    assert codecs.get_decoded_or_raw(text) == ["a"]
    plain = RequestInput("x", [2], "FP32", None, [1.0, 2.0])
    assert codecs.decode(plain).tolist() == [1.0, 2.0]
    assert codecs.get_decoded_or_raw(plain).root == [1.0, 2.0]


def test_base64_travels_as_text_and_is_bytes_on_both_sides() -> None:
    class Reverses(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            (image,) = codecs.Base64Codec.decode_input(payload.inputs[0])
            return [codecs.Base64Codec.encode_output("y", [image[::-1]])]

    request = InferenceRequest(
        [RequestInput("x", [1], "BYTES", {"content_type": "base64"}, ["AAEC"])]
    )
    with client(Reverses()) as asked:
        assert asked.infer("m", request).outputs[0].strings() == ["AgEA"]


def test_pandas_has_a_column_an_input() -> None:
    pd = pytest.importorskip("pandas")

    class Adds(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            frame = codecs.PandasCodec.decode_request(payload)
            frame["sum"] = frame["a"] + frame["b"]
            return codecs.PandasCodec.encode_response(model_name, frame[["sum", "c"]])

    with client(Adds()) as asked:
        answer = asked.infer("m", {"a": [1, 2], "b": [3, 4], "c": ["x", "y"]})
    assert answer.output("sum").numpy().tolist() == [4, 6]
    assert answer.output("c").strings() == ["x", "y"]
    assert pd.__version__


def test_a_codec_of_ones_own_can_be_registered() -> None:
    @codecs.register_input_codec
    class Half(codecs.InputCodec):
        ContentType = "half"

        @classmethod
        def decode(cls, tensor):
            return tensor.numpy() / 2

    tensor = RequestInput("x", [1], "FP32", {"content_type": "half"}, [4.0])
    assert codecs.decode(tensor).tolist() == [2.0]


def test_columns_of_unequal_length_are_the_callers_fault() -> None:
    pytest.importorskip("pandas")

    class Reads(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            return {"rows": [len(codecs.decode_inference_request(payload))]}

    columns = [RequestInput("a", [2], "INT32", None, [1, 2]), RequestInput("b", [1], "BYTES", None, ["x"])]
    request = InferenceRequest(columns, parameters={"content_type": "pd"})
    with client(Reads()) as asked, pytest.raises(InvalidRequest, match="'b' has 1 rows, but 'a' has 2"):
        asked.infer("m", request)


def test_the_codec_for_a_data_frame_is_that_of_pandas() -> None:
    pd = pytest.importorskip("pandas")
    found = codecs.find_request_codec_by_payload(pd.DataFrame({"a": [1]}))
    assert found is codecs.PandasCodec
    assert codecs.find_request_codec_by_payload(np.ones(1)) is codecs.NumpyArrayRequestCodec


def test_an_input_of_bytes_can_be_made_and_sent() -> None:
    class Reads(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            return {"seen": [repr(codecs.decode(payload.inputs[0]))]}

    tensor = codecs.Base64Codec.encode_input("x", [b"\x00\xff"])
    assert codecs.Base64Codec.decode_input(tensor) == [b"\x00\xff"]
    with client(Reads()) as asked:
        assert asked.infer("m", InferenceRequest([tensor])).outputs[0].strings() == [r"[b'\x00\xff']"]
