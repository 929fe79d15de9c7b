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

/// The CPU time that a process has used so far, and those that it started and that still run:
/// all threads together, to the nanosecond.
pub(super) fn cpu_time(process: u32) -> Option<Duration> {
    system::cpu_time(process)
}

/// The CPU time that the calling thread has used so far.
pub(super) fn thread_time() -> Option<Duration> {
    system::thread_time()
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::time::Duration;

    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
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

    pub(super) fn cpu_time(process: u32) -> Option<Duration> {
        let mut time = cpu_time_of(process)?;
        let parents = parents();
        let mut known = vec![process];
        while let Some(parent) = known.pop() {
            for (child, _) in parents.iter().filter(|(_, its)| *its == parent) {
                // One that has ended meanwhile has no clock any more.
                time += cpu_time_of(*child).unwrap_or_default();
                known.push(*child);
            }
        }
        Some(time)
    }

    pub(super) fn thread_time() -> Option<Duration> {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
        Some(Duration::from(time))
    }

    /// Every process and the one that started it.
    pub(super) fn parents() -> Vec<(u32, u32)> {
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pair = |entry: std::fs::DirEntry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // Behind the name, which may hold anything, stand its state and its parent.
            let (_, rest) = stat.rsplit_once(')')?;
            Some((process, rest.split_whitespace().nth(1)?.parse().ok()?))
        };
        all.filter_map(pair).collect()
    }

    // `/proc/PID/stat` counts in ticks of 10 ms and `/proc/PID/schedstat` shows one thread
    // only; the process's own CPU clock has neither fault.
    fn cpu_time_of(process: u32) -> Option<Duration> {
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

    pub(super) fn thread_time() -> Option<std::time::Duration> {
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
        let (before, begun) = (cpu_time(me).unwrap(), std::time::Instant::now());
        // The system counts in steps, some of which are ten milliseconds long.
        while cpu_time(me).unwrap() <= before {
            assert!(begun.elapsed().as_secs() < 20);
            let sum: u64 = (0..2_000_000_u64).map(std::hint::black_box).sum();
            assert!(sum > 0);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_cpu_time_of_a_process_includes_what_it_has_started() {
        // The shell waits; only the process within it works.
        let script = "sh -c 'while :; do :; done'; :";
        let mut child = std::process::Command::new("sh")
            .args(["-c", script])
            .spawn()
            .unwrap();
        let began = std::time::Instant::now();
        let mut used = Duration::ZERO;
        while used < Duration::from_millis(50) && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
            used = cpu_time(child.id()).unwrap();
        }
        let started = system::parents().into_iter();
        for (process, _) in started.filter(|(_, parent)| *parent == child.id()) {
            let mut kill = std::process::Command::new("kill");
            assert!(kill.arg(process.to_string()).status().unwrap().success());
        }
        child.wait().unwrap();
        assert!(used >= Duration::from_millis(50), "{used:?}");
    }
}
