//! What is said over the control socket: one JSON object a line, a request from the client, replies
//! from the keeper.
//!
//! A request gets one reply; `upgrade` gets any number of `progress` lines before its `result`.
//! Whatever goes wrong with a request is answered by `error`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::identity::Identity;

/// Longest request line in bytes.
pub const MAX_REQUEST: usize = 8 * 1024;

/// Longest reply line in bytes: a checker's report, with its line breaks escaped.
pub const MAX_REPLY: usize = 1024 * 1024;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// How the instance is. Answered by [`Reply::Status`].
    Status,
    /// Replace the serving generation. Answered by [`Reply::Progress`] lines and one
    /// [`Reply::Result`].
    Upgrade {
        /// The new binary; absolute.
        binary: PathBuf,
        /// How long it may take in milliseconds; the instance's own limit if not given.
        #[serde(default)]
        timeout_ms: Option<u64>,
        /// Stop after the preflight and say what was found.
        #[serde(default)]
        dry_run: bool,
    },
    /// Run the checker. Answered by [`Reply::Check`].
    Check,
    /// Shut down cleanly. Answered by [`Reply::Stopping`].
    Shutdown,
}

/// What the keeper answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// How the instance is.
    Status(Box<InstanceStatus>),
    /// How far the upgrade is.
    Progress {
        /// The phase's name.
        phase: String,
        /// Units done (sockets).
        done: u64,
        /// Units in all, 0 if not known.
        total: u64,
    },
    /// What came of the upgrade.
    Result(Box<UpgradeResult>),
    /// What the checker found.
    Check(CheckResult),
    /// The instance is shutting down.
    Stopping,
    /// The request was refused.
    Error {
        /// What happened and why.
        reason: String,
    },
}

/// How an instance is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The keeper's pid: the one that users know.
    pub pid: u32,
    /// The serving generation's number.
    pub generation: u64,
    /// The serving generation's pid.
    pub generation_pid: u32,
    /// The serving generation's version.
    pub version: String,
    /// The serving generation's build, empty if it has none.
    pub build: String,
    /// The fingerprint of the arena.
    pub fingerprint: String,
    /// What it listens on: `ADDRESS:PORT` or a path.
    pub addresses: Vec<String>,
    /// Where SIGUSR2 takes a new binary from.
    pub binary: PathBuf,
    /// Seconds since the keeper started.
    pub uptime_s: u64,
    /// The phase of the upgrade that is running.
    pub upgrading: Option<String>,
    /// Upgrades that succeeded.
    pub upgrades: u64,
    /// Upgrades that failed or were refused.
    pub failures: u64,
    /// The last upgrade, if there was one.
    pub last_upgrade: Option<LastUpgrade>,
    /// What the generation says of itself; missing if it did not answer in time.
    pub load: Option<Load>,
}

/// What a generation serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Connected clients.
    pub clients: u64,
    /// Keys in all databases.
    pub keys: u64,
    /// `used_memory` in bytes.
    pub memory: u64,
}

/// The upgrade that ended last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUpgrade {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// Whether the new generation served.
    pub succeeded: bool,
    /// `ok`, or the phase and the reason.
    pub result: String,
    /// Client connections moved.
    pub connections: u64,
    /// The freeze in microseconds.
    pub freeze_us: u64,
    /// From the request to the end in milliseconds.
    pub total_ms: u64,
}

/// What came of an upgrade.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeResult {
    /// Whether the new generation serves; for a dry run, whether the binary would be let in.
    pub succeeded: bool,
    /// Whether it was only tried.
    pub dry_run: bool,
    /// Where it failed; the last phase if it did not.
    pub phase: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// The generation that serves now.
    pub generation: u64,
    /// Version of the generation that served before.
    pub old_version: String,
    /// Build of the generation that served before.
    pub old_build: String,
    /// What the new binary said of itself, if it got that far.
    pub new: Option<Identity>,
    /// Client connections moved.
    pub connections: u64,
    /// The freeze in microseconds.
    pub freeze_us: u64,
    /// From the request to the end in milliseconds.
    pub total_ms: u64,
}

/// What the checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Whether nothing is wrong.
    pub clean: bool,
    /// Whether it could run at all.
    pub ran: bool,
    /// How long the server stood still for it, in microseconds.
    pub stall_us: u64,
    /// Counts and findings for people.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_documented() {
        let read = |line| serde_json::from_str::<Request>(line);
        assert_eq!(read(r#"{"op":"status"}"#).unwrap(), Request::Status);
        let upgrade = Request::Upgrade { binary: "/x".into(), timeout_ms: None, dry_run: false };
        assert_eq!(read(r#"{"op":"upgrade","binary":"/x"}"#).unwrap(), upgrade);
        for wrong in
            ["", "null", "{}", r#"{"op":"dance"}"#, r#"{"op":"upgrade"}"#, r#"{"op":"status"} x"#]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn replies_come_back_as_they_were() {
        let replies = [
            Reply::Stopping,
            Reply::Error { reason: "line\nbreak".into() },
            Reply::Status(Box::default()),
            Reply::Result(Box::default()),
        ];
        for reply in replies {
            let line = serde_json::to_string(&reply).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), reply);
        }
    }
}
