//! How often each model was asked and how long it took: recorded once per inference, at the end
//! of the pipeline, whatever happened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oip_protocol::{BatchStatistics, ModelRef, ModelStatistics, RepositoryEntry};

use crate::call::{Part, Timings};
use crate::telemetry::ModelFigures;

/// The statistics of every model that was asked.
#[derive(Debug)]
pub struct Statistics {
    models: RwLock<Known>,
    most: usize,
}

/// By name and then by version, so that a model is found without making a key of both.
#[derive(Debug, Default)]
struct Known {
    by_name: HashMap<String, Vec<Version>, Seeded>,
    /// How many versions there are that callers chose.
    chosen: usize,
    /// Whether it was said that there is no room for more of these.
    warned: bool,
}

/// Quicker than the hashes of the standard library, with a seed of its own as these.
type Seeded = foldhash::fast::RandomState;

#[derive(Debug)]
struct Version {
    version: Option<String>,
    /// Whether the server has it of itself; else a caller chose it.
    listed: bool,
    figures: Arc<Mutex<ModelFigures>>,
}

/// How long the figures of a version are kept that is not listed any more, so that whoever reads
/// them now and then sees the last of them.
const REMEMBERED: Duration = Duration::from_secs(600);

impl Known {
    fn get(&self, name: &str, version: Option<&str>) -> Option<Arc<Mutex<ModelFigures>>> {
        let versions = self.by_name.get(name)?;
        let found = versions
            .iter()
            .find(|known| known.version.as_deref() == version);
        found.map(|found| Arc::clone(&found.figures))
    }

    /// Whether one more name or version may be kept. Says so once where it may not.
    fn has_room(&mut self, listed: bool, most: usize) -> bool {
        if listed {
            return true;
        }
        if self.chosen < most {
            self.chosen += 1;
            return true;
        }
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                most,
                "callers have named as many models and versions as statistics are kept for; \
                 inferences of further ones are not measured"
            );
        }
        false
    }
}

/// One inference that has ended.
pub(crate) struct Ended<'a> {
    /// When it has.
    pub(crate) now: Instant,
    /// How long it took from decoded request to answer.
    pub(crate) took: Duration,
    /// How long its parts took.
    pub(crate) timings: &'a Timings,
    /// Its own batch size; `None` when it failed.
    pub(crate) batch: Option<u64>,
}

impl Statistics {
    /// Nothing yet, and room for this many model versions.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            models: RwLock::default(),
            most,
        }
    }

    /// Where the figures of a model (with the version that answers) are; `None` beyond the bound.
    /// Without bound for what the server lists itself.
    pub(crate) fn of(
        &self,
        name: &str,
        version: Option<&str>,
        listed: bool,
    ) -> Option<Arc<Mutex<ModelFigures>>> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = models.get(name, version) {
            return Some(known);
        }
        drop(models);
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = models.get(name, version) {
            return Some(known);
        }
        if !models.has_room(listed, self.most) {
            return None;
        }
        let mut figures = ModelFigures::default();
        name.clone_into(&mut figures.statistics.name);
        version
            .unwrap_or_default()
            .clone_into(&mut figures.statistics.version);
        let figures = Arc::new(Mutex::new(figures));
        let versions = models.by_name.entry(name.to_owned()).or_default();
        versions.push(Version {
            version: version.map(str::to_owned),
            listed,
            figures: Arc::clone(&figures),
        });
        Some(figures)
    }

    /// Where the figures of a request are that named this model and failed before its version
    /// was found: beside those of its versions, where it has any. A name that nobody has answered
    /// for is not kept because callers say it.
    pub(crate) fn of_known(&self, model: &ModelRef) -> Option<Arc<Mutex<ModelFigures>>> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        let asked = models.get(&model.name, model.version.as_deref());
        if asked.is_some() || !models.by_name.contains_key(&model.name) {
            return asked;
        }
        drop(models);
        // One for each name that is known already.
        self.of(&model.name, None, true)
    }

    /// Forgets what was listed once and is not any more, a while after it was last asked. What
    /// is in flight is kept.
    pub(crate) fn forget_gone(&self, listed: &[RepositoryEntry]) {
        // Put in order before the lock, for which every inference waits.
        let mut by_name: HashMap<&str, Vec<&str>> = HashMap::new();
        for entry in listed {
            let versions = by_name.entry(&entry.name).or_default();
            versions.push(&entry.version);
        }
        let is_listed = |name: &str, version: Option<&str>| {
            let mut versions = by_name.get(name).into_iter().flatten();
            versions.any(|one| one.is_empty() || version.is_none_or(|version| version == *one))
        };
        let rests = |figures: &Arc<Mutex<ModelFigures>>| {
            let asked = lock(figures).asked;
            Arc::strong_count(figures) == 1
                && asked.is_none_or(|asked| asked.elapsed() >= REMEMBERED)
        };
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        models.by_name.retain(|name, versions| {
            versions.retain(|known| {
                let version = known.version.as_deref();
                !known.listed || is_listed(name, version) || !rests(&known.figures)
            });
            !versions.is_empty()
        });
    }

    /// The statistics of a model (of one version, or of all), or of every model; by name and
    /// version.
    #[must_use]
    pub fn read(&self, model: Option<&ModelRef>) -> Vec<ModelStatistics> {
        let figures = self.figures(model).into_iter();
        let statistics = figures.map(|figures| figures.statistics);
        // Versions that nobody has answered as yet are no business of the extension.
        let asked = |model: &ModelStatistics| model.success.count + model.fail.count > 0;
        statistics.filter(asked).collect()
    }

    /// The same with everything else that is counted.
    #[must_use]
    pub fn figures(&self, model: Option<&ModelRef>) -> Vec<ModelFigures> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = |name: &str, version: Option<&str>| {
            model.is_none_or(|model| {
                let any = model.version.is_none();
                model.name == name && (any || model.version.as_deref() == version)
            })
        };
        let versions = models.by_name.iter();
        let versions = versions.flat_map(|(name, versions)| {
            versions.iter().map(move |version| (name.as_str(), version))
        });
        let mut found: Vec<_> = versions
            .filter(|(name, known)| wanted(name, known.version.as_deref()))
            .map(|(_, known)| {
                let mut figures = lock(&known.figures).clone();
                figures.statistics.last_inference = figures.succeeded.map_or(0, unix_milliseconds);
                figures
            })
            .collect();
        found.sort_by(|a, b| key(a).cmp(&key(b)));
        found
    }
}

