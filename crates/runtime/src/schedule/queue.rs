//! The requests that wait, and which of them run next. Knows no threads and no clock of its own.
//!
//! Requests that are alike form a group, and groups stand in the line where their first request
//! stands. Nothing here looks through all that waits: however many different requests callers
//! send, each costs a few look-ups.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::job::{Job, Kind};
use super::pace::{Paced, Work};

/// Where a request stands: by its priority, then by when it came.
type Place = (usize, u64);

/// Requests that wait, by priority and then by when they came.
#[derive(Default)]
pub(super) struct Queue {
    /// By the id of the request that each began with.
    groups: HashMap<u64, Group>,
    /// The groups that further requests may join.
    kinds: HashMap<Kind, u64>,
    /// Of every request, its place and its group.
    requests: HashMap<u64, (Place, u64)>,
    /// The places of all requests.
    line: BTreeSet<Place>,
    /// Groups that run as soon as an instance is idle, by the place of their first request.
    ready: BTreeMap<Place, u64>,
    /// Groups that wait for others to join them, by the moment until which they do.
    waiting: BTreeMap<(Instant, Place), u64>,
    /// Those of the waiting whose model is adaptive.
    eager: BTreeMap<Place, u64>,
    /// The groups whose last run has room, by when that is expected to begin.
    open: BTreeSet<(Instant, u64)>,
    /// What waits of each version that has something wait: mostly one, and few at any time.
    versions: Vec<Version>,
}

/// What waits of a version.
struct Version {
    paced: Arc<Paced>,
    /// Of each priority, what waits at it and above.
    ahead: ByLevel<Ahead>,
}

/// Requests that may share a batch; or one that runs alone.
struct Group {
    kind: Option<Kind>,
    jobs: BTreeMap<Place, Job>,
    /// The moments until which its requests wait for others.
    waits: BTreeSet<(Instant, u64)>,
    /// Rows of all of them.
    rows: u64,
    /// Most rows of a run.
    most: u64,
    /// Of each priority, how much of runs the requests at it and above fill.
    fills: ByLevel<u64>,
    open: Open,
    /// Where it is filed: in `ready`, or in `waiting` until that moment.
    filed: Option<(Place, Option<Instant>)>,
}

/// The last run of a group, which further requests may join.
struct Open {
    /// How much of it is filled.
    filled: u64,
    /// When it was expected to begin, as its first request came.
    begins: Instant,
}

/// What waits before somebody.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ahead {
    /// Runs, where each is as full as what waits can make it: requests that are not alike share
    /// none, however few rows they have.
    pub(super) runs: u64,
    /// Rows of those runs.
    pub(super) rows: u64,
}

/// A figure for each priority, of what waits at it and above. There are few priorities.
#[derive(Default)]
struct ByLevel<T>(Vec<T>);

impl<T: Copy + Default> ByLevel<T> {
    /// What waits at this priority and above; beyond the lowest in use, everything.
    fn at(&self, level: usize) -> T {
        let found = self.0.get(level).or(self.0.last());
        found.copied().unwrap_or_default()
    }

    /// Those of this priority and below, down to `lowest`.
    fn downwards(&mut self, level: usize, lowest: usize) -> impl Iterator<Item = &mut T> {
        let so_far = self.at(usize::MAX);
        let length = self.0.len().max(lowest.max(level) + 1);
        self.0.resize(length, so_far);
        self.0.iter_mut().skip(level)
    }
}

/// What an instance that asks for something to run knows beside what waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    /// How many requests run now.
    pub(super) running: usize,
    /// Whether it has just finished a run: what waits has gathered behind it.
    pub(super) was_busy: bool,
}

/// What an idle instance is to do.
pub(super) enum Next {
    /// Run these: one, or several that are alike.
    Run(Vec<Job>),
    /// Ask again at this moment; until then others may join what waits.
    Wait(Instant),
    /// Nothing waits.
    Nothing,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Lets a request in; `kind` is its own. Later ones have greater ids. Where no run that waits
    /// has room for it, its own is expected to begin at this moment.
    pub(super) fn push(&mut self, job: Job, kind: Option<Kind>, begins: Instant) {
        let (id, place) = (job.id, (job.level, job.id));
        let known = kind.as_ref().and_then(|kind| self.kinds.get(kind)).copied();
        let number = known.unwrap_or(id);
        self.unfile(number);
        if let (None, Some(kind)) = (known, &kind) {
            self.kinds.insert(kind.clone(), number);
        }
        let most = most(&job);
        let group = self.groups.entry(number).or_insert_with(|| Group {
            kind,
            jobs: BTreeMap::new(),
            waits: BTreeSet::new(),
            rows: 0,
            most,
            fills: ByLevel::default(),
            open: Open { filled: 0, begins },
            filed: None,
        });
        group.rows += job.rows.unwrap_or(0);
        group.join(fill(&job), begins);
        self.count(number, &job, true);
        let Some(group) = self.groups.get_mut(&number) else {
            return;
        };
        group.waits.extend(job.waits().map(|until| (until, id)));
        group.jobs.insert(place, job);
        self.requests.insert(id, (place, number));
        self.line.insert(place);
        self.file(number);
    }

