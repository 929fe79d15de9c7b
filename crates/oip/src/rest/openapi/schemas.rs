//! The JSON objects of the protocol itself. Source: `inference_rest.md`.

use serde_json::{Map, Value, json};

/// Names and schemas.
pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    schemas.extend(messages().into_iter().map(named));
    schemas.extend(tensors().into_iter().map(named));
    schemas.extend(metadata().into_iter().map(named));
    schemas
}

pub(super) fn named((name, schema): (&str, Value)) -> (String, Value) {
    (name.to_owned(), schema)
}

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

pub(super) fn list_of(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

/// An object with these members, of which those whose names end in `?` may be absent.
pub(super) fn object(members: &[(&str, Value)]) -> Value {
    let name = |(name, schema): &(&str, Value)| {
        let name = name.trim_end_matches('?').to_owned();
        (name, schema.clone())
    };
    let properties: Map<String, Value> = members.iter().map(name).collect();
    let required = members.iter().map(|(name, _)| *name);
    let required: Vec<&str> = required.filter(|name| !name.ends_with('?')).collect();
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

pub(super) fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

pub(super) fn count(description: &str) -> Value {
    json!({"type": "integer", "format": "int64", "minimum": 0, "description": description})
}

pub(super) fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

fn messages() -> [(&'static str, Value); 3] {
    [
        (
            "InferenceRequest",
            object(&[
                (
                    "id?",
                    text("The caller's name for this request; comes back as sent"),
                ),
                ("parameters?", reference("Parameters")),
                ("inputs", list_of(reference("RequestInput"))),
                (
                    "outputs?",
                    json!({
                        "type": "array", "items": reference("RequestOutput"),
                        "description": "The outputs that are wanted, in this order; all when absent or empty",
                    }),
                ),
            ]),
        ),
        (
            "InferenceResponse",
            object(&[
                ("model_name", text("The model that answered")),
                ("model_version?", text("The version that answered")),
                ("id?", text("The request's id")),
                ("parameters?", reference("Parameters")),
                ("outputs", list_of(reference("ResponseOutput"))),
            ]),
        ),
        (
            "Error",
            object(&[("error", text("What is wrong, in a sentence"))]),
        ),
    ]
}

fn tensors() -> [(&'static str, Value); 7] {
    let shape = list_of(json!({"type": "integer", "format": "int64", "minimum": 0}));
    let members = |data: &'static str| {
        object(&[
            ("name", text("The tensor's name")),
            ("shape", shape.clone()),
            ("datatype", reference("Datatype")),
            ("parameters?", reference("Parameters")),
            (data, reference("TensorData")),
        ])
    };
    [
        ("RequestInput", members("data?")),
        ("ResponseOutput", members("data?")),
        (
            "RequestOutput",
            object(&[
                ("name", text("The output's name")),
                ("parameters?", reference("Parameters")),
            ]),
        ),
        (
            "TensorData",
            json!({
                "type": "array",
                "description": "The elements in row-major order, flat or nested as the shape; absent \
                    where `binary_data_size` says that they stand behind the JSON. `null` in an answer \
                    is a float that is not finite.",
                "items": {"nullable": true},
            }),
        ),
        (
            "Datatype",
            json!({
                "type": "string",
                "enum": oip_protocol::Datatype::ALL.map(oip_protocol::Datatype::name),
            }),
        ),
        (
            "Parameters",
            json!({
                "type": "object",
                "description": "Named scalars, such as `binary_data_size`, `binary_data`, \
                    `binary_data_output`, `classification` and `content_type`",
                "additionalProperties": {"oneOf": [
                    {"type": "boolean"}, {"type": "number"}, {"type": "string"},
                ]},
            }),
        ),
        ("Object", json!({"type": "object"})),
    ]
}

fn metadata() -> [(&'static str, Value); 7] {
    let names = list_of(json!({"type": "string"}));
    let tensors = list_of(reference("TensorMetadata"));
    let dimension = json!({"type": "integer", "format": "int64", "minimum": -1});
    let error = text("Why it is not ready");
    [
        (
            "ServerMetadata",
            object(&[
                ("name", text("The server's name")),
                ("version", text("The server's version")),
                ("extensions", names.clone()),
            ]),
        ),
        (
            "ModelMetadata",
            object(&[
                ("name", text("The model's name")),
                ("versions?", names),
                (
                    "platform",
                    text("What kind of model it is, such as onnx_onnxv1"),
                ),
                ("inputs", tensors.clone()),
                ("outputs", tensors),
            ]),
        ),
        (
            "TensorMetadata",
            object(&[
                ("name", text("The tensor's name")),
                ("datatype", reference("Datatype")),
                (
                    "shape",
                    json!({
                        "type": "array", "items": dimension,
                        "description": "Its dimensions, -1 where any size will do",
                    }),
                ),
            ]),
        ),
        (
            "ServerLive",
            object(&[("live", flag("Whether the server lives"))]),
        ),
        (
            "ServerReady",
            object(&[
                ("ready", flag("Whether the server is ready")),
                ("live", flag("Whether the server lives")),
                ("error?", error.clone()),
            ]),
        ),
        (
            "ModelReady",
            object(&[
                ("name", text("The model's name")),
                ("ready", flag("Whether the model can answer now")),
                ("error?", error),
            ]),
        ),
        (
            "Done",
            json!({"type": "object", "description": "It is done"}),
        ),
    ]
}
