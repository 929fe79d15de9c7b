//! From `proto/` to the content of every generated file, in memory.

use std::error::Error;
use std::path::Path;

use prost_build::{Module, ServiceGenerator};

/// The file that imports all others.
const ENTRY: &str = "open_inference.proto";
const PACKAGE: &str = "inference";
/// Where the stubs find the messages.
const MESSAGES: &str = "::oip_protocol::proto::generated";
/// The server's codec: a message that cannot be decoded is the client's fault.
const SERVER_CODEC: &str = "crate::grpc::codec::ProtobufCodec";
const CLIENT_CODEC: &str = "tonic_prost::ProstCodec";

const NOTE: &str = "// Generated from proto/ by `cargo run -p oip-codegen`; do not edit.\n\n";

/// A generated file.
pub(crate) struct Generated {
    /// Relative to the root of the repository.
    pub(crate) path: &'static str,
    pub(crate) content: Vec<u8>,
}

/// Compiles the files in `proto` and generates everything that is made of them.
pub(crate) fn all(proto: &Path) -> Result<Vec<Generated>, Box<dyn Error>> {
    let mut compiler = protox::Compiler::new([proto])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file(ENTRY)?;
    let messages = rust(&compiler, messages())?;
    let server = rust(&compiler, stubs(server()))?;
    let client = rust(&compiler, stubs(client()))?;
    // Comments are for the generated code; reflection does without them.
    let descriptor = compiler
        .include_source_info(false)
        .encode_file_descriptor_set();
    Ok(vec![
        Generated {
            path: "crates/protocol/src/proto/generated.rs",
            content: messages,
        },
        Generated {
            path: "crates/oip/src/grpc/generated.rs",
            content: server,
        },
        Generated {
            path: "crates/oip/src/grpc/generated_client.rs",
            content: client,
        },
        Generated {
            path: "crates/oip/src/grpc/descriptor.bin",
            content: descriptor,
        },
    ])
}

/// Messages. Their `bytes` are `Bytes`: raw contents stay slices of the received message.
fn messages() -> prost_build::Config {
    let mut config = prost_build::Config::new();
    config.bytes([format!(".{PACKAGE}")]);
    config
}

/// gRPC stubs whose messages are those of the protocol crate.
fn stubs(service: Box<dyn ServiceGenerator>) -> prost_build::Config {
    let mut config = prost_build::Config::new();
    config
        .extern_path(format!(".{PACKAGE}"), MESSAGES)
        .service_generator(service);
    config
}

fn server() -> Box<dyn ServiceGenerator> {
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .codec_path(SERVER_CODEC)
        .service_generator()
}

fn client() -> Box<dyn ServiceGenerator> {
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .codec_path(CLIENT_CODEC)
        .service_generator()
}

/// The one Rust file that `config` makes of the compiled package.
fn rust(
    compiler: &protox::Compiler,
    mut config: prost_build::Config,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let module = Module::from_protobuf_package_name(PACKAGE);
    let requests = compiler
        .file_descriptor_set()
        .file
        .into_iter()
        .map(|file| (Module::from_protobuf_package_name(file.package()), file))
        .collect();
    let mut generated = config.generate(requests)?;
    let code = generated
        .remove(&module)
        .ok_or_else(|| format!("package {PACKAGE} gives no code"))?;
    if !generated.is_empty() {
        return Err(format!("proto/ has packages other than {PACKAGE}").into());
    }
    Ok(format!("{NOTE}{code}").into_bytes())
}
