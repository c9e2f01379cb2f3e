//! Where log lines go: to stderr, as text or as JSON, by tracing.

use std::io;
use std::sync::OnceLock;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is worth a log line, in Redis's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Much that is rarely useful.
    Verbose,
    /// What an operator wants to see.
    #[default]
    Notice,
    /// Only what is wrong.
    Warning,
}

impl LogLevel {
    fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::TRACE,
            Self::Verbose => LevelFilter::DEBUG,
            Self::Notice => LevelFilter::INFO,
            Self::Warning => LevelFilter::WARN,
        }
    }
}

/// Changes the level of this process's log lines, once there is a subscriber of ours.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Sends this process's log lines to stderr from now on. A second call changes nothing.
pub fn init(format: LogFormat, level: LogLevel) {
    let (filter, handle) = reload::Layer::new(level.filter());
    let lines = fmt::layer().with_target(false).with_ansi(false).with_writer(io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // An error means that a subscriber is there already, which a test may have set.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = LEVEL.set(handle);
    }
}

/// Sets the level from now on, by the word that the directive `loglevel` has for it. What is already
/// so is left alone, and an unknown word changes nothing.
pub fn set_level(word: &str) {
    let Ok(level) = LogLevel::from_str(word, true) else { return };
    if LevelFilter::current() != level.filter()
        && let Some(handle) = LEVEL.get()
    {
        // An error means that the subscriber is gone, and with it whoever would read the lines.
        let _ = handle.reload(level.filter());
    }
}
