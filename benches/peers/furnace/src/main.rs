//! furnace-server with a model that returns its input: `furnace-identity HTTP_PORT GRPC_PORT`.

use furnace::tensor::{DataType, HostTensor, IoSpec};
use furnace::{Model, Result, Server, TensorModel};

#[derive(Debug)]
struct Identity;

impl TensorModel for Identity {
    fn name(&self) -> &str {
        "identity"
    }

    fn backend(&self) -> &str {
        "none"
    }

    fn inputs(&self) -> Vec<IoSpec> {
        vec![IoSpec::new("input", DataType::Fp32, &[None])]
    }

    fn outputs(&self) -> Vec<IoSpec> {
        vec![IoSpec::new("output", DataType::Fp32, &[None])]
    }

    fn run(&self, inputs: Vec<HostTensor>) -> Result<Vec<HostTensor>> {
        Ok(inputs)
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut ports = std::env::args().skip(1).map(|port| port.parse::<u16>());
    let (http, grpc) = (ports.next().ok_or("HTTP_PORT")??, ports.next().ok_or("GRPC_PORT")??);
    let server = Server::new().host("127.0.0.1").port(http).model(Model::custom(Identity));
    let server = server.configure(|config| {
        config.grpc_port = Some(grpc);
        config.max_concurrent_requests = 256;
        config.max_body_bytes = 64 << 20;
    });
    Ok(server.serve().await?)
}
