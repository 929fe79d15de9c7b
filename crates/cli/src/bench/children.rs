//! Floor and server run as processes of their own, on CPUs of their own, from this same binary.

use std::io::{self, BufRead, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::net::TcpListener;

use super::gates::Variant;
use super::host::Host;
use super::target::Target;
use super::{BenchError, affinity, bare, floor, gates, identity, overload};
use crate::memory;

/// The hidden command that a child process runs, and what it is asked to be.
pub(crate) const COMMAND: &str = "bench-child";

/// What a child can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    FloorRest,
    FloorGrpc,
    Server,
    /// Our server with something around it.
    Gates(Variant),
    /// Our server with models that take a known time.
    Overload,
    /// ONNX Runtime without a server.
    Bare,
}

impl Role {
    pub(super) const ALL: [Self; 5 + Variant::ALL.len()] = [
        Self::FloorRest,
        Self::FloorGrpc,
        Self::Server,
        Self::Overload,
        Self::Bare,
        Self::Gates(Variant::Gates),
        Self::Gates(Variant::Unawaited),
        Self::Gates(Variant::Hs256),
        Self::Gates(Variant::Uncached),
        Self::Gates(Variant::Rs256),
        Self::Gates(Variant::Rs256Uncached),
        Self::Gates(Variant::AuditToLog),
        Self::Gates(Variant::AccessLog),
    ];

    /// Its name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FloorRest => "floor-rest",
            Self::FloorGrpc => "floor-grpc",
            Self::Server => "server",
            Self::Gates(variant) => variant.name(),
            Self::Overload => "overload",
            Self::Bare => "bare",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A child process. It ends when it is dropped, and by itself when this process ends.
pub(super) struct Running {
    child: Child,
    /// What it writes while it runs.
    folder: Option<PathBuf>,
    pub(super) target: Target,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            // What is left lies in the folder for temporary files.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Starts a child on these CPUs and waits until it listens.
pub(super) fn start(role: Role, cpus: &[usize]) -> Result<Running, BenchError> {
    start_with(role, cpus, |_| Ok(()))
}

/// The same, with something in its folder before.
pub(super) fn start_with(
    role: Role,
    cpus: &[usize],
    fill: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<Running, BenchError> {
    let fail = |source: io::Error| BenchError::Child {
        role: role.name(),
        source,
    };
    let mut command = crate::itself::command().map_err(fail)?;
    command
        .args([COMMAND, role.name()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let folder = match role {
        Role::Gates(_) | Role::Overload => Some(room(role, &mut command).map_err(fail)?),
        _ => None,
    };
    if let Some(folder) = &folder {
        fill(folder).map_err(fail)?;
    }
    let mut child = spawn(command, cpus).map_err(fail)?;
    let mut line = String::new();
    if let Some(output) = child.stdout.as_mut() {
        BufReader::new(output).read_line(&mut line).map_err(fail)?;
    }
    let target = Target {
        name: match role {
            Role::Server | Role::Overload => "oip".to_owned(),
            Role::Gates(variant) => variant.name().to_owned(),
            _ => "floor".to_owned(),
        },
        rest: door(&line, "rest"),
        grpc: door(&line, "grpc"),
        process: Some(child.id()),
    };
    if target.rest.is_none() && target.grpc.is_none() {
        let silent = io::Error::other("it ended before it listened");
        drop(Running {
            child,
            folder,
            target,
        });
        return Err(fail(silent));
    }
    let target = match role {
        Role::Gates(variant) => target.showing(&variant.credential()),
        _ => target,
    };
    Ok(Running {
        child,
        folder,
        target,
    })
}

/// Starts a process on these CPUs: it inherits those of the thread that starts it.
pub(super) fn spawn(mut command: Command, cpus: &[usize]) -> io::Result<Child> {
    let cpus = cpus.to_vec();
    let spawned = std::thread::spawn(move || {
        affinity::keep_to(&cpus)?;
        command.spawn()
    });
    spawned
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("a panic")))
}

/// A folder for what the child writes: its audit, and its log, which is standard error.
fn room(role: Role, command: &mut Command) -> io::Result<PathBuf> {
    let name = format!("oip-bench-{}-{}", std::process::id(), role.name());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder)?;
    let log = std::fs::File::create(folder.join("log"))?;
    command.arg(&folder).stderr(log);
    Ok(folder)
}

/// Reads `rest=127.0.0.1:1 grpc=127.0.0.1:2`.
fn door(line: &str, name: &str) -> Option<Host> {
    let mut words = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    let (_, address) = words.find(|(its, _)| *its == name)?;
    Some(Host::of_address(address.parse().ok()?))
}

/// Is the child: serves until standard input ends.
pub(super) fn be(role: Role, folder: Option<&Path>) -> Result<(), BenchError> {
    let fail = |source: io::Error| BenchError::Child {
        role: role.name(),
        source,
    };
    if role == Role::Bare {
        return bare::be(folder).map_err(fail);
    }
    if !matches!(role, Role::FloorRest | Role::FloorGrpc) {
        // As `oip serve` does. The floor is what the libraries do by themselves.
        memory::keep_freed();
    }
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    // As many workers as CPUs that this process may use.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(fail)?;
    runtime.block_on(serve(role, folder)).map_err(fail)
}

async fn serve(role: Role, folder: Option<&Path>) -> io::Result<()> {
    let server = match role {
        Role::Server => Some(identity::server()),
        Role::Gates(variant) => {
            let folder = folder.ok_or_else(|| io::Error::other("it has no folder"))?;
            Some(gates::server(variant, folder)?)
        }
        Role::Overload => {
            let folder = folder.ok_or_else(|| io::Error::other("it has no folder"))?;
            Some(overload::server(folder)?)
        }
        Role::FloorRest | Role::FloorGrpc | Role::Bare => None,
    };
    if let Some(server) = server {
        let bound = server.bind().await.map_err(io::Error::other)?;
        say(bound.rest_address(), bound.grpc_address());
        bound.serve(std::future::pending()).await;
        return Ok(());
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = Some(listener.local_addr()?);
    if role == Role::FloorRest {
        say(address, None);
        floor::rest(listener).await
    } else {
        say(None, address);
        floor::grpc(listener).await
    }
}

fn say(rest: Option<SocketAddr>, grpc: Option<SocketAddr>) {
    let word = |name: &str, address: Option<SocketAddr>| {
        address
            .map(|address| format!("{name}={address} "))
            .unwrap_or_default()
    };
    println!("{}{}", word("rest", rest), word("grpc", grpc));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_a_child_are_read() {
        let line = "rest=127.0.0.1:1 grpc=127.0.0.1:2 \n";
        assert_eq!(door(line, "rest").unwrap().way.address.port(), 1);
        assert_eq!(door(line, "grpc").unwrap().way.address.port(), 2);
        assert!(door("rest=127.0.0.1:1", "grpc").is_none());
    }

    #[test]
    fn every_role_is_found_by_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.name()), Some(role));
        }
    }
}
