"""The table of requests that every server is asked; a row is (section, name, method, path, headers, body).

The models are identities, IN -> OUT, named after rank and datatype: `vector_fp32` takes [-1],
`matrix_fp32` [-1, -1].
"""

import gzip
import struct

JSON = {"Content-Type": "application/json"}
FLOATS = struct.pack("<4f", 1.0, -2.5, 3.25, 0.5)
ROWS = []


def row(section, name, method="GET", path="/v2", body=None, headers=None):
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    ROWS.append((section, name, method, path, dict(headers or {}), data))


def infer(section, name, datatype="FP32", shape="[2]", data="[1.5, 2.5]", model=None, more="", headers=JSON):
    """An inference with this text as the tensor's shape and data, and `more` members after the inputs."""
    tensor = f'{{"name":"IN","datatype":"{datatype}","shape":{shape},"data":{data}}}'
    model = model or f"vector_{datatype.lower()}"
    row(section, name, "POST", f"/v2/models/{model}/infer", f'{{"inputs":[{tensor}]{more}}}', headers)


def binary(section, name, size=16, tail=FLOATS, more="", length=None, headers=None):
    """An inference of four floats in the binary form."""
    tensor = f'{{"name":"IN","datatype":"FP32","shape":[4],"parameters":{{"binary_data_size":{size}}}}}'
    head = f'{{"inputs":[{tensor}]{more}}}'.encode()
    named = {"Inference-Header-Content-Length": str(len(head) if length is None else length)}
    row(section, name, "POST", "/v2/models/vector_fp32/infer", head + tail, named | (headers or {}))


def _server():
    s = "Server and routes"
    row(s, "live", path="/v2/health/live")
    row(s, "ready", path="/v2/health/ready")
    row(s, "HEAD live", "HEAD", "/v2/health/live")
    row(s, "server metadata", path="/v2")
    row(s, "server metadata, trailing slash", path="/v2/")
    row(s, "unknown route", path="/v2/nope")
    row(s, "wrong method", "GET", "/v2/models/vector_fp32/infer")
    row(s, "model metadata", path="/v2/models/vector_fp32")
    row(s, "model ready", path="/v2/models/vector_fp32/ready")
    row(s, "metadata, unknown model", path="/v2/models/nope")
    row(s, "ready, unknown model", path="/v2/models/nope/ready")
    infer(s, "infer, unknown model", model="nope")
    infer(s, "infer, unknown version", model="vector_fp32/versions/9")
    row(s, "repository index", "POST", "/v2/repository/index", "{}", JSON)
    row(s, "statistics", path="/v2/models/vector_fp32/stats")
    row(s, "model configuration", path="/v2/models/vector_fp32/config")
    row(s, "foreign Origin", path="/v2", headers={"Origin": "http://other.example"})


def _requests():
    s = "Requests and answers"
    infer(s, "a plain request")
    infer(s, "with an id", more=',"id":"42"')
    infer(s, "an id that is a number", more=',"id":42')
    infer(s, "unknown member", more=',"x":1')
    infer(s, "parameter that is an object", more=',"parameters":{"a":{"b":1}}')
    infer(s, "requested output", more=',"outputs":[{"name":"OUT"}]')
    infer(s, "unknown requested output", more=',"outputs":[{"name":"ZZZ"}]')
    infer(s, "output asked for twice", more=',"outputs":[{"name":"OUT"},{"name":"OUT"}]')
    path = "/v2/models/vector_fp32/infer"
    row(s, "no inputs member", "POST", path, "{}", JSON)
    row(s, "empty inputs", "POST", path, '{"inputs":[]}', JSON)
    row(s, "broken JSON", "POST", path, '{"inputs":[', JSON)
    row(s, "empty body", "POST", path, "", JSON)
    row(s, "tensor without a datatype", "POST", path, '{"inputs":[{"name":"IN","shape":[1],"data":[1.5]}]}', JSON)
    twice = '{"name":"IN","datatype":"FP32","shape":[1],"data":[1.5]}'
    row(s, "the same input twice", "POST", path, f'{{"inputs":[{twice},{twice}]}}', JSON)
    other = '{"name":"OTHER","datatype":"FP32","shape":[1],"data":[1.5]}'
    row(s, "an input of another name", "POST", path, f'{{"inputs":[{other}]}}', JSON)
    infer(s, "another datatype than the model's", "INT32", data="[1, 2]", model="vector_fp32")
    infer(s, "content_type np on the input", more=',"parameters":{"content_type":"np"}')


