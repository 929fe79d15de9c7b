//! A network of ResNet-18's shape: eight blocks of two convolutions each, 3 x 224 x 224 in, 1,000
//! numbers out. Its weights are random, with what normalised the layers folded into them.

use super::{Graph, Node, SEED, Weights, file, operator, value, weights};

/// The network's file, 47 MB.
pub(in crate::bench) fn resnet_18() -> Vec<u8> {
    let mut net = Net {
        node: Vec::new(),
        initializer: Vec::new(),
        seed: SEED,
    };
    let first = net.convolve("x", "first", (3, 64), 7, 2);
    let mut at = net.push(operator("Relu", vec![first], "relu".to_owned()));
    let pool = operator("MaxPool", vec![at], "pool".to_owned());
    at = net.push(around(pool, 3, 2));
    let mut wide = 64;
    for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            at = net.block(at, &format!("s{stage}b{block}"), (wide, width), stride);
            wide = width;
        }
    }
    let pooled = net.push(operator("GlobalAveragePool", vec![at], "mean".to_owned()));
    let flat = net.push(operator("Flatten", vec![pooled], "flat".to_owned()));
    net.weights("last.w", &[512, 1000], 512);
    net.weights("last.b", &[1000], 512);
    let last = vec![flat, "last.w".to_owned(), "last.b".to_owned()];
    net.push(operator("Gemm", last, "y".to_owned()));
    file(Graph {
        name: "resnet-18".to_owned(),
        node: net.node,
        initializer: net.initializer,
        input: vec![value("x", &[3, 224, 224])],
        output: vec![value("y", &[1000])],
    })
}

struct Net {
    node: Vec<Node>,
    initializer: Vec<Weights>,
    seed: u64,
}

impl Net {
    /// Adds a node; the name of its output.
    fn push(&mut self, node: Node) -> String {
        let output = node.output.concat();
        self.node.push(node);
        output
    }

    /// Weights that keep numbers about as large as they are.
    fn weights(&mut self, name: &str, dims: &[usize], fan_in: usize) {
        let scale = (6.0 / fan_in as f32).sqrt();
        let made = weights(name.to_owned(), dims, scale, &mut self.seed);
        self.initializer.push(made);
    }

    fn convolve(
        &mut self,
        from: &str,
        name: &str,
        (wide, width): (usize, usize),
        kernel: usize,
        stride: i64,
    ) -> String {
        let (w, b) = (format!("{name}.w"), format!("{name}.b"));
        let fan_in = wide * kernel * kernel;
        self.weights(&w, &[width, wide, kernel, kernel], fan_in);
        self.weights(&b, &[width], fan_in);
        let node = operator("Conv", vec![from.to_owned(), w, b], name.to_owned());
        self.push(around(node, kernel as i64, stride))
    }

    /// Two convolutions, and the way past them.
    fn block(&mut self, from: String, name: &str, widths: (usize, usize), stride: i64) -> String {
        let (_, width) = widths;
        let first = self.convolve(&from, &format!("{name}.1"), widths, 3, stride);
        let relu = self.push(operator("Relu", vec![first], format!("{name}.relu")));
        let second = self.convolve(&relu, &format!("{name}.2"), (width, width), 3, 1);
        let past = match widths.0 == width {
            true => from,
            false => self.convolve(&from, &format!("{name}.past"), widths, 1, stride),
        };
        let sum = self.push(operator("Add", vec![second, past], format!("{name}.sum")));
        self.push(operator("Relu", vec![sum], format!("{name}.out")))
    }
}

/// A square window, with as much around the image as keeps its middle on every pixel.
fn around(node: Node, kernel: i64, stride: i64) -> Node {
    let pad = kernel / 2;
    node.with("kernel_shape", &[kernel, kernel])
        .with("strides", &[stride, stride])
        .with("pads", &[pad, pad, pad, pad])
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::Model;
    use super::*;

    #[test]
    fn it_has_the_layers_and_the_weights_of_resnet_18() {
        let graph = Model::decode(&resnet_18()[..]).unwrap().graph.unwrap();
        let count = |operator: &str| graph.node.iter().filter(|n| n.op_type == operator).count();
        assert_eq!(
            (count("Conv"), count("Add"), count("Relu"), count("Gemm")),
            (20, 8, 17, 1)
        );
        let bytes: usize = graph.initializer.iter().map(|w| w.raw_data.len()).sum();
        // 11.69 million, as torchvision's has, without what its normalisation has besides.
        assert_eq!(bytes / 4, 11_684_712);
    }
}
