"""Writes the models of the table as ONNX files: `python write_models.py FOLDER`, then `oip serve FOLDER`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import onnx_models  # noqa: E402

if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    for datatype in ("FP32", "INT32", "INT64", "UINT8", "BOOL", "FP16", "BF16", "BYTES"):
        onnx_models.put(folder, f"vector_{datatype.lower()}", onnx_models.identity(datatype))
    onnx_models.put(folder, "matrix_fp32", onnx_models.identity("FP32", ("m", "n")))