fn key(figures: &ModelFigures) -> (&str, &str) {
    (&figures.statistics.name, &figures.statistics.version)
}

fn lock(figures: &Mutex<ModelFigures>) -> MutexGuard<'_, ModelFigures> {
    figures.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes down an inference that has ended.
pub(crate) fn add(figures: &mut ModelFigures, ended: &Ended<'_>) {
    figures.asked = Some(ended.now);
    let statistics = &mut figures.statistics;
    let took = u64::try_from(ended.took.as_nanos()).unwrap_or(u64::MAX);
    let Some(batch) = ended.batch else {
        statistics.fail.add(took);
        return;
    };
    let timings = ended.timings;
    figures.succeeded = Some(ended.now);
    statistics.success.add(took);
    match timings.cached() {
        // Nothing waited and nothing ran.
        Some(true) => return statistics.cache_hit.add(took),
        Some(false) => statistics.cache_miss.add(took),
        None => {}
    }
    statistics.inference_count += batch;
    statistics.queue.add(timings.get(Part::Queue));
    if timings.leads() {
        let rows = timings.batch().unwrap_or(batch);
        statistics.execution_count += 1;
        figures.batch_sizes.add(rows);
        add_run(statistics, rows, timings);
    }
    statistics
        .compute_input
        .add(timings.get(Part::ComputeInput));
    statistics
        .compute_infer
        .add(timings.get(Part::ComputeInfer));
    statistics
        .compute_output
        .add(timings.get(Part::ComputeOutput));
}

/// Adds a run of the model to those of its batch size.
fn add_run(statistics: &mut ModelStatistics, batch: u64, timings: &Timings) {
    let batches = &mut statistics.batches;
    let row = match batches.iter().position(|row| row.batch_size == batch) {
        Some(index) => batches.get_mut(index),
        // Callers choose batch sizes; what is beyond the bound counts in the sums, and in the
        // histogram of sizes.
        None if batches.len() < MOST_BATCH_SIZES => {
            batches.push(BatchStatistics {
                batch_size: batch,
                ..BatchStatistics::default()
            });
            batches.last_mut()
        }
        None => None,
    };
    if let Some(row) = row {
        row.compute_input.add(timings.get(Part::ComputeInput));
        row.compute_infer.add(timings.get(Part::ComputeInfer));
        row.compute_output.add(timings.get(Part::ComputeOutput));
    }
}

/// Most batch sizes of one model that are counted apart.
const MOST_BATCH_SIZES: usize = 256;

