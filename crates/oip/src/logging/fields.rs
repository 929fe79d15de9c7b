//! Message and fields of a line as text: the message as it is, each field as `name=value`.
//!
//! tracing-subscriber has such a formatter. It looks at each character of a message by itself, for
//! what would steer a terminal, and so an audit line of half a kilobyte takes 20,000 instructions.
//! This one looks at whole pieces, and at characters only where a piece holds something of the kind.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes the fields of an event.
pub(super) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line {
            writer,
            empty: true,
            written: Ok(()),
        };
        fields.record(&mut line);
        line.written
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    empty: bool,
    written: fmt::Result,
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.written.is_ok() {
            self.written = self.write(field.name(), value);
        }
    }
}

impl Line<'_> {
    fn write(&mut self, name: &str, value: &dyn Debug) -> fmt::Result {
        if !std::mem::take(&mut self.empty) {
            self.writer.write_char(' ')?;
        }
        if name != "message" {
            let name = name.strip_prefix("r#").unwrap_or(name);
            match self.writer.has_ansi_escapes() {
                // The name in italics, the sign dimmed.
                true => write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
                false => write!(self.writer, "{name}=")?,
            }
        }
        write!(Harmless(&mut self.writer), "{value:?}")
    }
}

/// Writes what would steer a terminal as its number.
struct Harmless<W>(W);

impl<W: Write> Write for Harmless<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Without leaving early, which the compiler turns into a look at many bytes at once. The
        // controls above ASCII begin with 0xc2.
        let special = text.bytes().fold(false, |any, byte| {
            any | (byte < 0x20) | (byte == 0x7f) | (byte == 0xc2)
        });
        if !special {
            return self.0.write_str(text);
        }
        for character in text.chars() {
            match character {
                steering if is_steering(steering) && steering.is_ascii() => {
                    write!(self.0, "\\x{:02x}", u32::from(steering))?;
                }
                steering if steering.is_control() && !steering.is_ascii() => {
                    write!(self.0, "\\u{{{:x}}}", u32::from(steering))?;
                }
                other => self.0.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Whether an ASCII character steers a terminal beyond ending a line.
fn is_steering(character: char) -> bool {
    character.is_ascii_control() && !matches!(character, '\n' | '\r' | '\t')
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written meanwhile, by these fields and by those of tracing-subscriber.
    fn written(colours: bool, act: impl Fn()) -> [String; 2] {
        [true, false].map(|ours| {
            let kept = Kept::default();
            let to = kept.clone();
            let lines = fmt()
                .with_writer(move || to.clone())
                .with_ansi(colours)
                .without_time();
            match ours {
                true => tracing::subscriber::with_default(lines.fmt_fields(Fields).finish(), &act),
                false => tracing::subscriber::with_default(lines.finish(), &act),
            }
            String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
        })
    }

    #[test]
    fn a_line_reads_as_the_library_writes_it() {
        for colours in [false, true] {
            let [ours, theirs] = written(colours, || {
                tracing::info!(model = "iris\n", count = 3, path = %"/a b", r#type = ?Some(1), "load {}", "failed");
                tracing::warn!(target: "oip::audit", "{{\"seq\":1,\"id\":\"caf\u{e9}\"}}\nnext\t\u{1b}[31m\u{7f}\u{9b}");
                tracing::error!(count = 1);
            });
            assert_eq!(ours, theirs);
            assert!(ours.contains("next\t\\x1b[31m\\x7f\\u{9b}"), "{ours}");
        }
    }

    #[test]
    fn fields_cannot_steer_a_terminal_either() {
        let [ours, _] = written(
            false,
            || tracing::info!(name = %"a\u{1b}[2J\u{0}b\u{85}c", "said"),
        );
        assert!(
            ours.contains("said name=a\\x1b[2J\\x00b\\u{85}c\n"),
            "{ours}"
        );
    }
}
