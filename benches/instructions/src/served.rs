//! Whole requests: a server with a model that returns what it is given.

use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::path::Path;

use oip::config::{Config, Sources};
use oip::gates::Gates;
use oip::{
    Call, Datatype, InferRequest, InferResponse, ModelHandler, ModelMetadata, ModelRef, Result,
    Server, TensorMetadata, logging,
};

/// What the token was signed with that `count.py` shows. It opens nothing but this server.
const SECRET: &str = "oip-bench-measures-with-this-known-secret";

/// The model. Its metadata is declared, so requests and answers are checked against it.
struct Identity(ModelMetadata);

impl Identity {
    const NAME: &str = "identity";

    fn new() -> Self {
        let tensor = |name: &str| TensorMetadata::new(name, Datatype::Fp32, vec![-1]);
        Self(ModelMetadata {
            name: Self::NAME.to_owned(),
            versions: vec!["1".to_owned()],
            platform: "rust_identity".to_owned(),
            inputs: vec![tensor("input")],
            outputs: vec![tensor("output")],
        })
    }
}

impl ModelHandler for Identity {
    async fn infer(&self, request: InferRequest, _: &Call) -> Result<InferResponse> {
        let outputs = request.inputs.into_iter();
        let outputs = outputs.map(|input| input.with_name("output"));
        Ok(InferResponse::new(outputs.collect::<Vec<_>>()))
    }

    async fn model_metadata(&self, _: &ModelRef) -> Result<ModelMetadata> {
        Ok(self.0.clone())
    }
}

/// Says where its doors are and serves until standard input ends: open to everybody, or, where
/// there is a folder for its audit, with tokens, the built-in policy and an audit line for each
/// request.
pub(super) fn serve(audit: Option<&Path>) -> io::Result<()> {
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let server = match audit {
        None => open(),
        Some(folder) => gated(folder)?,
    };
    // As many workers as CPUs that this process may use.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let bound = server.bind().await.map_err(io::Error::other)?;
        if let (Some(rest), Some(grpc)) = (bound.rest_address(), bound.grpc_address()) {
            println!("rest={rest} grpc={grpc}");
        }
        bound.serve(std::future::pending()).await;
        Ok(())
    })
}

fn open() -> Server {
    let free = (Ipv4Addr::LOCALHOST, 0);
    Server::new(Identity::new())
        .model(Identity::NAME)
        .without_authentication()
        .rest(free)
        .grpc(free)
}

/// Configured as an operator would. Nothing of the environment counts.
fn gated(folder: &Path) -> io::Result<Server> {
    let sources = Sources::default()
        .with_flag("rest-port", "0")
        .with_flag("grpc-port", "0")
        .with_flag("auth-secret", SECRET)
        .with_flag("audit-file", folder.join("audit").display().to_string());
    let config = Config::resolve(&sources).map_err(io::Error::other)?;
    let settings = config.settings().map_err(io::Error::other)?;
    let (level, format) = (settings.log_level, settings.log_format);
    logging::init(level, settings.latency_log, format).map_err(io::Error::other)?;
    let gates = Gates::new(&settings).map_err(io::Error::other)?;
    Ok(open().configure(&settings).gates(gates))
}
