//! How many files the process may have open: each connection is one.

use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::places::{FOR_METRICS, SPARE};

/// Files that models, logs, decision points and whoever asks for the figures may open meanwhile.
const OTHERS: usize = 64;

/// Whether there was no file left to accept a connection with.
pub(super) fn are_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::EMFILE, Errno::ENFILE].map(|errno| errno as i32);
    error
        .raw_os_error()
        .is_some_and(|raw| exhausted.contains(&raw))
}

/// Raises the limit of this process as far as it may be raised without privileges, and returns how
/// many of the connections that are wanted there is room for. Where that is fewer, it says so.
pub(super) fn make_room_for(connections: usize) -> usize {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::warn!(%error, "cannot read how many files may be open");
            return connections;
        }
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) if soft < hard => {
            tracing::warn!(%error, "cannot raise the limit of open files from {soft} to {hard}");
            soft
        }
        Err(_) => soft,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let room = room(limit, open());
    if room < connections {
        tracing::warn!(
            "at most {limit} files may be open: room for {room} connections, not for the \
             {connections} of 'connections'; raise the limit (LimitNOFILE=, ulimit -Hn) or lower \
             'connections'"
        );
    }
    connections.min(room)
}

/// How many connections fit, where so many files may be open and so many are.
fn room(limit: usize, open: usize) -> usize {
    let others = OTHERS + SPARE + FOR_METRICS;
    let left = limit.saturating_sub(open.saturating_add(others));
    left.max(limit / 4).max(1)
}

/// How many files are open, where the system says so.
fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_needs_beside_its_connections_is_left_and_some_connections_always() {
        assert_eq!(room(1024, 24), 1024 - 24 - 160);
        assert_eq!(room(200, 24), 50);
        assert_eq!(room(1, 24), 1);
        assert!(room(usize::MAX, 24) > 1 << 40);
    }

    #[test]
    fn having_no_file_left_is_told_from_other_faults() {
        let fault = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
        assert!(are_exhausted(&fault(Errno::EMFILE)) && are_exhausted(&fault(Errno::ENFILE)));
        assert!(!are_exhausted(&fault(Errno::ECONNABORTED)));
        assert!(!are_exhausted(&io::Error::other("no")));
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard / 2).max(256), hard).unwrap();
        assert_eq!(make_room_for(1), 1);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}
