//! From the table of a `model.toml` to [`ModelSettings`].

use std::path::Path;
use std::time::Duration;

use toml::{Table, Value};

use super::reader::{Reader, whole};
use super::{
    Batching, CacheSettings, MOST_ROWS, ModelSettings, QueueSettings, SettingsError, VersionPolicy,
    labels, warmup,
};

type Result<T> = std::result::Result<T, SettingsError>;

/// Most threads, instances and priorities that a file may ask for.
const MOST_THREADS: u64 = 1024;
const MOST_WAITING: u64 = 1_000_000;
const MOST_PRIORITIES: u64 = 32;

/// The engines there are, whether this build has them or not.
const ENGINES: [&str; 2] = ["onnxruntime", "tract"];

pub(super) fn settings(table: Table, folder: &Path) -> Result<ModelSettings> {
    let mut top = Reader::new(table, "");
    let settings = ModelSettings {
        engine: engine(&mut top)?,
        threads: top.count("threads", 1, MOST_THREADS)?,
        instances: top.count("instances", 1, MOST_THREADS)?,
        versions: version_policy(&mut top)?,
        batching: top.table("batching")?.map(batching).transpose()?,
        queue: top
            .table("queue")?
            .map(queue)
            .transpose()?
            .unwrap_or_default(),
        warmup: warmup::read(&mut top, folder)?,
        cache: top.table("cache")?.map(cache).transpose()?,
        labels: labels::read(&mut top, folder)?,
    };
    top.end()?;
    Ok(settings)
}

fn engine(top: &mut Reader) -> Result<Option<String>> {
    match top.value("engine") {
        None => Ok(None),
        Some(Value::String(name)) if ENGINES.contains(&name.as_str()) => Ok(Some(name)),
        Some(other) => {
            let allowed = ENGINES.map(|name| format!("\"{name}\"")).join(" or ");
            Err(top.wrong("engine", &other, &allowed))
        }
    }
}

fn version_policy(top: &mut Reader) -> Result<VersionPolicy> {
    const KEY: &str = "version_policy";
    const ALLOWED: &str = "\"all\", { latest = 2 } or { specific = [1, 3] }";
    match top.value(KEY) {
        None => Ok(VersionPolicy::All),
        Some(Value::String(word)) if word == "all" => Ok(VersionPolicy::All),
        Some(Value::Table(table)) => policy_table(Reader::new(table, KEY), top),
        Some(other) => Err(top.wrong(KEY, &other, ALLOWED)),
    }
}

fn policy_table(mut table: Reader, top: &Reader) -> Result<VersionPolicy> {
    let latest = table.count("latest", 1, MOST_WAITING)?;
    let specific = numbers(&mut table, "specific", u64::MAX)?;
    table.end()?;
    match (latest, specific) {
        (Some(latest), None) => Ok(VersionPolicy::Latest(latest)),
        (None, Some(specific)) => Ok(VersionPolicy::Specific(specific)),
        (Some(_), Some(_)) => Err(top.wrong(
            "version_policy",
            &Value::Table(Table::new()),
            "either { latest = n } or { specific = [..] }, not both",
        )),
        (None, None) => Err(top.missing(
            "version_policy.latest",
            "say { latest = n } or { specific = [..] }",
        )),
    }
}

/// An array of distinct whole numbers from 1 to `most`, ascending.
fn numbers(table: &mut Reader, key: &'static str, most: u64) -> Result<Option<Vec<u64>>> {
    let Some(value) = table.value(key) else {
        return Ok(None);
    };
    let read = |value: &Value| whole(value).filter(|number| (1..=most).contains(number));
    let numbers = value
        .as_array()
        .and_then(|array| array.iter().map(read).collect::<Option<Vec<u64>>>());
    match numbers {
        Some(mut numbers) if !numbers.is_empty() => {
            numbers.sort_unstable();
            numbers.dedup();
            Ok(Some(numbers))
        }
        _ => {
            let most = match most {
                u64::MAX => String::new(),
                most => format!(" to {most}"),
            };
            let allowed = format!("an array of whole numbers from 1{most}, such as [1, 3]");
            Err(table.wrong(key, &value, &allowed))
        }
    }
}

fn batching(mut table: Reader) -> Result<Batching> {
    let max_batch_size = table.number("max_batch_size", 2, MOST_ROWS)?;
    let max_queue_delay = table.duration("max_queue_delay")?;
    let most = max_batch_size.unwrap_or(MOST_ROWS);
    let preferred = numbers(&mut table, "preferred_batch_sizes", most)?;
    let adaptive = table.boolean("adaptive")?.unwrap_or(true);
    let tolerance = tolerance(&mut table)?;
    let max_batch_size = max_batch_size.ok_or_else(|| {
        let allowed = format!("the most rows of a batch, a whole number from 2 to {MOST_ROWS}");
        table.missing("max_batch_size", &allowed)
    });
    table.end()?;
    Ok(Batching {
        max_batch_size: max_batch_size?,
        max_queue_delay: max_queue_delay.unwrap_or(Duration::ZERO),
        preferred_batch_sizes: preferred.unwrap_or_default(),
        adaptive,
        tolerance,
    })
}

/// See [`Batching::tolerance`].
const TOLERANCE: f64 = 1e-5;

fn tolerance(table: &mut Reader) -> Result<f64> {
    let Some(value) = table.value("tolerance") else {
        return Ok(TOLERANCE);
    };
    let number = match &value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        _ => None,
    };
    match number.filter(|number| (0.0..=1.0).contains(number)) {
        Some(number) => Ok(number),
        None => Err(table.wrong("tolerance", &value, "a number from 0 to 1, such as 1e-5")),
    }
}

fn queue(mut table: Reader) -> Result<QueueSettings> {
    let default = QueueSettings::default();
    let max_size = table.count("max_size", 0, MOST_WAITING)?;
    let max_time = table.duration("max_time")?;
    let levels = table.number("priority_levels", 1, MOST_PRIORITIES)?;
    let levels = levels.unwrap_or(default.priority_levels);
    let default_priority = table.number("default_priority", 1, levels)?;
    table.end()?;
    Ok(QueueSettings {
        max_size,
        max_time,
        priority_levels: levels,
        // In the middle, so that there is room on both sides.
        default_priority: default_priority.unwrap_or(levels.div_ceil(2)),
    })
}

fn cache(mut table: Reader) -> Result<CacheSettings> {
    let max_bytes = table.bytes("max_bytes")?;
    let ttl = table.duration("ttl")?;
    if ttl.is_some_and(|ttl| ttl.is_zero()) {
        let allowed = "a duration above 0; without [cache] nothing is kept";
        return Err(table.wrong("ttl", &Value::from("0"), allowed));
    }
    let max_bytes = max_bytes.ok_or_else(|| {
        table.missing(
            "max_bytes",
            "the most memory for answers, such as \"64 MiB\"",
        )
    });
    table.end()?;
    Ok(CacheSettings {
        max_bytes: max_bytes?,
        ttl,
    })
}
