//! `oip serve`, started with models of ours.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::host::Host;
use super::target::{self, Target};
use super::{BenchError, children, request};

/// How long a server may take until it listens.
const STARTING: Duration = Duration::from_secs(30);

/// A server of ours. It ends when it is dropped.
pub(super) struct OwnServer {
    child: Child,
    /// Its REST door.
    pub(super) host: Host,
    pub(super) target: Target,
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl OwnServer {
    /// Serves a folder of models on these CPUs. `library` is what `--onnxruntime-library` says.
    pub(super) fn start(
        models: &Path,
        library: Option<&str>,
        cpus: &[usize],
    ) -> Result<Self, BenchError> {
        let fail = |source| BenchError::Child {
            role: "server",
            source,
        };
        let (rest, grpc) = (free_port().map_err(fail)?, free_port().map_err(fail)?);
        let mut command = crate::itself::command().map_err(fail)?;
        command.arg("serve").arg(models).args([
            "--auth-enabled",
            "false",
            "--rest-port",
            &rest.to_string(),
            "--grpc-port",
            &grpc.to_string(),
        ]);
        if let Some(library) = library {
            command.args(["--onnxruntime-library", library]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = children::spawn(command, cpus).map_err(fail)?;
        let host = Host::of_address(SocketAddr::from((Ipv4Addr::LOCALHOST, rest)));
        let target = Target {
            name: "oip".to_owned(),
            rest: Some(host.clone()),
            grpc: Some(Host::of_address(SocketAddr::from((
                Ipv4Addr::LOCALHOST,
                grpc,
            )))),
            process: Some(child.id()),
        };
        let server = Self {
            child,
            host,
            target,
        };
        let begun = Instant::now();
        while TcpStream::connect(server.host.way.address).is_err() {
            if begun.elapsed() > STARTING {
                return Err(fail(io::Error::other("it does not listen")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// What the server says of a model.
    pub(super) async fn ask(&self, network: &str, call: &str) -> Result<Value, BenchError> {
        let path = request::model_path(network, call);
        let answer = target::once(&self.host, &request::get(&self.host, &path)).await?;
        serde_json::from_slice(&answer.body).map_err(|error| BenchError::Metadata {
            model: network.to_owned(),
            why: error.to_string(),
        })
    }
}

fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
