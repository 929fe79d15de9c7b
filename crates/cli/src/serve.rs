//! `oip serve`: serve a folder of models.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Command};
use oip::config::{Config, LogFormat, Settings, Sources, Watch};
use oip::logging::{self, LogControl};
use oip::models::Models;
use oip::server::{BoundServer, Notify, Phase, StopSignals};
use oip::{Dataplane, Server};

use tokio::signal::unix::Signal;

use crate::Programs;
use crate::args;
use crate::exit::{Exit, fail, misconfigured};
use crate::memory;

pub(crate) mod announce;
mod early;
mod of_program;
mod reload;
mod sample;

const EXAMPLES: &str = "\
Every option has three spellings: --rest-port, OIP_REST_PORT in the environment, and rest_port in
the oip.properties of the folder that KRAUSENING_BASE names. 'oip config' shows what is in force.

Examples:
  oip serve models --auth-enabled false
      Serve every model in the folder 'models', on this machine alone, to everyone on it.
  oip serve models --model-name iris --model-control poll --auth-enabled false
      Serve one of them, and look for new versions of it.
  oip serve models --rest-host 0.0.0.0 --port 8080 --auth-enabled false
      Serve other machines too, REST and gRPC on one port.";

pub(crate) fn command() -> Command {
    args::with_options(
        Command::new("serve")
            .about("Serve a folder of models, REST and gRPC")
            .after_help(EXAMPLES),
    )
}

/// What is asked for, with everything that says so.
struct Asked {
    sources: Sources,
    config: Config,
    settings: Settings,
    program: Option<PathBuf>,
}

/// Finds out what is asked for. What a program says of its own server is known only once it has
/// run.
///
/// # Errors
/// How the command ends instead.
fn asked(matches: &ArgMatches, programs: &dyn Programs) -> Result<Asked, Exit> {
    let resolve = |sources: &Sources| Config::resolve(sources).map_err(|e| misconfigured(&e));
    let supervise = |program: &Path| programs.supervise(program).map_or(Ok(()), Err);
    let mut sources = args::sources(matches);
    let mut config = resolve(&sources)?;
    let program = of_program::named(&config).filter(|path| programs.knows(path));
    if let Some(program) = &program {
        programs.log_as(config.log_level(), of_program::log_format(&config));
        if of_program::reloads(&config) {
            supervise(program)?;
        }
        sources = of_program::sources(sources, &config, program, programs)
            .map_err(|error| fail(Exit::Usage, error))?;
        config = resolve(&sources)?;
    }
    let settings = config.settings().map_err(|error| misconfigured(&error))?;
    programs.log_as(settings.log_level, settings.log_format);
    if let (Some(program), true) = (&program, settings.reload) {
        supervise(program)?;
    }
    Ok(Asked {
        sources,
        config,
        settings,
        program,
    })
}

pub(crate) fn run(matches: &ArgMatches, programs: &dyn Programs) -> Exit {
    // Before anything that takes its time.
    let hangup = early::listen();
    memory::keep_freed();
    let Asked {
        sources,
        config,
        settings,
        program,
    } = match asked(matches, programs) {
        Ok(asked) => asked,
        Err(exit) => return exit,
    };
    let log = match logging::init(
        settings.log_level,
        settings.latency_log,
        settings.log_format,
    ) {
        Ok(log) => log,
        Err(error) => return fail(Exit::Failed, format!("cannot start logging: {error}")),
    };
    logging::say_panics();
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    announce::accepted_without_effect(&config, program.is_some());
    if !settings.auth_enabled
        && let Some(unused) = announce::unused_without_authentication(&config)
    {
        tracing::warn!("{unused}");
    }
    let made = match program {
        Some(program) => of_program::server(&program, &settings, programs),
        None => Server::from_settings_with(&settings, programs.engines())
            .map_err(|error| error.to_string()),
    };
    let (server, models) = match made {
        Ok(made) => made,
        Err(error) => return fail(Exit::Usage, error),
    };
    let server = server.logging(log.clone());
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    if let Some(count) = settings.worker_threads {
        threads.worker_threads(count);
    }
    match threads.enable_all().build() {
        Ok(runtime) => {
            let watch = Watch::new(sources, config);
            let exit = runtime.block_on(serve(server, models, settings, watch, log, hangup));
            // A model that is still at work when the grace has run out must not hold the end up.
            runtime.shutdown_background();
            exit
        }
        Err(error) => fail(Exit::Failed, format!("cannot start threads: {error}")),
    }
}

async fn serve(
    server: Server,
    models: Arc<dyn Models>,
    settings: Settings,
    watch: Watch,
    log: LogControl,
    hangup: io::Result<Signal>,
) -> Exit {
    let manager = &settings.surroundings.manager;
    let bound = match server.inherit(manager.socket_names.as_deref()) {
        Ok(server) => server.bind().await,
        Err(error) => Err(error),
    };
    let mut bound = match bound {
        Ok(bound) => bound,
        Err(error) => return fail(Exit::Failed, error),
    };
    let mut signals = StopSignals::listen();
    let notify = Notify::new(manager.notify_socket.as_deref());
    if let Some(every) = manager.watchdog {
        tokio::spawn(notify.clone().alive_every(every));
    }
    let running = reload::Running {
        doors: bound.reconfigurable(),
        log,
        notify: notify.clone(),
        dataplane: Arc::clone(bound.dataplane()),
    };
    let every = settings.reload.then_some(settings.poll_interval);
    tokio::spawn(reload::watch(watch, every, running, hangup));
    announce_doors(&bound, &settings);
    let rest = bound.rest_address();
    let dataplane = Arc::clone(bound.dataplane());
    let ready = notify.clone();
    tokio::spawn(async move {
        loaded(&dataplane).await;
        // It may stop by then.
        if dataplane.phase() == Phase::Serving {
            ready.ready();
            announce::models(&*models, &settings, rest).await;
        }
    });
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let again = async move {
        signals.next().await;
        notify.stopping();
        let _ = stop.send(());
        signals.next().await;
    };
    tokio::select! {
        _ = bound.serve(async move { stopped.await.unwrap_or_default() }) => Exit::Success,
        () = again => {
            end_at_once();
            tracing::warn!("stopped at once, by a second signal");
            Exit::Failed
        }
    }
}

/// Has the process end soon, whatever holds up its end.
fn end_at_once() {
    const SOON: Duration = Duration::from_secs(1);
    logging::end_at_once();
    std::thread::spawn(|| {
        std::thread::sleep(SOON);
        std::process::exit(i32::from(Exit::Failed as u8));
    });
}

fn announce_doors(bound: &BoundServer, settings: &Settings) {
    let doors = announce::Doors {
        rest: bound.rest_address(),
        grpc: bound.grpc_address(),
        rest_socket: bound.rest_socket(),
        grpc_socket: bound.grpc_socket(),
        docs: settings.docs,
        tls: settings.tls.is_some(),
    };
    match settings.log_format {
        // A full disk or a closed pipe must not end the server.
        LogFormat::Text => {
            let _ = std::io::stdout().write_all(doors.as_text().as_bytes());
        }
        LogFormat::Json => doors.log(),
    }
    if let Some(metrics) = bound.metrics_address() {
        tracing::info!(%metrics, "metrics are served at an address of their own");
    }
}

/// Is done when every model that should be there from the start was tried.
async fn loaded(dataplane: &Dataplane) {
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    while dataplane.phase() == Phase::Starting {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