    /// Takes out the request of a caller who has left.
    pub(super) fn remove(&mut self, id: u64) -> Option<Job> {
        let (place, number) = self.requests.get(&id).copied()?;
        self.unfile(number);
        let job = self.pull(number, place);
        self.file(number);
        job
    }

    /// The priority of the last one in the line.
    pub(super) fn last_level(&self) -> Option<usize> {
        self.line.last().map(|(level, _)| *level)
    }

    /// Takes out the last one in the line.
    pub(super) fn take_last(&mut self) -> Option<Job> {
        let (_, id) = self.line.last()?;
        self.remove(*id)
    }

    /// How many runs wait at this priority and above.
    pub(super) fn runs(&self, level: usize) -> u64 {
        self.ahead(level).map(|(_, ahead)| ahead.runs).sum()
    }

    /// What waits at this priority and above, at the pace of each version.
    pub(super) fn work(&self, level: usize) -> Work {
        let work = |(paced, ahead): (&Arc<Paced>, Ahead)| paced.pace().all(ahead);
        self.ahead(level).map(work).sum()
    }

    /// What waits of each version at this priority and above.
    fn ahead(&self, level: usize) -> impl Iterator<Item = (&Arc<Paced>, Ahead)> {
        let versions = self.versions.iter();
        versions.map(move |version| (&version.paced, version.ahead.at(level)))
    }

    /// How many priorities are to be told apart: those below have the same ahead of them.
    pub(super) fn levels(&self) -> usize {
        let levels = self.versions.iter().map(|version| version.ahead.0.len());
        levels.max().unwrap_or(1)
    }

    /// When the first of the runs that further requests may join is expected to begin.
    pub(super) fn soonest(&self) -> Option<Instant> {
        self.open.first().map(|(begins, _)| *begins)
    }

    /// When the run is expected to begin that a request would join, if one that waits has room.
    pub(super) fn joins(&self, job: &Job, kind: &Kind) -> Option<Instant> {
        let group = self.groups.get(self.kinds.get(kind)?)?;
        let room = group.open.filled + fill(job) <= group.most;
        room.then_some(group.open.begins)
    }

    /// Counts a request of a group in, or out.
    fn count(&mut self, number: u64, job: &Job, comes: bool) {
        let Some(group) = self.groups.get_mut(&number) else {
            return;
        };
        let paced = &job.runnable.paced;
        let known = |version: &Version| Arc::ptr_eq(&version.paced, paced);
        let place = self.versions.iter().position(known);
        let place = place.unwrap_or(self.versions.len());
        if place == self.versions.len() {
            self.versions.push(Version {
                paced: Arc::clone(paced),
                ahead: ByLevel::default(),
            });
        }
        let Some(Version { ahead, .. }) = self.versions.get_mut(place) else {
            return;
        };
        let lowest = ahead.0.len().saturating_sub(1);
        let fills = group.fills.downwards(job.level, lowest);
        let levels = ahead.downwards(job.level, lowest);
        let (fill, size) = (fill(job), job.size());
        for (filled, ahead) in fills.zip(levels) {
            let before = filled.div_ceil(group.most);
            if comes {
                *filled += fill;
                ahead.rows += size;
            } else {
                *filled -= fill;
                ahead.rows -= size;
            }
            ahead.runs = ahead.runs + filled.div_ceil(group.most) - before;
        }
        if ahead.at(usize::MAX).runs == 0 {
            self.versions.swap_remove(place);
        }
    }

    /// What to run next.
    pub(super) fn next(&mut self, now: Instant, asking: Asking) -> Next {
        self.ripen(now);
        // An adaptive model does not wait for others where there are none, or nothing to gain.
        let alone = asking.running + self.len() <= 1;
        let group = |number| self.groups.get(number);
        let eager = self.eager.first_key_value();
        let eager =
            eager.filter(|(_, number)| alone || !group(number).is_some_and(Group::is_worth));
        let ready = self.ready.first_key_value();
        let first = ready.into_iter().chain(eager).min();
        match first.map(|(_, number)| *number) {
            Some(number) => Next::Run(self.take(number, asking)),
            None => match self.waiting.first_key_value() {
                Some(((at, _), _)) => Next::Wait(*at),
                None => Next::Nothing,
            },
        }
    }

    /// Those whose time is over wait no longer.
    fn ripen(&mut self, now: Instant) {
        while let Some(first) = self.waiting.first_entry() {
            let (at, place) = *first.key();
            if at > now {
                return;
            }
            let number = first.remove();
            self.eager.remove(&place);
            self.ready.insert(place, number);
            if let Some(group) = self.groups.get_mut(&number) {
                group.filed = Some((place, None));
            }
        }
    }

