//! What `hotredis serve` was asked to do, as it travels from the command line to the keeper and on
//! to generations.
//!
//! Redis's directives are carried by name and arguments, unread: the generation's configuration
//! knows what they mean, and so a directive needs no change here. What is hotredis's own has a
//! typed field.

mod config_file;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use config_file::{ConfigFileError, read_config_file};
pub use words::{WordsError, split_words};

use crate::logging::{LogFormat, LogLevel};

/// Longest settings in bytes of JSON that a keeper sends and a generation accepts.
pub const MAX_JSON: usize = 64 * 1024;

/// Most directives that one instance is given.
pub const MAX_DIRECTIVES: usize = 1024;

/// How long a predecessor stands by unless told otherwise, in milliseconds.
pub const DEFAULT_PROBATION_MS: u64 = 2000;

/// Without a tick for so many milliseconds a successor counts as hung, unless told otherwise.
pub const DEFAULT_HANG_TIMEOUT_MS: u64 = 2000;

/// Port that Redis listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 6379;

/// One line of a Redis configuration: `client-output-buffer-limit pubsub 32mb 8mb 60`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive {
    /// The name, in lower case.
    pub name: String,
    /// Its arguments, unquoted.
    pub arguments: Vec<String>,
}

impl Directive {
    /// A directive; its name is put into lower case.
    pub fn new<I, S>(name: &str, arguments: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { name: name.to_ascii_lowercase(), arguments }
    }

    /// The arguments as one value, the way that `CONFIG SET` takes it.
    pub fn text(&self) -> String {
        self.arguments.join(" ")
    }
}

/// Everything that `hotredis serve` was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Redis's directives in the order given, the file's before the command line's: of two with one
    /// name the later one counts, unless the directive is one that adds up.
    pub directives: Vec<Directive>,
    /// Where the arena is kept; a memfd if none is given.
    pub arena_file: Option<PathBuf>,
    /// Which pages the arena is to have.
    #[serde(default)]
    pub huge_pages: HugePages,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// How long an upgrade may take, in milliseconds, unless the request says otherwise.
    pub upgrade_timeout_ms: u64,
    /// How long a predecessor stands by after an upgrade, in milliseconds, unless the request says
    /// otherwise; 0 for not at all.
    #[serde(default = "default_probation_ms")]
    pub probation_ms: u64,
    /// How long a successor may go without a tick while its predecessor stands by, in milliseconds.
    #[serde(default = "default_hang_timeout_ms")]
    pub hang_timeout_ms: u64,
    /// Whether a generation is kept ready to take over, should the one that serves die.
    #[serde(default)]
    pub spare: bool,
    /// Where the control socket is; absolute.
    pub runtime_dir: PathBuf,
    /// Whether each generation is its own keeper.
    #[serde(default)]
    pub no_keeper: bool,
    /// Where SIGUSR2 finds the next binary.
    #[serde(default)]
    pub binary: PathBuf,
    /// Who started the server and wants to know how it is, if anybody.
    #[serde(default)]
    pub service_manager: Option<NotifySocket>,
}

/// Which pages the system is asked for to back the arena's heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HugePages {
    /// Ordinary ones.
    #[default]
    No,
    /// Transparent huge pages, where the system grants them.
    Transparent,
}

impl HugePages {
    /// As it is given and shown.
    pub fn name(self) -> &'static str {
        match self {
            HugePages::No => "no",
            HugePages::Transparent => "transparent",
        }
    }
}

/// Where a service manager is told how the server is, as its environment said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifySocket {
    /// `NOTIFY_SOCKET`.
    pub name: String,
    /// In which it wants signs of life, microseconds.
    pub watchdog_us: Option<u64>,
}

// A keeper outlives the builds that it starts: what an earlier one did not send has its default.

fn default_probation_ms() -> u64 {
    DEFAULT_PROBATION_MS
}

fn default_hang_timeout_ms() -> u64 {
    DEFAULT_HANG_TIMEOUT_MS
}

/// Why settings that came from another process, or from the command line, are refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Longer than [`MAX_JSON`].
    #[error(
        "the settings take {0} bytes, more than the {MAX_JSON} that a generation accepts: give fewer directives"
    )]
    TooLong(usize),
    /// More than [`MAX_DIRECTIVES`].
    #[error("{0} directives are more than the {MAX_DIRECTIVES} that are accepted")]
    TooMany(usize),
    /// Not the JSON of settings.
    #[error("the settings cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A directive that the keeper itself needs has no valid value.
    #[error("'{name}' wants {wanted}, not '{given}'")]
    Value {
        /// The directive.
        name: &'static str,
        /// What it accepts.
        wanted: &'static str,
        /// What it was given.
        given: String,
    },
}

impl Settings {
    /// The settings as they travel.
    pub fn to_json(&self) -> Result<String, SettingsError> {
        let json = serde_json::to_string(self)?;
        self.check_size(json.len())?;
        Ok(json)
    }

