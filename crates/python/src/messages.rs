//! Requests, responses and metadata between Rust and the classes of `oip.types`.

use oip::{
    Datatype, DeclaredShape, InferRequest, InferResponse, ModelMetadata, ParameterValue,
    Parameters, RequestedOutput, Tensor, TensorMetadata,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyType};

use crate::context::Context;
use crate::data::TensorData;
use crate::outputs;

/// The classes of `oip.types`, and how to make an instance without its constructor.
struct Classes {
    new: Py<PyAny>,
    request: Py<PyType>,
    response: Py<PyType>,
    input: Py<PyType>,
    output: Py<PyType>,
    requested: Py<PyType>,
    /// Makes parameters of a dictionary.
    parameters: Py<PyAny>,
    datatypes: Vec<Py<PyAny>>,
}

fn classes(py: Python<'_>) -> PyResult<&'static Classes> {
    static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();
    CLASSES.get_or_try_init(py, || {
        let types = py.import("oip.types")?;
        let class = |name: &str| -> PyResult<Py<PyType>> {
            Ok(types.getattr(name)?.cast_into::<PyType>()?.unbind())
        };
        let datatype = types.getattr("Datatype")?;
        let datatypes = Datatype::ALL.into_iter();
        let datatypes = datatypes.map(|known| Ok(datatype.call1((known.name(),))?.unbind()));
        Ok(Classes {
            new: py
                .import("builtins")?
                .getattr("object")?
                .getattr("__new__")?
                .unbind(),
            request: class("InferenceRequest")?,
            response: class("InferenceResponse")?,
            input: class("RequestInput")?,
            output: class("ResponseOutput")?,
            requested: class("RequestOutput")?,
            parameters: types.getattr("parameters_of")?.unbind(),
            datatypes: datatypes.collect::<PyResult<_>>()?,
        })
    })
}

/// An instance whose members are still to be set.
fn blank<'py>(py: Python<'py>, class: &Py<PyType>) -> PyResult<Bound<'py, PyAny>> {
    classes(py)?.new.bind(py).call1((class,))
}

/// A request as a handler gets it; without a context where no single caller is known.
pub(crate) fn request(
    py: Python<'_>,
    request: InferRequest,
    context: Option<Context>,
) -> PyResult<Bound<'_, PyAny>> {
    let classes = classes(py)?;
    let made = blank(py, &classes.request)?;
    made.setattr(intern!(py, "id"), request.id)?;
    made.setattr(
        intern!(py, "parameters"),
        parameters(py, &request.parameters)?,
    )?;
    let inputs = PyList::empty(py);
    for input in request.inputs {
        inputs.append(tensor(py, &classes.input, input)?)?;
    }
    made.setattr(intern!(py, "inputs"), inputs)?;
    let outputs = match request.outputs.is_empty() {
        true => py.None().into_bound(py),
        false => requested(py, &request.outputs)?.into_any(),
    };
    made.setattr(intern!(py, "outputs"), outputs)?;
    made.setattr(intern!(py, "_context"), context)?;
    Ok(made)
}

fn requested<'py>(py: Python<'py>, outputs: &[RequestedOutput]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for output in outputs {
        let made = blank(py, &classes(py)?.requested)?;
        made.setattr(intern!(py, "name"), &output.name)?;
        made.setattr(
            intern!(py, "parameters"),
            parameters(py, &output.parameters)?,
        )?;
        list.append(made)?;
    }
    Ok(list)
}

/// A response as a client in this process gets it.
pub(crate) fn response(py: Python<'_>, response: InferResponse) -> PyResult<Bound<'_, PyAny>> {
    let classes = classes(py)?;
    let made = blank(py, &classes.response)?;
    made.setattr(intern!(py, "model_name"), response.model_name)?;
    made.setattr(intern!(py, "model_version"), response.model_version)?;
    made.setattr(intern!(py, "id"), response.id)?;
    made.setattr(
        intern!(py, "parameters"),
        parameters(py, &response.parameters)?,
    )?;
    let outputs = PyList::empty(py);
    for output in response.outputs {
        outputs.append(tensor(py, &classes.output, output)?)?;
    }
    made.setattr(intern!(py, "outputs"), outputs)?;
    Ok(made)
}

fn tensor<'py>(py: Python<'py>, class: &Py<PyType>, tensor: Tensor) -> PyResult<Bound<'py, PyAny>> {
    let made = blank(py, class)?;
    made.setattr(intern!(py, "name"), tensor.name())?;
    made.setattr(
        intern!(py, "shape"),
        PyList::new(py, tensor.shape().dims())?,
    )?;
    let index = Datatype::ALL
        .iter()
        .position(|known| *known == tensor.datatype());
    let datatype = index.and_then(|index| classes(py).ok()?.datatypes.get(index));
    made.setattr(intern!(py, "datatype"), datatype)?;
    made.setattr(
        intern!(py, "parameters"),
        parameters(py, tensor.parameters())?,
    )?;
    made.setattr(intern!(py, "data"), TensorData::of_tensor(tensor))?;
    Ok(made)
}