    /// Takes the first requests of a group out, as many as make its next run.
    fn take(&mut self, number: u64, asking: Asking) -> Vec<Job> {
        self.unfile(number);
        let group = self.groups.get(&number);
        let most = group.map_or(0, |group| group.next(asking));
        let (mut rows, mut taken) = (0, Vec::new());
        while let Some((place, job)) = self.groups.get(&number).and_then(Group::first) {
            rows += job.rows.unwrap_or(0);
            if rows > most && !taken.is_empty() {
                break;
            }
            taken.extend(self.pull(number, place));
        }
        self.file(number);
        taken
    }

    /// Takes one request out of its group.
    fn pull(&mut self, number: u64, place: Place) -> Option<Job> {
        let group = self.groups.get_mut(&number)?;
        let job = group.jobs.remove(&place)?;
        if let Some(until) = job.waits() {
            group.waits.remove(&(until, job.id));
        }
        group.rows -= job.rows.unwrap_or(0);
        self.requests.remove(&job.id);
        self.line.remove(&place);
        self.count(number, &job, false);
        Some(job)
    }

    /// Files a group where it belongs now; one without requests is no more.
    fn file(&mut self, number: u64) {
        let Some(group) = self.groups.get_mut(&number) else {
            return;
        };
        let Some((place, first)) = group.first() else {
            if let Some(kind) = self.groups.remove(&number).and_then(|group| group.kind) {
                self.kinds.remove(&kind);
            }
            return;
        };
        if let Some(begins) = group.has_room() {
            self.open.insert((begins, number));
        }
        let until = group.until(first);
        let adaptive = first.runnable.gathers.as_ref().is_some_and(|b| b.adaptive);
        group.filed = Some((place, until));
        match until {
            None => {
                self.ready.insert(place, number);
            }
            Some(at) => {
                self.waiting.insert((at, place), number);
                if adaptive {
                    self.eager.insert(place, number);
                }
            }
        }
    }

    /// Takes a group from where it is filed, before its requests change.
    fn unfile(&mut self, number: u64) {
        let Some(group) = self.groups.get_mut(&number) else {
            return;
        };
        if let Some(begins) = group.has_room() {
            self.open.remove(&(begins, number));
        }
        match group.filed.take() {
            None => {}
            Some((place, None)) => {
                self.ready.remove(&place);
            }
            Some((place, Some(at))) => {
                self.waiting.remove(&(at, place));
                self.eager.remove(&place);
            }
        }
    }
}

impl Group {
    /// A request comes to the last run, or opens a further one where that has no room.
    fn join(&mut self, fill: u64, begins: Instant) {
        if self.jobs.is_empty() || self.open.filled + fill > self.most {
            self.open = Open { filled: 0, begins };
        }
        self.open.filled += fill;
    }

    fn first(&self) -> Option<(Place, &Job)> {
        self.jobs
            .first_key_value()
            .map(|(place, job)| (*place, job))
    }

    /// Whether its requests are better run as one, as their version has run of late.
    fn is_worth(&self) -> bool {
        let first = self.first();
        first.is_some_and(|(_, first)| first.runnable.gathers_now())
    }

    /// When the last run is expected to begin, where it has room for the smallest request.
    fn has_room(&self) -> Option<Instant> {
        let room = self.kind.is_some() && self.open.filled < self.most;
        room.then_some(self.open.begins)
    }

    /// Until when it waits for others to join; `None` where it does not: it is full, has a
    /// preferred size, or is one that runs alone. No longer than the first of its requests does
    /// whose time is over, which need not be the first in the line.
    fn until(&self, first: &Job) -> Option<Instant> {
        let batching = first.runnable.gathers.as_ref()?;
        first.rows?;
        let preferred = batching.preferred_batch_sizes.iter();
        let enough = preferred.copied().min().unwrap_or(u64::MAX);
        let full = self.rows >= batching.max_batch_size.min(enough);
        if full {
            return None;
        }
        self.waits.first().map(|(until, _)| *until)
    }

    /// Most rows of its next run; a request that alone has more runs alone.
    fn next(&self, asking: Asking) -> u64 {
        let batching = self.first().and_then(|(_, first)| {
            first.rows?;
            first.runnable.gathers.as_ref()
        });
        let Some(batching) = batching else {
            return 0;
        };
        if !self.is_worth() {
            return 0;
        }
        let most = batching.max_batch_size;
        if asking.was_busy {
            return most;
        }
        let sizes = batching.preferred_batch_sizes.iter().copied();
        match sizes.filter(|size| *size <= self.rows).max() {
            Some(size) if self.rows < most => size,
            _ => most,
        }
    }
}

/// Most rows of a run that a request is in; 1 for one that runs alone.
fn most(job: &Job) -> u64 {
    match (job.rows, &job.runnable.gathers) {
        (Some(_), Some(batching)) => batching.max_batch_size.max(1),
        _ => 1,
    }
}

/// How much of a run a request fills: its rows, and all of it where no second one of its size
/// fits.
fn fill(job: &Job) -> u64 {
    let most = most(job);
    match job.rows {
        Some(rows) if rows <= most / 2 => rows,
        _ => most,
    }
}

#[cfg(test)]
mod tests;
