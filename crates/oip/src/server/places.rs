//! Places for connections: those of a limit, and a few beside them so that who finds no place is
//! answered at once, and probes always.

use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oip_protocol::Limit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::crowd::{Crowd, Member};
use super::life::Life;

/// How many connections beyond the limit are told that there is no place, at once.
pub(super) const SPARE: usize = 64;
/// Places at an address that is for `/metrics` alone.
pub(super) const FOR_METRICS: usize = 32;

/// How often somebody is looked for who makes room, while none was found.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(100);
/// How long a connection that was told to make room may take for it before its place is given up.
/// It needs nobody's help for it, and takes longer only where the machine is busy.
const LEAVING: Duration = Duration::from_millis(20);

/// So many places, and who has them. Clones are the same.
#[derive(Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    crowd: Crowd,
}

/// A place that is taken, until it is dropped.
pub(super) struct Place {
    of: Places,
    permit: OwnedSemaphorePermit,
}

/// A connection at its place, until it is dropped.
pub(super) struct Seat {
    _member: Member,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))),
            crowd: Crowd::default(),
        }
    }

    pub(super) fn try_take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.place(permit))
    }

    fn place(&self, permit: OwnedSemaphorePermit) -> Place {
        Place {
            of: self.clone(),
            permit,
        }
    }

    async fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(self.place(permit))
    }

    /// Has whoever has rested longest leave. Whether there was one.
    pub(super) fn make_room(&self) -> bool {
        self.crowd.make_room()
    }
}

impl Place {
    /// Sits the connection down.
    pub(super) fn seat(self, life: &Arc<Life>) -> Seat {
        Seat {
            _member: self.of.crowd.join(Arc::clone(life)),
            _permit: self.permit,
        }
    }
}

/// The places behind one listener.
#[derive(Clone)]
pub(super) struct Seating {
    places: Places,
    spare: Option<Places>,
}

/// A place that was found.
pub(super) enum Found {
    /// One of the limit.
    Place(Place),
    /// One beside them.
    Spare(Place),
}

impl Seating {
    pub(super) fn new(places: Places, spare: Option<Places>) -> Self {
        Self { places, spare }
    }

    /// A place, if there is one now.
    pub(super) fn try_find(&self) -> Option<Found> {
        let spare = || self.spare.as_ref()?.try_take().map(Found::Spare);
        self.places.try_take().map(Found::Place).or_else(spare)
    }

    /// A place: one of the limit, where need be that of whoever has rested longest; where none
    /// rests, a spare one. `None` when there are no places any more.
    pub(super) async fn find(&self) -> Option<Found> {
        if let Some(place) = self.places.try_take() {
            return Some(Found::Place(place));
        }
        Limit::Connections.reached();
        let mut own = pin!(self.places.take());
        loop {
            if self.places.make_room()
                && let Ok(place) = tokio::time::timeout(LEAVING, own.as_mut()).await
            {
                return place.map(Found::Place);
            }
            if let Some(place) = self.spare.as_ref().and_then(Places::try_take) {
                return Some(Found::Spare(place));
            }
            let leaves = self.spare.as_ref().is_some_and(Places::make_room);
            let a_while = if leaves { LEAVING } else { LOOK_FOR_ROOM };
            tokio::select! {
                biased;
                place = own.as_mut() => return place.map(Found::Place),
                place = self.spare_place() => return place.map(Found::Spare),
                () = tokio::time::sleep(a_while) => {}
            }
        }
    }

    /// A place beside those of the limit, once there is one.
    async fn spare_place(&self) -> Option<Place> {
        match &self.spare {
            Some(spare) => spare.take().await,
            None => pending().await,
        }
    }

    /// Has somebody leave who rests, wherever he sits.
    pub(super) fn make_room(&self) {
        if !self.places.make_room()
            && let Some(spare) = &self.spare
        {
            spare.make_room();
        }
    }

    /// The seat of a connection at a place that was found, and what it is told there, where that
    /// is not what the doors say.
    pub(super) fn seat(&self, found: Found, life: &Arc<Life>) -> (Option<Seat>, Option<Spare>) {
        match found {
            Found::Place(place) => (Some(place.seat(life)), None),
            Found::Spare(place) => {
                let spare = Spare {
                    places: self.places.clone(),
                    seat: Mutex::new((place.seat(life), false)),
                };
                (None, Some(spare))
            }
        }
    }
}

/// The seat of a connection that found no place. It moves to one where one is free when its
/// request comes.
pub(super) struct Spare {
    places: Places,
    /// And whether it is one of the limit by now.
    seat: Mutex<(Seat, bool)>,
}

impl Spare {
    /// Whether the connection has a place of the limit now.
    pub(super) fn moves(&self, life: &Arc<Life>) -> bool {
        let mut seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        if !seat.1
            && let Some(place) = self.places.try_take()
        {
            *seat = (place.seat(life), true);
        }
        seat.1
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::server::ConnectionLimits;

    fn life() -> Arc<Life> {
        Arc::new(Life::new(Arc::new(ConnectionLimits::default())))
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_has_a_spare_seat_and_moves_when_a_place_is_free() {
        let seating = Seating::new(Places::new(1), Some(Places::new(1)));
        let (first, second) = (life(), life());
        let found = seating.find().await.unwrap();
        let (seat, spare) = seating.seat(found, &first);
        assert!(seat.is_some() && spare.is_none());
        let busy = first.begin(Version::HTTP_11);
        let found = seating.find().await.unwrap();
        let (none, spare) = seating.seat(found, &second);
        assert!(none.is_none());
        let spare = spare.unwrap();
        assert!(!spare.moves(&second));
        drop((busy, seat));
        assert!(spare.moves(&second));
        assert!(seating.places.try_take().is_none(), "it has the place");
        assert!(matches!(seating.find().await, Some(Found::Spare(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_on_a_spare_seat_makes_room_for_the_next_and_no_other() {
        let seating = Seating::new(Places::new(1), Some(Places::new(1)));
        let (served, silent) = (life(), life());
        let (_seat, _) = seating.seat(seating.find().await.unwrap(), &served);
        let _busy = served.begin(Version::HTTP_11);
        let (_, held) = seating.seat(seating.find().await.unwrap(), &silent);
        let next = tokio::time::timeout(Duration::from_secs(2), seating.find()).await;
        assert!(next.is_err(), "nobody has left");
        assert!(silent.is_wanted() && !served.is_wanted());
        drop(held);
        assert!(matches!(seating.find().await, Some(Found::Spare(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_taken_in_the_moment_in_which_whoever_was_told_to_leave_does() {
        for spares in [None, Some(Places::new(1))] {
            let (places, silent) = (Places::new(1), life());
            let seating = Seating::new(places.clone(), spares.clone());
            let busy = life();
            let _busy = spares.is_some().then(|| {
                let seat = places.try_take().unwrap().seat(&busy);
                (seat, busy.begin(Version::HTTP_11))
            });
            let sits = seating.seat(seating.find().await.unwrap(), &silent);
            tokio::time::advance(Duration::from_secs(1)).await;
            let begun = tokio::time::Instant::now();
            let leaves = async {
                while !silent.is_wanted() {
                    tokio::task::yield_now().await;
                }
                drop(sits);
            };
            let (found, ()) = tokio::join!(seating.find(), leaves);
            assert_eq!(matches!(found, Some(Found::Spare(_))), spares.is_some());
            assert_eq!(tokio::time::Instant::now(), begun, "it waited");
        }
    }
}
