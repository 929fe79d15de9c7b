//! The thread that writes whatever has been gathered, in one go, and the head to the log.

use std::time::{Duration, Instant};

use super::chain::Head;
use super::gather::{Found, Gathering, Round};
use super::pen::Pen;

/// Writes until the end. `logged` is the head as it was opened: requests may have written before
/// this thread comes to run. `waited` says whether requests wait for their lines.
pub(super) fn run(
    pen: &Pen,
    gathering: &Gathering,
    mut logged: Head,
    interval: Duration,
    waited: bool,
) -> Option<Head> {
    let _end = Abandon(gathering);
    let interval = interval.max(Duration::from_millis(1));
    let mut due = Instant::now() + interval;
    loop {
        let rounds = match gathering.next(due, waited) {
            Found::Rounds(rounds) => rounds,
            Found::Nothing => Vec::new(),
            Found::End(rounds) => {
                handle(pen, rounds, gathering);
                return pen.end();
            }
        };
        handle(pen, rounds, gathering);
        if Instant::now() >= due {
            due = Instant::now() + interval;
            logged = pen.with(|writer| {
                if logged != writer.head() {
                    writer.log_head();
                }
                writer.head()
            })?;
        }
    }
}

/// Writes what was gathered, and tells whoever waits for it.
fn handle(pen: &Pen, rounds: Vec<Round>, gathering: &Gathering) {
    if rounds.is_empty() {
        return;
    }
    // Without a pen whoever waits is told by the end of its round.
    let Some(written) = pen.write_all(&rounds) else {
        return;
    };
    for round in rounds {
        let lines = round.lines.len();
        gathering.gone(lines);
        if written.is_err() && !round.is_waited_for() {
            pen.with(|writer| writer.lose(lines));
        }
        round.done(written.clone());
    }
}

/// Lets nobody wait for a thread that is gone.
struct Abandon<'a>(&'a Gathering);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
