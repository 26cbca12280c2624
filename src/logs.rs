//! Log lines on standard error, as text for people or as JSON. Every secret
//! is taken out on the way.

use std::{
    io::{self, Write},
    sync::{Arc, PoisonError, RwLock},
};

use log::{
    Level, LevelFilter, Record,
    kv::{Error, Key, Value, VisitSource},
};

use crate::{clock, flags::LogFormat, redact::Redactor};

/// What speaks of requests.
const LIBRARIES: [&str; 3] = ["ureq", "ureq_proto", "rustls"];

/// Sets up logging for the whole program. `levels` is what `RUST_LOG` holds.
pub fn start(
    format: LogFormat,
    verbose: bool,
    levels: Option<&str>,
    redactor: Arc<RwLock<Redactor>>,
) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(if verbose {
        LevelFilter::Debug
    } else {
        LevelFilter::Info
    });
    // Every step of every request: for those who ask by RUST_LOG.
    for library in LIBRARIES {
        builder.filter_module(library, LevelFilter::Warn);
    }
    if let Some(levels) = levels {
        builder.parse_filters(levels);
    }
    builder.format(move |out, record| {
        let library = record.target().split("::").next().unwrap_or("");
        if record.level() == Level::Trace && LIBRARIES.contains(&library) {
            // Dumps of what is sent, in lines too short to find a secret in.
            return Ok(());
        }
        let line = match format {
            LogFormat::Text => text(record, &redactor),
            LogFormat::Json => json(record, &redactor),
        };
        writeln!(out, "{line}")
    });
    // There is one already only in a test.
    let _ = builder.try_init();
}

fn text(record: &Record<'_>, redactor: &RwLock<Redactor>) -> String {
    let mut line = format!(
        "{} {:5} {}",
        clock::now(),
        record.level(),
        message(record, redactor)
    );
    for (name, value) in fields(record, redactor) {
        line += &format!(" {name}={value}");
    }
    line
}

/// In the order in which people read it.
fn json(record: &Record<'_>, redactor: &RwLock<Redactor>) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let level = record.level().as_str().to_lowercase();
    let mut line = format!("{{\"ts\":{}", text(&clock::now().to_string()));
    let mut set = |name: &str, value: String| line += &format!(",{}:{value}", text(name));
    set("level", text(&level));
    set("component", text(component(record)));
    set("msg", text(&clean(&record.args().to_string(), redactor)));
    for (name, value) in fields(record, redactor) {
        let number = name == "attempt" && value.parse::<u32>().is_ok();
        set(&name, if number { value } else { text(&value) });
    }
    line + "}"
}

/// The innermost folder of the module that speaks, which people know it by.
fn component<'a>(record: &'a Record<'_>) -> &'a str {
    record.target().split("::").nth(1).unwrap_or("main")
}

/// One line, whatever it is made of: text of a ticket must not look like
/// another line of the log.
fn message(record: &Record<'_>, redactor: &RwLock<Redactor>) -> String {
    one_line(&clean(&record.args().to_string(), redactor))
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

fn clean(text: &str, redactor: &RwLock<Redactor>) -> String {
    redactor
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clean(text)
        .into_owned()
}

fn fields(record: &Record<'_>, redactor: &RwLock<Redactor>) -> Vec<(String, String)> {
    struct Fields(Vec<(String, String)>);
    impl<'kvs> VisitSource<'kvs> for Fields {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
            self.0.push((key.to_string(), value.to_string()));
            Ok(())
        }
    }
    let mut fields = Fields(vec![]);
    // It only fails if we do.
    let _ = record.key_values().visit(&mut fields);
    let clean = |(name, value): (String, String)| (name, one_line(&clean(&value, redactor)));
    fields.0.into_iter().map(clean).collect()
}

/// Says a thing before there is a log, or instead of one.
pub fn say(line: &str) {
    // Nobody is there to be told that nobody is there.
    let _ = writeln!(io::stderr(), "orchestrator: {line}");
}
