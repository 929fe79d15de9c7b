"""Write a trained model as an ONNX file, with a sample request and its answer.

The graphs use plain operators only (Gemm, Conv, Softmax, Gather ...), so that
any ONNX engine can run them, and their first dimension stays open: a request
may carry any number of rows.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

MODELS = Path(__file__).resolve().parent.parent / "models"

# Old enough for every engine in use, new enough for the operators used here.
OPSET = 17
IR_VERSION = 8

DATATYPES = {
    np.dtype(np.float32): ("FP32", TensorProto.FLOAT),
    np.dtype(np.int64): ("INT64", TensorProto.INT64),
}


def tensor(name, dtype, *dims):
    """Declare a graph input or output whose first dimension is the open batch."""
    return helper.make_tensor_value_info(name, DATATYPES[np.dtype(dtype)][1], ["batch", *dims])


def weight(name, values):
    """A constant of the graph."""
    return numpy_helper.from_array(np.asarray(values, order="C"), name)


def save_model(name, doc, nodes, inputs, outputs, weights):
    """Check the graph and write it to `models/<name>/1/model.onnx`."""
    graph = helper.make_graph(nodes, name, inputs, outputs, weights, doc_string=doc)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="oip-examples",
    )
    onnx.checker.check_model(model, full_check=True)
    path = MODELS / name / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    print(f"{name}: wrote {path.relative_to(MODELS.parent)}, {path.stat().st_size:,} bytes")
    return path


def session(name):
    """Open the saved model in ONNX Runtime on one thread, so that runs repeat exactly."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = MODELS / name / "1" / "model.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(name, **inputs):
    """Run the saved model in ONNX Runtime; the outputs by name."""
    engine = session(name)
    names = [output.name for output in engine.get_outputs()]
    return dict(zip(names, engine.run(names, inputs)))


def write_samples(name, request_id, per_line=None, **inputs):
    """Write `sample-request.json` and the answer ONNX Runtime gives to it.

    `per_line` says how many elements of an input stand on one line; the
    default is one row of the tensor.
    """
    outputs = run(name, **inputs)
    folder = MODELS / name
    (folder / "sample-request.json").write_text(
        _document([("id", request_id)], "inputs", inputs, per_line)
    )
    head = [("model_name", name), ("model_version", "1"), ("id", request_id)]
    (folder / "sample-response.json").write_text(_document(head, "outputs", outputs, None))
    return outputs


def _document(head, key, tensors, per_line):
    lines = [f'  "{name}": "{value}",' for name, value in head]
    body = ",\n".join(_tensor(name, values, per_line) for name, values in tensors.items())
    return "\n".join(["{", *lines, f'  "{key}": [', body, "  ]", "}"]) + "\n"


def _tensor(name, values, per_line):
    datatype = DATATYPES[values.dtype][0]
    shape = ", ".join(map(str, values.shape))
    head = f'      "name": "{name}",\n      "shape": [{shape}],\n      "datatype": "{datatype}",\n'
    # str() of a NumPy float32 is the shortest text that reads back as the same float32.
    elements = [str(element) for element in values.ravel()]
    width = per_line or (values.shape[-1] if values.ndim > 1 else len(elements))
    rows = [", ".join(elements[i : i + width]) for i in range(0, len(elements), width)]
    if len(rows) == 1:
        data = f'      "data": [{rows[0]}]\n'
    else:
        data = '      "data": [\n' + ",\n".join(f"        {row}" for row in rows) + "\n      ]\n"
    return "    {\n" + head + data + "    }"