/// `None` where there are none, as the original has it.
fn parameters<'py>(
    py: Python<'py>,
    parameters: &Parameters,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if parameters.is_empty() {
        return Ok(None);
    }
    let entries = PyDict::new(py);
    for (name, value) in parameters.iter() {
        match value {
            ParameterValue::Bool(value) => entries.set_item(name, value)?,
            ParameterValue::Int64(value) => entries.set_item(name, value)?,
            ParameterValue::Uint64(value) => entries.set_item(name, value)?,
            ParameterValue::Double(value) => entries.set_item(name, value)?,
            ParameterValue::String(value) => entries.set_item(name, value)?,
        }
    }
    let made = classes(py)?.parameters.bind(py).call1((entries,))?;
    Ok(Some(made))
}

/// Parameters that Python made: `None`, a dictionary, or `Parameters`.
pub(crate) fn read_parameters(value: &Bound<'_, PyAny>) -> PyResult<Parameters> {
    let py = value.py();
    let mut made = Parameters::new();
    if value.is_none() {
        return Ok(made);
    }
    let entries = match value.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?,
        Err(_) => match value.getattr_opt(intern!(py, "_entries"))? {
            Some(entries) => entries.cast_into::<PyDict>()?.items(),
            None => value
                .getattr(intern!(py, "__dict__"))?
                .cast_into::<PyDict>()?
                .items(),
        },
    };
    for entry in entries {
        let (name, value): (String, Bound<'_, PyAny>) = entry.extract()?;
        if !value.is_none() {
            let value = parameter(&name, &value)?;
            made.insert(name, value);
        }
    }
    Ok(made)
}

fn parameter(name: &str, value: &Bound<'_, PyAny>) -> PyResult<ParameterValue> {
    if value.is_instance_of::<PyBool>() {
        return Ok(value.extract::<bool>()?.into());
    }
    if value.is_instance_of::<PyInt>() {
        return match value.extract::<i64>() {
            Ok(value) => Ok(value.into()),
            Err(_) => Ok(value.extract::<u64>()?.into()),
        };
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(value.extract::<f64>()?.into());
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_str()?.into());
    }
    match scalar(value)? {
        Some(value) => parameter(name, &value),
        None => Err(PyTypeError::new_err(format!(
            "parameter '{name}' is a {}, but parameters are strings, numbers and booleans",
            value.get_type().name()?
        ))),
    }
}

/// What a scalar of NumPy is to Python: `np.int64(3)` is 3. Some are nothing of Python's.
fn scalar<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    let dimensions = value.getattr_opt(intern!(py, "ndim"))?;
    match dimensions.and_then(|ndim| ndim.extract::<usize>().ok()) {
        Some(0) => {
            let item = value.call_method0(intern!(py, "item"))?;
            Ok((!item.hasattr(intern!(py, "ndim"))?).then_some(item))
        }
        _ => Ok(None),
    }
}

/// Whether this is an `InferenceResponse`.
pub(crate) fn is_response(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.is_instance(classes(value.py())?.response.bind(value.py()))
}

/// What a handler returned.
///
/// # Errors
/// A fault of the handler, as an exception that says which output is wrong and how.
pub(crate) fn read_response(value: &Bound<'_, PyAny>) -> PyResult<InferResponse> {
    let py = value.py();
    let mut outputs = Vec::new();
    for output in value.getattr(intern!(py, "outputs"))?.try_iter()? {
        outputs.push(read_tensor("output", &output?)?);
    }
    let name: Option<String> = value.getattr(intern!(py, "model_name"))?.extract()?;
    let version: Option<String> = value.getattr(intern!(py, "model_version"))?.extract()?;
    let mut response = InferResponse::new(outputs);
    response.model_name = name.unwrap_or_default();
    response.model_version = version.filter(|version| !version.is_empty());
    response.parameters = read_parameters(&value.getattr(intern!(py, "parameters"))?)?;
    Ok(response)
}