    /// Reads and bounds settings that another process sent.
    pub fn from_json(json: &str) -> Result<Self, SettingsError> {
        if json.len() > MAX_JSON {
            return Err(SettingsError::TooLong(json.len()));
        }
        let settings: Self = serde_json::from_str(json)?;
        settings.check_size(json.len())?;
        Ok(settings)
    }

    fn check_size(&self, length: usize) -> Result<(), SettingsError> {
        if length > MAX_JSON {
            return Err(SettingsError::TooLong(length));
        }
        if self.directives.len() > MAX_DIRECTIVES {
            return Err(SettingsError::TooMany(self.directives.len()));
        }
        Ok(())
    }

    /// The arguments of the last directive of this name.
    pub fn last(&self, name: &str) -> Option<&[String]> {
        self.directives.iter().rev().find(|it| it.name == name).map(|it| it.arguments.as_slice())
    }

    /// The one argument of the last directive of this name, if it has exactly one that is not
    /// empty.
    pub fn last_single(&self, name: &str) -> Option<&str> {
        match self.last(name) {
            Some([value]) if !value.is_empty() => Some(value),
            _ => None,
        }
    }

    /// The TCP port; 0 means none, as in Redis.
    pub fn port(&self) -> Result<u16, SettingsError> {
        let Some(arguments) = self.last("port") else { return Ok(DEFAULT_PORT) };
        let given = arguments.join(" ");
        given.parse().map_err(|_| SettingsError::Value {
            name: "port",
            wanted: "a number up to 65535",
            given,
        })
    }

    /// What is worth a log line (`loglevel`).
    pub fn log_level(&self) -> Result<LogLevel, SettingsError> {
        let Some(arguments) = self.last("loglevel") else { return Ok(LogLevel::default()) };
        let given = arguments.join(" ");
        clap::ValueEnum::from_str(&given, true).map_err(|_| SettingsError::Value {
            name: "loglevel",
            wanted: "one of debug, verbose, notice, warning",
            given,
        })
    }

    /// How long an upgrade may take unless its request says otherwise.
    pub fn upgrade_timeout(&self) -> Duration {
        Duration::from_millis(self.upgrade_timeout_ms)
    }

    /// How long a predecessor stands by after an upgrade unless its request says otherwise; zero for
    /// not at all.
    pub fn probation(&self) -> Duration {
        Duration::from_millis(self.probation_ms)
    }

    /// How long a successor may go without a tick while its predecessor stands by.
    pub fn hang_timeout(&self) -> Duration {
        Duration::from_millis(self.hang_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(directives: &[(&str, &[&str])]) -> Settings {
        let directives =
            directives.iter().map(|(name, words)| Directive::new(name, words.iter().copied()));
        Settings { directives: directives.collect(), ..Settings::default() }
    }

    #[test]
    fn settings_survive_the_journey() {
        let settings = with(&[("Save", &[""]), ("bind", &["127.0.0.1", "::1"])]);
        assert_eq!(Settings::from_json(&settings.to_json().unwrap()).unwrap(), settings);
    }

    #[test]
    fn settings_of_an_earlier_keeper_are_understood() {
        let json = r#"{"directives":[],"arena_file":null,"log_format":"text","upgrade_timeout_ms":5,
                       "runtime_dir":"/x"}"#;
        let settings = Settings::from_json(json).unwrap();
        assert_eq!(settings.probation(), Duration::from_millis(DEFAULT_PROBATION_MS));
        assert_eq!(settings.hang_timeout(), Duration::from_millis(DEFAULT_HANG_TIMEOUT_MS));
        assert_eq!(settings.huge_pages, HugePages::No);
    }

    #[test]
    fn what_is_too_big_is_refused_on_both_sides() {
        let many =
            Settings { directives: vec![Directive::new("a", ["b"]); 1025], ..Settings::default() };
        assert!(matches!(many.to_json().unwrap_err(), SettingsError::TooMany(1025)));
        let json = serde_json::to_string(&many).unwrap();
        assert!(matches!(Settings::from_json(&json).unwrap_err(), SettingsError::TooMany(1025)));
        let long = with(&[("a", &[&"x".repeat(MAX_JSON)])]);
        assert!(matches!(long.to_json().unwrap_err(), SettingsError::TooLong(_)));
        assert!(matches!(
            Settings::from_json(&" ".repeat(MAX_JSON + 1)),
            Err(SettingsError::TooLong(_))
        ));
    }

    #[test]
    fn of_two_directives_the_later_counts() {
        let settings = with(&[("port", &["1"]), ("PORT", &["7000"])]);
        assert_eq!(settings.port().unwrap(), 7000);
        assert_eq!(with(&[]).port().unwrap(), 6379);
        assert_eq!(with(&[("loglevel", &["WARNING"])]).log_level().unwrap(), LogLevel::Warning);
    }

    #[test]
    fn a_wrong_value_says_what_is_wanted() {
        let error = with(&[("port", &["65536"])]).port().unwrap_err();
        assert_eq!(error.to_string(), "'port' wants a number up to 65535, not '65536'");
        assert!(with(&[("port", &["1", "2"])]).port().is_err());
        assert!(with(&[("loglevel", &["loud"])]).log_level().is_err());
    }
}
