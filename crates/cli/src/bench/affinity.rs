//! Which CPUs a process may use, and how much of them it has used.
//!
//! Both are Linux's own ways; elsewhere nothing is pinned and no CPU time is shown.

use std::time::Duration;

/// The CPUs that this process may use, in order; empty where that cannot be known.
pub(super) fn allowed() -> Vec<usize> {
    system::allowed()
}

/// The first half of the CPUs for the server, the second for the load. `None` where there are
/// not two to share.
pub(super) fn halves(cpus: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    let (server, load) = cpus.split_at(cpus.len() / 2);
    (!server.is_empty()).then(|| (server.to_vec(), load.to_vec()))
}

/// Keeps the calling thread, and what it starts from now on, on these CPUs. No CPUs: no change.
pub(super) fn keep_to(cpus: &[usize]) -> std::io::Result<()> {
    match cpus {
        [] => Ok(()),
        cpus => system::keep_to(cpus),
    }
}

/// The CPU time that a process has used so far, all threads together, to the nanosecond.
pub(super) fn cpu_time(process: u32) -> Option<Duration> {
    system::cpu_time(process)
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::time::Duration;

    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::time::clock_getcpuclockid;
    use nix::unistd::Pid;

    /// The calling thread.
    const SELF: Pid = Pid::from_raw(0);

    pub(super) fn allowed() -> Vec<usize> {
        let Ok(set) = sched_getaffinity(SELF) else {
            return Vec::new();
        };
        (0..CpuSet::count())
            .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
            .collect()
    }

    pub(super) fn keep_to(cpus: &[usize]) -> io::Result<()> {
        let mut set = CpuSet::new();
        for cpu in cpus {
            set.set(*cpu)?;
        }
        Ok(sched_setaffinity(SELF, &set)?)
    }

    // `/proc/PID/stat` counts in ticks of 10 ms and `/proc/PID/schedstat` shows one thread
    // only; the process's own CPU clock has neither fault.
    pub(super) fn cpu_time(process: u32) -> Option<Duration> {
        let process = Pid::from_raw(i32::try_from(process).ok()?);
        let time = clock_getcpuclockid(process).ok()?.now().ok()?;
        Some(Duration::from(time))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn keep_to(_: &[usize]) -> std::io::Result<()> {
        Ok(())
    }

    pub(super) fn cpu_time(_: u32) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_cpu_goes_to_the_load() {
        assert_eq!(halves(&[0, 1, 2]), Some((vec![0], vec![1, 2])));
        assert_eq!(halves(&[4, 7]), Some((vec![4], vec![7])));
    }

    #[test]
    fn one_cpu_is_not_shared_out() {
        assert_eq!(halves(&[3]), None);
        assert_eq!(halves(&[]), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_cpu_time_of_this_process_grows_with_work() {
        let me = std::process::id();
        let before = cpu_time(me).unwrap();
        let sum: u64 = (0..2_000_000_u64).map(std::hint::black_box).sum();
        assert!(sum > 0);
        assert!(cpu_time(me).unwrap() > before);
    }
}
