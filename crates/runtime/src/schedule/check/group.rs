//! The requests that the check of batching runs: alike, different, and few enough rows that two of
//! them share a batch. A batch of one request would be equal to the request alone whatever the
//! model does, and so would one of rows that are all the same for many that mix their rows.

use oip_protocol::{Error, Result, Shape, Tensor, TensorMetadata};

use super::Reason;
use crate::engine::made::{make, open_as};
use crate::model::Model;
use crate::schedule::merge::{merge, rows_of, trailing};
use crate::schedule::split::split;
use crate::settings::Fill;

/// How many requests of one row are made up.
const MADE: u64 = 7;
/// How often rows are made up until two differ: an integer of one element is 0 or 1.
const MOST_SEEDS: u64 = 64;

/// Requests that are alike and may share a batch.
pub(super) struct Group {
    /// Those with the fewest rows first, none of them twice.
    requests: Vec<Request>,
    /// The two with the fewest rows that differ.
    pair: [usize; 2],
    /// Most rows of a batch.
    most: u64,
}

/// One request of a group.
pub(super) struct Request {
    /// In the model's order.
    pub(super) inputs: Vec<Tensor>,
    pub(super) rows: u64,
}

/// The groups of the requests that are written down, with made-up ones where no two of a group
/// differ and fit into a batch of `most` rows; without any that may be gathered, one group that is
/// made up.
///
/// # Errors
/// Why there are no two requests that could share a batch.
pub(super) fn groups(
    model: &dyn Model,
    most: u64,
    written: &[Vec<Tensor>],
) -> std::result::Result<Vec<Group>, Reason> {
    let mut alike: Vec<Vec<Request>> = Vec::new();
    for inputs in written {
        let Some(request) = Request::gathered(inputs, most) else {
            continue;
        };
        match alike.iter_mut().find(|group| request.is_like(group)) {
            Some(group) if group.iter().any(|other| other.inputs == request.inputs) => {}
            Some(group) => group.push(request),
            None => alike.push(vec![request]),
        }
    }
    if alike.is_empty() {
        alike.push(Vec::new());
    }
    alike
        .into_iter()
        .map(|requests| Group::of(model, most, requests))
        .collect()
}

impl Request {
    /// A request that may be gathered; `None` where it runs alone.
    fn gathered(inputs: &[Tensor], most: u64) -> Option<Self> {
        let rows = inputs.first().and_then(rows_of)?;
        let even = inputs.iter().all(|input| rows_of(input) == Some(rows));
        (even && (1..=most).contains(&rows)).then(|| Self {
            inputs: inputs.to_vec(),
            rows,
        })
    }

    fn is_like(&self, group: &[Self]) -> bool {
        group.first().is_some_and(|first| {
            let mut pairs = first.inputs.iter().zip(&self.inputs);
            pairs.all(|(a, b)| a.name() == b.name() && trailing(a) == trailing(b))
        })
    }
}

/// Whether two requests have between them more than one and the same row.
fn differ(one: &Request, other: &Request) -> bool {
    let ones: Vec<u64> = (0..one.rows + other.rows).map(|_| 1).collect();
    let rows = merge(&[&one.inputs, &other.inputs]).and_then(|both| split(&both, &ones));
    let rows = rows.unwrap_or_default();
    rows.iter().any(|row| Some(row) != rows.first())
}

impl Group {
    fn of(
        model: &dyn Model,
        most: u64,
        mut requests: Vec<Request>,
    ) -> std::result::Result<Self, Reason> {
        requests.sort_by_key(|request| request.rows);
        let pair = match pair(&requests, most) {
            Some(pair) => Some(pair),
            None => {
                let like = requests.first().map(|request| request.inputs.clone());
                let made = made_up(model, most, like.as_deref())
                    .map_err(|error| format!("no request can be made up: {error}"))?;
                requests.extend(made);
                requests.sort_by_key(|request| request.rows);
                pair(&requests, most)
            }
        };
        let pair = pair.ok_or_else(|| {
            format!(
                "no two different requests can be made up for its check; write down in [[warmup]] \
                 two that have {most} rows together at most"
            )
        })?;
        Ok(Self {
            requests,
            pair,
            most,
        })
    }

    /// All of them.
    pub(super) fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// The batches of the check, as places in [`requests`](Self::requests): two that differ, then
    /// those and as many more as fit. Large ones come first, as small ones fill what they leave.
    pub(super) fn batches(&self) -> [Vec<usize>; 2] {
        let rows = |place: &usize| self.requests.get(*place).map_or(0, |request| request.rows);
        let mut full = self.pair.to_vec();
        let mut room = self.most.saturating_sub(full.iter().map(rows).sum());
        loop {
            let before = full.len();
            for place in (0..self.requests.len()).rev() {
                let more = rows(&place);
                if more <= room {
                    full.push(place);
                    room -= more;
                }
            }
            if full.len() == before {
                return [self.pair.to_vec(), full];
            }
        }
    }
}

/// The two requests with the fewest rows that differ, if they fit into one batch. They stand with
/// the fewest rows first, and the very first is one of the two: whatever differs from another
/// differs from the first or is what the other differs from.
fn pair(requests: &[Request], most: u64) -> Option<[usize; 2]> {
    let (first, others) = requests.split_first()?;
    let fit = |other: &Request| first.rows + other.rows <= most;
    let other = others
        .iter()
        .take_while(|other| fit(other))
        .position(|other| differ(first, other))?;
    Some([0, other + 1])
}

/// Requests of one row, two different ones where such can be made, and one of two; with the
/// trailing dimensions of `like` where it is there.
fn made_up(model: &dyn Model, most: u64, like: Option<&[Tensor]>) -> Result<Vec<Request>> {
    let request = |rows: u64, seed: u64| -> Result<Request> {
        let of_input = |declared: &TensorMetadata| {
            let like = like.and_then(|like| like.iter().find(|t| t.name() == declared.name));
            let shape = match like {
                None => open_as(declared, rows),
                Some(like) => Shape::new([&[rows], trailing(like)].concat()),
            };
            make(declared, shape, Fill::Random, seed)
        };
        let inputs: Result<_, Error> = model.inputs().iter().map(of_input).collect();
        Ok(Request {
            inputs: inputs?,
            rows,
        })
    };
    let mut made: Vec<Request> = Vec::new();
    let alike = |made: &[Request]| match made.split_first() {
        Some((first, others)) => !others.iter().any(|other| differ(first, other)),
        None => true,
    };
    for seed in 1..=MOST_SEEDS {
        if seed > MADE && !alike(&made) {
            break;
        }
        made.push(request(1, seed)?);
    }
    if most > 2 {
        made.push(request(2, MOST_SEEDS + 1)?);
    }
    Ok(made)
}
