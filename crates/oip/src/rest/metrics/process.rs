//! What the system says of the process, under the names that Prometheus' clients use. Read from
//! `/proc`; where there is none, nothing is written.

use std::fs;

use super::text::{Text, Type};

/// Ticks of the processor's clock in a second, as Linux tells them to every program.
const TICKS: f64 = 100.0;

pub(super) fn write(text: &mut Text) {
    if let Some(stat) = Stat::read() {
        text.single(
            "process_cpu_seconds_total",
            Type::Counter,
            "Time that the processors spent on this process.",
            stat.ticks as f64 / TICKS,
        );
        text.single(
            "process_threads",
            Type::Gauge,
            "Threads of this process.",
            stat.threads,
        );
        if let Some(booted) = booted() {
            text.single(
                "process_start_time_seconds",
                Type::Gauge,
                "When this process started, in seconds since 1970.",
                booted + stat.started as f64 / TICKS,
            );
        }
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, field, help) in [
        (
            "process_resident_memory_bytes",
            "VmRSS:",
            "Memory that is resident.",
        ),
        (
            "process_virtual_memory_bytes",
            "VmSize:",
            "Memory that is mapped.",
        ),
    ] {
        if let Some(kib) = kib(&status, field) {
            text.single(name, Type::Gauge, help, kib * 1024);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let help = "Files and connections that are open.";
        text.single("process_open_fds", Type::Gauge, help, open.count());
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = most_files(&limits) {
        let help = "Files and connections that may be open.";
        text.single("process_max_fds", Type::Gauge, help, most);
    }
}

/// What of `/proc/self/stat` is of interest.
struct Stat {
    ticks: u64,
    threads: u64,
    /// Ticks after the system booted.
    started: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Source: proc(5). The second field is the program's name, which may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        Some(Self {
            ticks: number(11)? + number(12)?,
            threads: number(17)?,
            started: number(19)?,
        })
    }
}

fn booted() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn most_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let text = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 9 0 1234 5 6";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.ticks, stat.threads, stat.started), (200, 9, 1234));
    }

    #[test]
    fn the_limit_of_open_files_is_the_one_in_force() {
        let text =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files    1024    4096    files\n";
        assert_eq!(most_files(text), Some(1024));
    }
}
