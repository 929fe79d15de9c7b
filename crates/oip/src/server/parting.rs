//! How a connection parts when the server stops.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::drain::Stage;
use super::life::Life;

/// How long a connection that rests is kept when the server stops. A request that was sent when
/// its client could not know of the stop yet is answered.
pub(super) const LINGER: Duration = Duration::from_millis(250);

/// How long a connection that was told to end, and has nothing in flight, may take for it. With
/// HTTP/2 it ends when its client has answered, and a client that is gone never does.
const GONE: Duration = Duration::from_millis(500);

/// How far a connection is with that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// The server does not stop.
    Stays,
    /// It is about to be told.
    Lingers,
    /// It was told, and ends when nothing is in flight.
    Told,
}

/// What is to be done with it now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// It is told to end.
    Tell,
    /// It is cut.
    Cut,
}

impl Parting {
    /// What is to be done at this stage. `timer` wakes the caller when it has to look again.
    pub(super) fn look(
        &mut self,
        stage: Stage,
        life: &Life,
        mut timer: Pin<&mut Sleep>,
        context: &mut Context<'_>,
    ) -> Step {
        match (stage, *self) {
            (Stage::Over, _) => return Step::Cut,
            (Stage::Serving, _) => return Step::Wait,
            (Stage::Begun, Self::Stays) => {
                *self = Self::Lingers;
                life.close();
                // HTTP/2 tells its client, who sends again what was not looked at.
                let wait = match life.is_multiplexed() {
                    true => Duration::ZERO,
                    false => LINGER,
                };
                timer.as_mut().reset(Instant::now() + wait);
            }
            (Stage::Begun, Self::Lingers | Self::Told) => {}
        }
        while timer.as_mut().poll(context).is_ready() {
            match *self {
                // A request of which a part has come is answered, like one in flight.
                _ if life.reads_a_head() => return Step::Wait,
                Self::Told if life.has_rested_for(GONE) => return Step::Cut,
                Self::Told => timer.as_mut().reset(Instant::now() + GONE),
                Self::Stays | Self::Lingers => {
                    *self = Self::Told;
                    timer.as_mut().reset(Instant::now() + GONE);
                    return Step::Tell;
                }
            }
        }
        Step::Wait
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Waker;

    use http::Version;

    use super::*;
    use crate::server::ConnectionLimits;

    fn life() -> Arc<Life> {
        Arc::new(Life::new(Arc::new(ConnectionLimits::default())))
    }

    async fn pass(milliseconds: u64) {
        tokio::time::advance(Duration::from_millis(milliseconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_rests_and_does_not_end_when_told_is_cut_and_who_is_served_is_not() {
        let (resting, served) = (life(), life());
        drop(resting.begin(Version::HTTP_2));
        let held = served.begin(Version::HTTP_2);
        for (life, rests) in [(&resting, true), (&served, false)] {
            let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
            let mut context = Context::from_waker(Waker::noop());
            let mut parting = Parting::Stays;
            let mut look = |stage| parting.look(stage, life, timer.as_mut(), &mut context);
            assert_eq!(look(Stage::Serving), Step::Wait);
            assert_eq!(look(Stage::Begun), Step::Tell);
            pass(400).await;
            assert_eq!(look(Stage::Begun), Step::Wait);
            pass(110).await;
            assert_eq!(
                look(Stage::Begun),
                if rests { Step::Cut } else { Step::Wait }
            );
            pass(5000).await;
            assert_eq!(
                look(Stage::Begun),
                if rests { Step::Cut } else { Step::Wait }
            );
            assert_eq!(look(Stage::Over), Step::Cut);
        }
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_its_client_has_not_taken_is_waited_for() {
        let life = life();
        drop(life.begin(Version::HTTP_2));
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut context = Context::from_waker(Waker::noop());
        let mut parting = Parting::Stays;
        let mut look = || parting.look(Stage::Begun, &life, timer.as_mut(), &mut context);
        assert_eq!(look(), Step::Tell);
        let owed = life.owes();
        pass(2000).await;
        assert_eq!(look(), Step::Wait);
        life.taken(owed);
        life.written(true);
        pass(2000).await;
        assert_eq!(look(), Step::Wait);
        life.written(false);
        pass(600).await;
        assert_eq!(look(), Step::Cut);
    }
}
