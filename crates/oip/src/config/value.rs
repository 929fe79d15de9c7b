//! Kinds of values, and how they are read.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::secret::Secret;

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `true/false`, `1/0`, `yes/no`, `on/off`, in any case.
    Bool,
    /// A TCP port.
    Port,
    /// A whole number.
    Count {
        /// The smallest that makes sense.
        least: u64,
    },
    /// A whole number, which may be negative: then it sets no bound, and is read as 0.
    Integer,
    /// A number of bytes, such as `64MiB`.
    Size {
        /// The smallest that makes sense, in bytes.
        least: u64,
    },
    /// A span of time, such as `30s`; a plain number is seconds.
    Duration,
    /// An IP address, or `localhost`.
    Host,
    /// Any text.
    Text,
    /// A file or folder.
    Path,
    /// An address that begins with `http://` or `https://`.
    HttpUrl,
    /// A share, from 0 to 1.
    Ratio,
    /// Texts separated by commas.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A value that was read and makes sense by itself.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Not given, and there is no default.
    Absent,
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Port`], [`Kind::Count`], [`Kind::Integer`] and [`Kind::Size`].
    Number(u64),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::Host`].
    Address(IpAddr),
    /// Of [`Kind::Text`], [`Kind::Path`], [`Kind::HttpUrl`], [`Kind::Ratio`] and [`Kind::Choice`].
    Text(String),
    /// Of [`Kind::List`].
    List(Vec<String>),
    /// Of an option that must not be shown.
    Secret(Secret),
}

/// Largest number that an option takes: what fits any machine's `isize`, with room to add.
const MOST: u64 = 1 << 40;

