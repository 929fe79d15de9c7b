//! Many callers at once, of all kinds: nothing is lost, nothing is mixed up, nothing hangs.

use std::sync::atomic::AtomicUsize;

use super::*;

/// What one caller does next.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % sides
    }
}

#[derive(Default)]
struct Counts {
    answered: AtomicUsize,
    refused: AtomicUsize,
    left: AtomicUsize,
}

const CALLERS: u64 = 24;
const ASKS: u64 = 60;

async fn caller(dataplane: Arc<Dataplane>, number: u64, counts: Arc<Counts>) {
    let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for ask_number in 0..ASKS {
        // Numbers that no other request has.
        let base = ((number * ASKS + ask_number) * 16 + 16) as i64;
        let (count, width) = (dice.roll(5), 1 + dice.roll(2) as usize);
        let mut firsts: Vec<i64> = (0..count as i64).map(|row| base + row).collect();
        let bad = match dice.roll(12) {
            0 => Some((POISON, ErrorKind::DoesNotFit)),
            1 => Some((BOMB, ErrorKind::HandlerFailed)),
            _ => None,
        };
        if let (Some((bad, _)), Some(first)) = (bad, firsts.first_mut()) {
            *first = bad;
        }
        let bad = bad.filter(|_| count > 0);
        let request = InferRequest::new([rows(&firsts, width)]);
        let patience = match dice.roll(6) {
            0 => Duration::from_micros(dice.roll(3000)),
            _ => Duration::from_secs(30),
        };
        let asked = ask(&dataplane, request, None);
        match tokio::time::timeout(patience, asked).await {
            Err(_) => {
                assert!(patience < Duration::from_secs(1), "a request hangs");
                counts.left.fetch_add(1, SeqCst);
            }
            Ok(Ok(answer)) => {
                assert_eq!(bad, None);
                let expected = firsts.iter().flat_map(|x| vec![x * 2; width]);
                assert_eq!(answer, expected.collect::<Vec<i64>>());
                counts.answered.fetch_add(1, SeqCst);
            }
            Ok(Err(error)) => {
                assert_eq!(Some(error.kind()), bad.map(|(_, kind)| kind), "{error}");
                counts.refused.fetch_add(1, SeqCst);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_request_of_many_gets_its_own_rows_or_its_own_error() {
    // Bombs panic by the hundred; their messages would bury the others.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.to_string().contains("a row is a bomb") {
            before(info);
        }
    }));
    for (delay, adaptive, instances) in [(0, true, 2), (300, true, 1), (200, false, 3)] {
        let gathers = Batching {
            max_queue_delay: Duration::from_micros(delay),
            adaptive,
            preferred_batch_sizes: if instances == 3 { vec![4] } else { vec![] },
            ..batching(8)
        };
        let many = Limits {
            instances,
            ..limits()
        };
        let lab = Lab::of(
            Fake::taking(Duration::from_micros(100)),
            Some(gathers),
            many,
        );
        let counts = Arc::<Counts>::default();
        let mut callers = tokio::task::JoinSet::new();
        for number in 0..CALLERS {
            let dataplane = Arc::clone(&lab.dataplane);
            callers.spawn(caller(dataplane, number, Arc::clone(&counts)));
        }
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
        let of = |count: &AtomicUsize| count.load(SeqCst) as u64;
        let (answered, refused, left) =
            (of(&counts.answered), of(&counts.refused), of(&counts.left));
        assert_eq!(answered + refused + left, CALLERS * ASKS);
        assert!(answered > CALLERS * ASKS / 2 && refused > 50 && left > 10);
        assert!(
            lab.model.sizes().iter().any(|rows| *rows > 4),
            "no batch was made"
        );
        assert_eq!(lab.schedule.waiting(), 0);
    }
}
