//! What is said over the control socket: one JSON object a line, a request from the client, replies
//! from the keeper.
//!
//! A request gets one reply; `upgrade` gets any number of `progress` lines before its `result`.
//! Whatever goes wrong with a request is answered by `error`.
//!
//! A keeper and those who ask it may be of different builds: what is not known is passed over, and
//! what is not there has its default.

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
        /// How long the predecessor stands by, in milliseconds, 0 for not at all; as the instance
        /// was told if not given.
        #[serde(default)]
        probation_ms: Option<u64>,
        /// Answer only when the predecessor does not stand by any more.
        #[serde(default)]
        wait_probation: bool,
    },
    /// Have the predecessor, which stands by, serve again. Answered by [`Reply::Rollback`].
    Rollback,
    /// What upgrades there were. Answered by [`Reply::History`].
    History,
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
    /// What came of a rollback.
    Rollback(Box<RollbackResult>),
    /// The upgrades that there were, the earliest first.
    History {
        /// Those that the keeper remembers.
        upgrades: Vec<UpgradeResult>,
    },
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
#[serde(default)]
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
    /// Upgrades that succeeded and were undone in their probation.
    pub rollbacks: u64,
    /// The probation that is running.
    pub probation: Option<ProbationStatus>,
    /// The keeper has been told of everything that the generation holds: its death would lose nothing. Missing
    /// with `--no-keeper`.
    pub held: Option<bool>,
    /// The generation that would serve if this one died, with `--spare`.
    pub spare: Option<SpareStatus>,
    /// The last upgrade, if there was one.
    pub last_upgrade: Option<LastUpgrade>,
    /// What the generation says of itself; missing if it did not answer in time.
    pub load: Option<Load>,
}

/// A predecessor that stands by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbationStatus {
    /// Number of the predecessor.
    pub generation: u64,
    /// Its process id.
    pub generation_pid: u32,
    /// For how long yet, in milliseconds.
    pub left_ms: u64,
    /// It has been told to leave.
    pub released: bool,
}

/// A generation that would serve if the one that does died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpareStatus {
    /// The number that it would have.
    pub generation: u64,
    /// Its process id.
    pub generation_pid: u32,
    /// It could take over at once.
    pub ready: bool,
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
#[serde(default)]
pub struct LastUpgrade {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// Whether the new generation served, and was not undone since.
    pub succeeded: bool,
    /// Whether it was undone in its probation.
    pub rolled_back: bool,
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
#[serde(default)]
pub struct UpgradeResult {
    /// Its number; 0 if it was refused before it got one.
    pub upgrade: u64,
    /// When it ended, or was undone, in seconds since 1970.
    pub at: u64,
    /// Whether the new generation serves; for a dry run, whether the binary would be let in.
    pub succeeded: bool,
    /// Whether it was only tried.
    pub dry_run: bool,
    /// Whether the new generation did serve, and the one before took the server back.
    pub rolled_back: bool,
    /// Where it failed; the last phase if it did not.
    pub phase: String,
    /// Why it failed, or was undone.
    pub reason: Option<String>,
    /// The generation that served before.
    pub from: u64,
    /// The number of the new generation.
    pub to: u64,
    /// The generation that serves now, 0 if none does.
    pub generation: u64,
    /// Version of the generation that served before.
    pub old_version: String,
    /// Build of the generation that served before.
    pub old_build: String,
    /// Fingerprint of the arena: what a build must be able to read.
    pub fingerprint: String,
    /// The file that was upgraded to.
    pub binary: PathBuf,
    /// What the new binary said of itself, if it got that far.
    pub new: Option<Identity>,
    /// Client connections moved.
    pub connections: u64,
    /// The freeze in microseconds.
    pub freeze_us: u64,
    /// From the request to SERVING, or the failure, in milliseconds.
    pub total_ms: u64,
    /// How long the predecessor was to stand by, in milliseconds.
    pub probation_ms: u64,
    /// The phases that it went through.
    pub phases: Vec<PhaseTime>,
}

/// How long a phase took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PhaseTime {
    /// The phase's name.
    pub phase: String,
    /// Its length in microseconds, as the keeper has seen it.
    pub us: u64,
}

/// What came of a rollback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RollbackResult {
    /// Whether the predecessor serves again.
    pub rolled_back: bool,
    /// What happened and why.
    pub reason: String,
    /// The generation that serves now.
    pub generation: u64,
    /// Its version.
    pub version: String,
    /// Its build.
    pub build: String,
    /// Whether the successor gave the server back itself; else it was killed first.
    pub given: bool,
    /// Client connections that are served.
    pub connections: u64,
    /// How long nobody was served, in microseconds; 0 if that is not known, because the successor
    /// was killed.
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
        let upgrade = Request::Upgrade {
            binary: "/x".into(),
            timeout_ms: None,
            dry_run: false,
            probation_ms: None,
            wait_probation: false,
        };
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
            Reply::Rollback(Box::default()),
            Reply::History { upgrades: vec![UpgradeResult::default()] },
        ];
        for reply in replies {
            let line = serde_json::to_string(&reply).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), reply);
        }
    }

    #[test]
    fn a_keeper_of_an_earlier_build_is_understood() {
        let line = r#"{"type":"result","succeeded":true,"generation":3}"#;
        let result = UpgradeResult { succeeded: true, generation: 3, ..UpgradeResult::default() };
        assert_eq!(serde_json::from_str::<Reply>(line).unwrap(), Reply::Result(Box::new(result)));
    }
}