/// A request that Python made.
pub(crate) fn read_request(value: &Bound<'_, PyAny>) -> PyResult<InferRequest> {
    let py = value.py();
    let mut inputs = Vec::new();
    for input in value.getattr(intern!(py, "inputs"))?.try_iter()? {
        inputs.push(read_tensor("input", &input?)?);
    }
    let mut request = InferRequest::new(inputs);
    request.id = value.getattr(intern!(py, "id"))?.extract()?;
    request.parameters = read_parameters(&value.getattr(intern!(py, "parameters"))?)?;
    let outputs = value.getattr(intern!(py, "outputs"))?;
    if !outputs.is_none() {
        for output in outputs.try_iter()? {
            let output = output?;
            let name: String = output.getattr(intern!(py, "name"))?.extract()?;
            let mut made = RequestedOutput::new(name);
            made.parameters = read_parameters(&output.getattr(intern!(py, "parameters"))?)?;
            request.outputs.push(made);
        }
    }
    Ok(request)
}

/// A tensor of `oip.types`, with its name before every fault.
pub(crate) fn read_tensor(side: &str, value: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let py = value.py();
    let name: String = value.getattr(intern!(py, "name"))?.extract()?;
    let made = (|| {
        let datatype = read_datatype(&value.getattr(intern!(py, "datatype"))?)?;
        let shape = read_dims(&value.getattr(intern!(py, "shape"))?)?;
        let data = value.getattr(intern!(py, "data"))?;
        let tensor = outputs::tensor(&name, datatype, shape, &data)?;
        let parameters = read_parameters(&value.getattr(intern!(py, "parameters"))?)?;
        Ok(tensor.with_parameters(parameters))
    })();
    made.map_err(|error: PyErr| {
        let message = format!("{side} '{name}': {}", error.value(py));
        match error.is_instance_of::<PyTypeError>(py) {
            true => PyTypeError::new_err(message),
            false => PyValueError::new_err(message),
        }
    })
}

fn read_datatype(value: &Bound<'_, PyAny>) -> PyResult<Datatype> {
    let name = value.cast::<PyString>()?;
    // A member of the enumeration is a string too: its name.
    name.to_str()?.parse().map_err(crate::errors::value)
}

fn read_dims(value: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
    let mut dims = Vec::new();
    for dim in value.try_iter()? {
        let dim = dim?;
        dims.push(dim.extract::<u64>().map_err(|_| {
            PyValueError::new_err(format!("shape has {dim}, but sizes are not negative"))
        })?);
    }
    Ok(dims)
}

/// What a model declares, as a client in this process gets it.
pub(crate) fn metadata(py: Python<'_>, metadata: ModelMetadata) -> PyResult<Bound<'_, PyAny>> {
    let tensors = |tensors: Vec<TensorMetadata>| -> PyResult<Vec<Bound<'_, PyDict>>> {
        let each = tensors.into_iter().map(|tensor| {
            let made = PyDict::new(py);
            made.set_item("name", tensor.name)?;
            made.set_item("datatype", tensor.datatype.name())?;
            made.set_item("shape", tensor.shape.dims())?;
            Ok(made)
        });
        each.collect()
    };
    let versions = Some(metadata.versions).filter(|versions| !versions.is_empty());
    let class = py.import("oip.types")?.getattr("ModelMetadataResponse")?;
    class.call1((
        metadata.name,
        versions,
        metadata.platform,
        tensors(metadata.inputs)?,
        tensors(metadata.outputs)?,
    ))
}

/// What a handler says of a model.
pub(crate) fn read_metadata(value: &Bound<'_, PyAny>) -> PyResult<ModelMetadata> {
    let py = value.py();
    let versions = value.getattr(intern!(py, "versions"))?;
    Ok(ModelMetadata {
        name: value.getattr(intern!(py, "name"))?.extract()?,
        versions: versions
            .extract::<Option<Vec<String>>>()?
            .unwrap_or_default(),
        platform: value.getattr(intern!(py, "platform"))?.extract()?,
        inputs: declared(&value.getattr(intern!(py, "inputs"))?)?,
        outputs: declared(&value.getattr(intern!(py, "outputs"))?)?,
    })
}

fn declared(tensors: &Bound<'_, PyAny>) -> PyResult<Vec<TensorMetadata>> {
    let mut all = Vec::new();
    for tensor in tensors.try_iter()? {
        let tensor = tensor?;
        let py = tensor.py();
        let name: String = tensor.getattr(intern!(py, "name"))?.extract()?;
        let datatype = read_datatype(&tensor.getattr(intern!(py, "datatype"))?)?;
        let shape: Vec<i64> = tensor.getattr(intern!(py, "shape"))?.extract()?;
        all.push(TensorMetadata::new(
            name,
            datatype,
            DeclaredShape::from(shape),
        ));
    }
    Ok(all)
}