def _elements():
    s = "Elements"
    infer(s, "integers for FP32", data="[1, 2]")
    infer(s, "0.1 as FP32", shape="[1]", data="[0.1]")
    infer(s, "NaN for FP32", data="[NaN, 1.5]")
    infer(s, "1e300 for FP32", data="[1e300, 1.5]")
    infer(s, "text for FP32", data='["1.5", 1.5]')
    infer(s, "null for FP32", data="[null, 1.5]")
    infer(s, "UINT8 300", "UINT8", data="[300, 1]")
    infer(s, "UINT8 -1", "UINT8", data="[-1, 1]")
    infer(s, "INT64 1.5", "INT64", data="[1.5, 1]")
    infer(s, "INT64 1.0", "INT64", data="[1.0, 1]")
    infer(s, "INT64 true", "INT64", data="[true, 1]")
    infer(s, "INT64 2^53+1", "INT64", data="[9007199254740993, 1]")
    infer(s, "INT64 2^63", "INT64", data="[9223372036854775808, 1]")
    infer(s, "BOOL 1 and 0", "BOOL", data="[1, 0]")
    infer(s, "FP16 in JSON", "FP16")
    infer(s, "BF16 in JSON", "BF16")
    infer(s, "BYTES text", "BYTES", data='["a", "Gr\u00fc\u00dfe"]')
    infer(s, "BYTES lone surrogate", "BYTES", data='["\\udcff", "a"]')
    infer(s, "unknown datatype", "FP8", model="vector_fp32")


def _shapes():
    s = "Shapes"
    infer(s, "nested as the shape", shape="[2,2]", data="[[1.5,2.5],[3.5,4.5]]", model="matrix_fp32")
    infer(s, "flat for rank 2", shape="[2,2]", data="[1.5,2.5,3.5,4.5]", model="matrix_fp32")
    infer(s, "ragged", shape="[2,2]", data="[[1.5,2.5],[3.5]]", model="matrix_fp32")
    infer(s, "nesting 3x2 for shape 2x3", shape="[2,3]", data="[[1.5,2.5],[3.5,4.5],[5.5,6.5]]", model="matrix_fp32")
    infer(s, "too few elements", shape="[3]")
    infer(s, "too many elements", shape="[1]")
    infer(s, "-1 in the shape", shape="[-1]")
    infer(s, "a shape of floats", shape="[2.0]")
    infer(s, "an empty tensor", shape="[0]", data="[]")
    infer(s, "shape 2^32 x 2^32", shape="[4294967296,4294967296]", data="[]", model="matrix_fp32")
    infer(s, "another rank than the model's", shape="[1,2]", data="[[1.5,2.5]]")
    infer(s, "900 levels deep", shape="[1]", data="[" * 900 + "1.5" + "]" * 900)


def _forms():
    s = "Forms of the body"
    plain = '{"inputs":[{"name":"IN","datatype":"FP32","shape":[2],"data":[1.5,2.5]}]}'
    path = "/v2/models/vector_fp32/infer"
    row(s, "JSON without a content type", "POST", path, plain)
    row(s, "JSON as text/plain", "POST", path, plain, {"Content-Type": "text/plain"})
    row(s, "JSON as application/xml", "POST", path, plain, {"Content-Type": "application/xml"})
    row(s, "gzip", "POST", path, gzip.compress(plain.encode(), mtime=0), JSON | {"Content-Encoding": "gzip"})
    row(s, "broken gzip", "POST", path, b"nonsense", JSON | {"Content-Encoding": "gzip"})
    row(s, "unknown content encoding", "POST", path, plain, JSON | {"Content-Encoding": "br"})
    binary(s, "binary input")
    binary(s, "binary input, content type JSON", headers=JSON)
    binary(s, "binary in and out", more=',"parameters":{"binary_data_output":true}')
    binary(s, "binary size too small", size=12, tail=FLOATS[:12])
    binary(s, "binary size beyond the body", tail=FLOATS[:8])
    binary(s, "bytes after the tensors", tail=FLOATS + b"\0\0")
    binary(s, "header length beyond the body", length=100000)
    binary(s, "header length negative", length=-1)
    raw = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    row(s, "raw body, header length 0", "POST", path, FLOATS, raw)


for _section in (_server, _requests, _elements, _shapes, _forms):
    _section()
assert len({(r[0], r[1]) for r in ROWS}) == len(ROWS)
assert all(r[5] is None or isinstance(r[5], bytes) for r in ROWS)