impl Kind {
    /// Reads a value; `None` when it makes no sense.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self {
            Self::Bool => boolean(text).map(Value::Bool),
            Self::Port => digits(text)
                .filter(|port| *port <= u64::from(u16::MAX))
                .map(Value::Number),
            Self::Count { least } => digits(text)
                .filter(|count| (least..=MOST).contains(count))
                .map(Value::Number),
            Self::Integer => integer(text).map(Value::Number),
            Self::Size { least } => size(text)
                .filter(|bytes| (least..=MOST).contains(bytes))
                .map(Value::Number),
            Self::Duration => duration(text).map(Value::Duration),
            Self::Host => host(text).map(Value::Address),
            Self::Text | Self::Path => {
                let usable = !text.is_empty() && !text.contains('\0');
                usable.then(|| Value::Text(text.to_owned()))
            }
            Self::HttpUrl => {
                let rest = ["http://", "https://"]
                    .iter()
                    .find_map(|scheme| text.strip_prefix(scheme))?;
                let names_a_host = !rest.is_empty() && !rest.starts_with(['/', ':', '?', '#']);
                let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control());
                (names_a_host && plain).then(|| Value::Text(text.to_owned()))
            }
            Self::Ratio => {
                let ratio: f64 = text.parse().ok()?;
                let sensible = (0.0..=1.0).contains(&ratio);
                sensible.then(|| Value::Text(text.to_owned()))
            }
            Self::List => Some(Value::List(list(text))),
            Self::Choice(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(text))
                .map(|word| Value::Text((*word).to_owned())),
        }
    }

    /// What is allowed, to stand after "expected".
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Bool => "true or false (also 1/0, yes/no, on/off)".to_owned(),
            Self::Port => "a port from 0 to 65535".to_owned(),
            Self::Count { least } => format!("a whole number from {least} to {MOST}"),
            Self::Integer => "a whole number".to_owned(),
            Self::Size { least } => {
                format!("a size of at least {least} bytes, such as 64MiB, 512KiB or 1048576")
            }
            Self::Duration => {
                "a time such as 30s, 500ms, 2m or 1h (a plain number is seconds)".to_owned()
            }
            Self::Host => {
                "an IP address such as 127.0.0.1, 0.0.0.0 or ::1, or localhost".to_owned()
            }
            Self::Text => "a text that is not empty".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::HttpUrl => "an address that begins with http:// or https://".to_owned(),
            Self::Ratio => "a number from 0 to 1, such as 0.01".to_owned(),
            Self::List => "texts separated by commas".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// What stands for the value in `--help`.
    #[must_use]
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Port => "PORT",
            Self::Count { .. } | Self::Integer => "N",
            Self::Size { .. } => "SIZE",
            Self::Duration => "TIME",
            Self::Host => "ADDRESS",
            Self::Text => "TEXT",
            Self::Path => "PATH",
            Self::HttpUrl => "URL",
            Self::Ratio => "RATIO",
            Self::List => "LIST",
            Self::Choice(_) => "WORD",
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The further words that KServe's `ModelServer` takes for booleans, in words of ours.
pub(super) fn kserve_boolean(text: &str) -> &str {
    match text {
        "y" | "Y" | "t" | "T" => "true",
        "n" | "N" | "f" | "F" => "false",
        other => other,
    }
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn integer(text: &str) -> Option<u64> {
    match text.strip_prefix('-') {
        Some(negative) => digits(negative).map(|_| 0),
        None => digits(text).filter(|number| *number <= MOST),
    }
}

/// Splits a number from its unit.
fn quantity(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    (!number.is_empty()).then(|| (number, unit.trim_start()))
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = quantity(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    digits(number)?.checked_mul(factor)
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = quantity(text)?;
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    // A year is longer than any server should wait for anything.
    let seconds = number * factor;
    let sensible = seconds.is_finite() && seconds <= 366.0 * 86_400.0;
    sensible
        .then(|| Duration::try_from_secs_f64(seconds).ok())
        .flatten()
}

fn host(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    bare.unwrap_or(text).parse().ok()
}

fn list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_in_four_pairs_of_words_and_any_case() {
        for text in ["true", "1", "yes", "on", "TRUE", "Yes", "true "] {
            assert_eq!(Kind::Bool.read(text), Some(Value::Bool(true)), "{text}");
        }
        for text in ["false", "0", "no", "off", "False", "OFF"] {
            assert_eq!(Kind::Bool.read(text), Some(Value::Bool(false)), "{text}");
        }
        for text in ["", "tru", "2", "y", "enabled", "perhaps"] {
            assert_eq!(Kind::Bool.read(text), None, "{text}");
        }
    }

    #[test]
    fn durations_have_units_and_a_plain_number_is_seconds() {
        let read = |text| Kind::Duration.read(text);
        let is = |millis| Some(Value::Duration(Duration::from_millis(millis)));
        assert_eq!(read("30s"), is(30_000));
        assert_eq!(read("500ms"), is(500));
        assert_eq!(read("7"), is(7_000));
        assert_eq!(read("1.5"), is(1_500));
        assert_eq!(read("2m"), is(120_000));
        assert_eq!(read("1 h"), is(3_600_000));
        for text in [
            "",
            "-5",
            "soon",
            "5 parsecs",
            "s",
            "1e400",
            "99999999999h",
            "NaN",
            ".",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_units_and_a_plain_number_is_bytes() {
        let read = |text| Kind::Size { least: 1 }.read(text);
        assert_eq!(read("64MiB"), Some(Value::Number(64 << 20)));
        assert_eq!(read("64 mib"), Some(Value::Number(64 << 20)));
        assert_eq!(read("2MB"), Some(Value::Number(2_000_000)));
        assert_eq!(read("512k"), Some(Value::Number(512 << 10)));
        assert_eq!(read("1024"), Some(Value::Number(1024)));
        for text in [
            "",
            "0",
            "-1",
            "big",
            "1.5GiB",
            "99999999999999999999",
            "9999999GiB",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_and_ports_are_whole_and_in_range() {
        assert_eq!(Kind::Port.read("65535"), Some(Value::Number(65_535)));
        assert_eq!(Kind::Port.read("0"), Some(Value::Number(0)));
        for text in ["", "abc", "65536", "-1", "+80", "8 0", "8080.0"] {
            assert_eq!(Kind::Port.read(text), None, "{text}");
        }
        assert_eq!(Kind::Count { least: 1 }.read("0"), None);
        assert_eq!(Kind::Integer.read("-1"), Some(Value::Number(0)));
        assert_eq!(Kind::Integer.read("65"), Some(Value::Number(65)));
        assert_eq!(Kind::Integer.read("1.5"), None);
    }

    #[test]
    fn hosts_are_addresses_or_localhost() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(Kind::Host.read("localhost"), Some(Value::Address(loopback)));
        assert!(Kind::Host.read("[::1]").is_some());
        assert!(Kind::Host.read("0.0.0.0").is_some());
        assert_eq!(Kind::Host.read("not a host"), None);
        assert_eq!(Kind::Host.read("127.0.0.1:80"), None);
    }

    #[test]
    fn urls_name_a_scheme_and_a_host() {
        assert!(Kind::HttpUrl.read("http://localhost:8080/pdp").is_some());
        for text in [
            "",
            "localhost",
            "ftp://x",
            "http://",
            "http:///pdp",
            "http://a b",
        ] {
            assert_eq!(Kind::HttpUrl.read(text), None, "{text}");
        }
    }
}
