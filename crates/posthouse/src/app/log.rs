//! The log: one line per event on standard error, as text or JSON, by a thread of its own. Nobody waits
//! for a slow reader of the log: lines that do not fit in the queue are counted as lost.

mod writer;

use std::{
    fmt::{self, Write},
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
};

use self::writer::Queue;
use crate::{
    config::{Log, LogFormat, LogLevel},
    time::rfc3339,
};

/// How often lost lines are reported.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Our own rooms, whose lines count from the configured level on. Libraries only warn.
const ROOMS: [&str; 12] = [
    "admin",
    "audit",
    "backends",
    "directory",
    "login",
    "posthouse",
    "proto",
    "answer",
    "proxy",
    "session",
    "transport",
    "web",
];

/// The log at work. Dropping it writes what waits.
pub(super) struct Logging {
    queue: Queue,
}

/// Begins to log. Starts a thread, so privileges are dropped before.
///
/// # Errors
/// Those of the kernel when it has no thread for us.
pub(super) fn begin(settings: Log) -> io::Result<Logging> {
    let queue = Queue::start(io::stderr())?;
    let level = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(ROOMS.map(|room| (room, level)))
        // Who changed what is on record whatever the level.
        .with_target("audit", level.max(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines(settings.format))
        .with_writer(queue.clone());
    let subscriber = tracing_subscriber::registry().with(targets).with(lines);
    // Fails only if there is one already, and then that one logs.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(Logging { queue })
}

impl Logging {
    /// Reports lost lines, for ever.
    pub(super) fn report_lost(&self) -> impl Future<Output = ()> + use<> {
        let queue = self.queue.clone();
        async move {
            let mut reported = 0;
            let mut every = tokio::time::interval(REPORT_EVERY);
            loop {
                every.tick().await;
                let now = queue.lost();
                if now > reported {
                    tracing::warn!(
                        lines = now - reported,
                        "lost log lines: the reader is too slow"
                    );
                    reported = now;
                }
            }
        }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.queue.flush();
    }
}

/// How an event becomes a line.
struct Lines(LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let data = event.metadata();
        let line = match self.0 {
            LogFormat::Text => text(now, data.level(), data.target(), event),
            LogFormat::Json => json(now, data.level(), data.target(), event),
        };
        writeln!(writer, "{line}")
    }
}

/// `2026-11-22T06:15:25.123Z` for a time since 1970.
fn stamp(now: Duration) -> String {
    let mut stamp = rfc3339(now.as_secs());
    stamp.truncate(stamp.len().saturating_sub(1));
    // A String takes every write.
    let _ = write!(stamp, ".{:03}Z", now.subsec_millis());
    stamp
}

fn word(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// `TIME LEVEL MESSAGE KEY=VALUE ...`
fn text(now: Duration, level: &Level, target: &str, event: &Event<'_>) -> String {
    let mut line = Text::default();
    event.record(&mut line);
    let message = match (line.message.as_str(), target) {
        ("", "audit") => "audit",
        ("", _) => "-",
        (message, _) => message,
    };
    format!("{} {} {message}{}", stamp(now), word(level), line.fields)
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            push_printable(&mut self.message, value);
            return;
        }
        // A field that says nothing is left out: `user=` would look like a name that was lost.
        if value.is_empty() {
            return;
        }
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=');
        self.fields.push(' ');
        self.fields.push_str(field.name());
        self.fields.push('=');
        if value.chars().all(plain) {
            self.fields.push_str(value);
            return;
        }
        self.fields.push('"');
        let mut rest = value;
        while let Some(at) = rest.find(['"', '\\']) {
            let (clean, special) = rest.split_at(at);
            push_printable(&mut self.fields, clean);
            self.fields.push('\\');
            let mut characters = special.chars();
            self.fields.extend(characters.next());
            rest = characters.as_str();
        }
        push_printable(&mut self.fields, rest);
        self.fields.push('"');
    }
}

/// Nobody writes a second line, or moves a terminal's cursor, by way of a field.
fn push_printable(line: &mut String, text: &str) {
    if !text.contains(char::is_control) {
        line.push_str(text);
        return;
    }
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// One JSON object: `time`, `level`, `message`, and the event's fields beside them.
fn json(now: Duration, level: &Level, target: &str, event: &Event<'_>) -> String {
    let mut object = Object(Map::new());
    object.0.insert("time".into(), stamp(now).into());
    object.0.insert("level".into(), word(level).into());
    if target == "audit" {
        object.0.insert("message".into(), target.into());
    }
    event.record(&mut object);
    Value::Object(object.0).to_string()
}

struct Object(Map<String, Value>);

impl Visit for Object {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // As in text: a field that says nothing is left out.
        if !value.is_empty() {
            self.0.insert(field.name().into(), value.into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, act: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines(format))
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_of_text_is_time_level_message_and_fields() {
        let line = logged(LogFormat::Text, || {
            tracing::info!(user = "anna", client = %"[::1]:5", note = "a \"b\"", "session ended");
        });
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(time.len(), "2026-11-22T06:15:25.123Z".len());
        assert_eq!(rest, "info session ended user=anna client=[::1]:5 note=\"a \\\"b\\\"\"\n");
    }

    #[test]
    fn a_line_of_json_is_one_flat_object() {
        let line = logged(LogFormat::Json, || {
            tracing::warn!(bytes_in = 7_u64, user = "anna\n", "session ended");
        });
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["level"], "warn");
        assert_eq!(object["message"], "session ended");
        assert_eq!(object["bytes_in"], 7);
        assert_eq!(object["user"], "anna\n");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_field_that_says_nothing_is_left_out() {
        let act = || tracing::info!(user = "", backend = %"", reason = "no-login", "ended");
        let line = logged(LogFormat::Text, act);
        assert!(line.ends_with(" info ended reason=no-login\n"), "{line}");
        let object: Value = serde_json::from_str(&logged(LogFormat::Json, act)).unwrap();
        assert_eq!(object["reason"], "no-login");
        assert!(object.get("user").is_none() && object.get("backend").is_none(), "{object}");
    }

    #[test]
    fn no_field_writes_a_second_line() {
        let line = logged(LogFormat::Text, || {
            tracing::info!(user = "anna\r\n2026 info forged", "a\nb\u{1b}[2J");
        });
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains('\r'), "{line}");
    }
}
