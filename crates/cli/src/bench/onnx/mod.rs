//! ONNX models made on the spot: they are too large to be kept, and need no more than their
//! shapes.
//!
//! Source: `onnx.proto`, of which this has the fields that a plain network needs.

mod resnet;

use prost::Message;

pub(super) use resnet::resnet_18;

#[derive(Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
}

#[derive(Message)]
struct OperatorSet {
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Weights>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Value>,
}

#[derive(Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    of: i32,
}

#[derive(Message)]
struct Weights {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    of: Option<Type>,
}

#[derive(Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

#[derive(Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dims: Vec<Dimension>,
}

#[derive(Message)]
struct Dimension {
    #[prost(oneof = "Size", tags = "1, 2")]
    size: Option<Size>,
}

#[derive(prost::Oneof)]
enum Size {
    #[prost(int64, tag = "1")]
    Fixed(i64),
    #[prost(string, tag = "2")]
    Open(String),
}

/// `FLOAT` of `TensorProto.DataType`.
const FLOAT: i32 = 1;
/// `INTS` of `AttributeProto.AttributeType`.
const INTS: i32 = 7;
/// What the weights are made from.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// A network of fully connected layers of these widths, the input's first, with a rectifier
/// between them; the batch is open. The same widths make the same file.
pub(super) fn perceptron(widths: &[usize]) -> Vec<u8> {
    let (mut node, mut initializer) = (Vec::new(), Vec::new());
    let mut seed = SEED;
    let layers = widths.len().saturating_sub(1);
    for (layer, pair) in widths.windows(2).enumerate() {
        let (wide, narrow) = (pair[0], pair[1]);
        let name = |what: &str| format!("{what}{layer}");
        let scale = 1.0 / (wide as f32).sqrt();
        initializer.push(weights(name("w"), &[wide, narrow], scale, &mut seed));
        initializer.push(weights(name("b"), &[narrow], scale, &mut seed));
        let from = match layer {
            0 => "x".to_owned(),
            _ => format!("a{}", layer - 1),
        };
        let last = layer + 1 == layers;
        let to = if last { "y".to_owned() } else { name("h") };
        node.push(operator("Gemm", [from, name("w"), name("b")].into(), to));
        if !last {
            node.push(operator("Relu", vec![name("h")], name("a")));
        }
    }
    let value = |name: &str, width: &usize| value(name, &[*width]);
    file(Graph {
        name: "perceptron".to_owned(),
        node,
        initializer,
        input: widths
            .first()
            .map(|width| value("x", width))
            .into_iter()
            .collect(),
        output: widths
            .last()
            .map(|width| value("y", width))
            .into_iter()
            .collect(),
    })
}

/// A model's file.
fn file(graph: Graph) -> Vec<u8> {
    let model = Model {
        ir_version: 8,
        producer_name: "oip-bench".to_owned(),
        opset_import: vec![OperatorSet { version: 17 }],
        graph: Some(graph),
    };
    model.encode_to_vec()
}

/// An input or output with an open batch before these dimensions.
fn value(name: &str, dims: &[usize]) -> Value {
    let open = Size::Open("batch".to_owned());
    let fixed = dims.iter().map(|dim| Size::Fixed(*dim as i64));
    let dims = std::iter::once(open).chain(fixed);
    let dims = dims.map(|size| Dimension { size: Some(size) }).collect();
    Value {
        name: name.to_owned(),
        of: Some(Type {
            tensor: Some(TensorType {
                element: FLOAT,
                shape: Some(Shape { dims }),
            }),
        }),
    }
}

fn operator(op_type: &str, input: Vec<String>, output: String) -> Node {
    Node {
        input,
        output: vec![output],
        op_type: op_type.to_owned(),
        attribute: Vec::new(),
    }
}

impl Node {
    fn with(mut self, name: &str, ints: &[i64]) -> Self {
        self.attribute.push(Attribute {
            name: name.to_owned(),
            ints: ints.to_vec(),
            of: INTS,
        });
        self
    }
}

fn weights(name: String, dims: &[usize], scale: f32, seed: &mut u64) -> Weights {
    let count: usize = dims.iter().product();
    let mut raw_data = Vec::with_capacity(4 * count);
    for _ in 0..count {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        let unit = (*seed >> 40) as f32 / (1_u32 << 23) as f32 - 1.0;
        raw_data.extend((unit * scale).to_le_bytes());
    }
    Weights {
        dims: dims.iter().map(|dim| *dim as i64).collect(),
        data_type: FLOAT,
        name,
        raw_data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_layer_between_each_two_widths() {
        let model = Model::decode(&perceptron(&[16, 64, 3])[..]).unwrap();
        let graph = model.graph.unwrap();
        let operators: Vec<&str> = graph.node.iter().map(|n| n.op_type.as_str()).collect();
        assert_eq!(operators, ["Gemm", "Relu", "Gemm"]);
        assert_eq!(graph.initializer[0].raw_data.len(), 4 * 16 * 64);
        assert_eq!(perceptron(&[2, 3]), perceptron(&[2, 3]));
    }
}
