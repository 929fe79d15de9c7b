//! ONNX Runtime without a server, as a process of its own: it runs a model again and again for
//! as long as it is told.

use std::io::{self, BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use oip::config::{Config, Sources};
use oip::runtime::engine::Share;
use oip::runtime::engine::onnxruntime::bare::BareSession;
use oip::runtime::{ModelFile, RepositoryOptions};
use oip::server::onnxruntime;

use super::children::{self, Role};
use super::figures::Figures;
use super::{BenchError, affinity};

/// The process, seen from outside.
pub(super) struct Bare {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It ends when its standard input does.
        drop(self.ask.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bare {
    /// Starts it on these CPUs and waits until it has loaded the model of this folder.
    pub(super) fn start(folder: &Path, cpus: &[usize]) -> Result<Self, BenchError> {
        let mut command = crate::itself::command().map_err(fail)?;
        command
            .args([children::COMMAND, Role::Bare.name()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = children::spawn(command, cpus).map_err(fail)?;
        let nothing = || fail(io::Error::other("it has no standard output"));
        let answers = BufReader::new(child.stdout.take().ok_or_else(nothing)?);
        let mut bare = Self {
            ask: child.stdin.take(),
            child,
            answers,
        };
        match bare.line()?.as_str() {
            "ready" => Ok(bare),
            _ => Err(fail(io::Error::other("it ended before it was ready"))),
        }
    }

    fn line(&mut self) -> Result<String, BenchError> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(fail)?;
        Ok(line.trim().to_owned())
    }

    /// Lets it run for a while.
    pub(super) fn run(&mut self, time: Duration) -> Result<Figures, BenchError> {
        let before = affinity::cpu_time(self.child.id());
        if let Some(ask) = &mut self.ask {
            writeln!(ask, "{}", time.as_secs_f64()).map_err(fail)?;
        }
        let line = self.line()?;
        let cpu = before.zip(affinity::cpu_time(self.child.id()));
        let numbers: Vec<f64> = line
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let [runs, seconds, p50, p99] = numbers[..] else {
            return Err(fail(io::Error::other(format!("it said '{line}'"))));
        };
        let cpu = cpu.map(|(before, after)| after.saturating_sub(before).as_secs_f64());
        Ok(Figures {
            rate: runs / seconds,
            p50,
            p99,
            cpu: cpu.map(|cpu| cpu * 1e6 / runs.max(1.0)),
            ..Figures::default()
        })
    }
}

fn fail(source: io::Error) -> BenchError {
    BenchError::Child {
        role: Role::Bare.name(),
        source,
    }
}

/// Is the process: runs for as many seconds as each line says, and tells what came of it.
pub(super) fn be(folder: Option<&Path>) -> io::Result<()> {
    let folder = folder.ok_or_else(|| io::Error::other("it has no folder"))?;
    let mut sessions = open(folder)?;
    println!("ready");
    for line in io::stdin().lines() {
        let seconds: f64 = line?.trim().parse().map_err(io::Error::other)?;
        let time = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
        println!("{}", measure(&mut sessions, time)?);
    }
    Ok(())
}

/// The sessions that a server would make here, with the configuration that a server would have.
fn open(folder: &Path) -> io::Result<Vec<BareSession>> {
    let sources = Sources::process().with_flag("auth-enabled", "false");
    let config = Config::resolve(&sources).map_err(io::Error::other)?;
    let settings = config.settings().map_err(io::Error::other)?;
    let mut options = RepositoryOptions::new(folder);
    options.threads = settings.threads;
    options.concurrency = settings.model_concurrency;
    let path = folder.join("model.onnx");
    let bytes = std::fs::read(&path)?;
    let file = ModelFile { path, bytes };
    let share = Share {
        threads: options.threads(),
        concurrency: options.concurrency(),
        sessions: None,
    };
    let sessions = BareSession::open(&onnxruntime(&settings), &file, share);
    sessions.map_err(io::Error::other)
}

/// Each session runs on a thread of its own. Runs, seconds, p50 and p99 in milliseconds.
fn measure(sessions: &mut [BareSession], time: Duration) -> io::Result<String> {
    let began = Instant::now();
    let run = |session: &mut BareSession| {
        let mut took = Histogram::<u64>::new(3).map_err(io::Error::other)?;
        while began.elapsed() < time {
            let before = Instant::now();
            session.run().map_err(io::Error::other)?;
            let nanos = u64::try_from(before.elapsed().as_nanos()).unwrap_or(u64::MAX);
            took.record(nanos.max(1)).map_err(io::Error::other)?;
        }
        Ok::<_, io::Error>(took)
    };
    let mut all = Histogram::<u64>::new(3).map_err(io::Error::other)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .map(|s| scope.spawn(|| run(s)))
            .collect();
        for thread in threads {
            let took = thread
                .join()
                .map_err(|_| io::Error::other("a run panicked"))??;
            all.add(took).map_err(io::Error::other)?;
        }
        Ok::<_, io::Error>(())
    })?;
    let millis = |quantile| all.value_at_quantile(quantile) as f64 / 1e6;
    let (p50, p99) = (millis(0.5), millis(0.99));
    Ok(format!(
        "{} {} {p50} {p99}",
        all.len(),
        began.elapsed().as_secs_f64()
    ))
}