/// A moment by the clock on the wall, in milliseconds since 1970.
fn unix_milliseconds(moment: Instant) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = now.unwrap_or_default().saturating_sub(moment.elapsed());
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(statistics: &Statistics, version: Option<&str>, name: &str, ended: &Ended<'_>) {
        if let Some(figures) = statistics.of(name, version, false) {
            add(&mut figures.lock().unwrap(), ended);
        }
    }

    fn record(statistics: &Statistics, name: &str, batch: Option<u64>) {
        let timings = Timings::default();
        timings.add(Part::ComputeInfer, Duration::from_nanos(5));
        let took = Duration::from_nanos(9);
        let ended = Ended {
            now: Instant::now(),
            took,
            timings: &timings,
            batch,
        };
        put(statistics, Some("1"), name, &ended);
    }

    #[test]
    fn a_batch_of_8_is_8_inferences_and_one_execution() {
        let statistics = Statistics::new(4);
        record(&statistics, "m", Some(8));
        record(&statistics, "m", Some(1));
        record(&statistics, "m", None);
        let [model] = statistics.read(None).try_into().unwrap();
        assert_eq!((model.inference_count, model.execution_count), (9, 2));
        assert_eq!((model.success.count, model.success.ns), (2, 18));
        assert_eq!((model.fail.count, model.compute_infer.ns), (1, 10));
        assert_eq!(model.batches.len(), 2);
    }

    #[test]
    fn a_run_of_three_requests_is_counted_once_under_the_size_of_its_batch() {
        let statistics = Statistics::new(4);
        for (rows, leads) in [(1, true), (2, false), (5, false)] {
            let timings = Timings::default();
            timings.set_batch(8, leads);
            timings.add(Part::ComputeInfer, Duration::from_nanos(5));
            let ended = Ended {
                now: Instant::now(),
                took: Duration::from_nanos(9),
                timings: &timings,
                batch: Some(rows),
            };
            put(&statistics, None, "m", &ended);
        }
        let [model] = statistics.read(None).try_into().unwrap();
        assert_eq!((model.inference_count, model.execution_count), (8, 1));
        assert_eq!((model.compute_infer.count, model.compute_infer.ns), (3, 15));
        let [batch] = model.batches.try_into().unwrap();
        assert_eq!((batch.batch_size, batch.compute_infer.count), (8, 1));
    }

    #[test]
    fn runs_of_every_size_are_in_the_histogram_however_many_sizes_callers_choose() {
        let statistics = Statistics::new(4);
        for rows in 1..=1000 {
            record(&statistics, "m", Some(rows));
        }
        record(&statistics, "m", Some(1000));
        let [figures] = statistics.figures(None).try_into().unwrap();
        assert_eq!(figures.statistics.batches.len(), MOST_BATCH_SIZES);
        let sizes = figures.batch_sizes;
        assert_eq!((sizes.count(), sizes.sum()), (1001, 501_500));
        let up_to: Vec<_> = sizes.up_to().collect();
        assert_eq!(up_to[..3], [(1, 1), (2, 2), (4, 4)]);
        assert_eq!(up_to.last(), Some(&(256, 256)));
    }

    #[test]
    fn an_answer_from_the_cache_is_no_execution() {
        let statistics = Statistics::new(4);
        for hit in [false, true] {
            let timings = Timings::default();
            timings.set_cached(hit);
            let ended = Ended {
                now: Instant::now(),
                took: Duration::from_nanos(9),
                timings: &timings,
                batch: Some(2),
            };
            put(&statistics, None, "m", &ended);
        }
        let [model] = statistics.read(None).try_into().unwrap();
        assert_eq!((model.inference_count, model.execution_count), (2, 1));
        assert_eq!((model.success.count, model.queue.count), (2, 1));
        assert_eq!((model.cache_hit.count, model.cache_miss.count), (1, 1));
    }

    #[test]
    fn the_last_inference_stands_at_the_time_of_the_clock_on_the_wall() {
        let statistics = Statistics::new(4);
        record(&statistics, "m", None);
        assert_eq!(statistics.read(None)[0].last_inference, 0);
        record(&statistics, "m", Some(1));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = u64::try_from(since.as_millis()).unwrap();
        let last = statistics.read(None)[0].last_inference;
        assert!(now.abs_diff(last) < 5_000, "{last} at {now}");
    }

    #[test]
    fn what_the_server_lists_is_kept_beyond_the_bound() {
        let statistics = Statistics::new(2);
        for version in 0..2000 {
            assert!(
                statistics
                    .of("m", Some(&version.to_string()), true)
                    .is_some()
            );
        }
        assert!(statistics.of("chosen", Some("1"), false).is_some());
    }

    #[test]
    fn figures_of_a_version_that_is_gone_are_forgotten_when_it_rests() {
        let statistics = Statistics::new(4);
        let entry = |version: &str| RepositoryEntry {
            name: "m".to_owned(),
            version: version.to_owned(),
            state: oip_protocol::ModelState::Ready,
            reason: String::new(),
        };
        let ago = |age| Instant::now().checked_sub(age);
        for (version, asked) in [
            ("1", ago(REMEMBERED)),
            ("2", ago(REMEMBERED / 2)),
            ("3", ago(REMEMBERED)),
            ("4", ago(REMEMBERED)),
        ] {
            let figures = statistics.of("m", Some(version), true).unwrap();
            figures.lock().unwrap().asked = asked;
        }
        let in_flight = statistics.of("m", Some("4"), true);
        statistics.forget_gone(&[entry("3")]);
        let kept = statistics.figures(None);
        let kept: Vec<_> = kept
            .iter()
            .map(|row| row.statistics.version.as_str())
            .collect();
        assert_eq!(kept, ["2", "3", "4"]);
        drop(in_flight);
        statistics.forget_gone(&[entry("3")]);
        assert_eq!(statistics.figures(None).len(), 2);
    }

    #[test]
    fn names_beyond_the_bound_are_not_kept() {
        let statistics = Statistics::new(2);
        for name in ["a", "b", "c"] {
            record(&statistics, name, Some(1));
        }
        assert_eq!(statistics.read(None).len(), 2);
        assert_eq!(statistics.read(Some(&ModelRef::new("a"))).len(), 1);
    }
}
