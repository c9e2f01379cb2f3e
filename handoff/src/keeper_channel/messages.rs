//! The messages of the keeper channel. A body, once released, never changes: a new need gets a new
//! kind.

use rkyv::rancor::Error as Rancor;
use rkyv::{Archive, Deserialize, Serialize};

use super::{ChannelError, Message};
use crate::death::Cause;

/// First message to generation 1: create the arena and the listeners, then serve.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Number of the generation that is to serve.
    pub generation: u64,
    /// Process id of the keeper, for `INFO`.
    pub keeper_pid: u32,
    /// The settings, as JSON; the receiver validates them.
    pub settings: String,
}

/// First message to a successor, with its end of the link to the predecessor: take over.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Succeed {
    /// Number of the upgrade; every message about it names it.
    pub upgrade: u64,
    /// Number of the generation that the successor will be.
    pub generation: u64,
    /// Process id of the keeper, for `INFO`.
    pub keeper_pid: u32,
    /// Process id of the predecessor.
    pub predecessor_pid: u32,
    /// Milliseconds from now until the keeper gives up and kills the successor.
    pub deadline_ms: u64,
    /// The settings that generation 1 was started with, as JSON. What `CONFIG SET` changed since is
    /// in the arena.
    pub settings: String,
}

/// First message to a generation that is started because the one before has died, with its end of the
/// link to the keeper, which gives what it holds: take over, and roll back what was left unfinished.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Recover {
    /// Number of this recovery; every message about it names it.
    pub recovery: u64,
    /// Number of the generation that the receiver will be.
    pub generation: u64,
    /// Process id of the keeper.
    pub keeper_pid: u32,
    /// Of what the one before has died.
    pub cause: Cause,
    /// Milliseconds from now until the keeper gives up and kills the receiver.
    pub deadline_ms: u64,
    /// As in [`Succeed`].
    pub settings: String,
}

/// First message to a generation that is started beside the one that serves, to take its place should it
/// die: the keeper, at the other end of the link, gives what it holds, and holds the offer back until
/// then. The offer's payload says of what the other has died.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Number of the recovery that there will be; every message about it names it.
    pub recovery: u64,
    /// Number of the generation that the receiver will be.
    pub generation: u64,
    /// Process id of the keeper.
    pub keeper_pid: u32,
    /// As in [`Succeed`].
    pub settings: String,
}

/// Second message to every generation, with its end of the holding link: over it the keeper is told of
/// every descriptor that has to outlive the generation.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Number of the generation.
    pub generation: u64,
}

/// To the serving generation, with its end of the link: hand over to the successor at the other
/// end.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// Number of the upgrade.
    pub upgrade: u64,
    /// Number of the generation that the successor will be.
    pub generation: u64,
    /// Process id of the successor, already running.
    pub successor_pid: u32,
    /// Milliseconds from now until the keeper gives up, kills the successor and sends [`Abort`].
    pub deadline_ms: u64,
}

/// To the predecessor: the upgrade is off; serve on.
///
/// The keeper has sent SIGKILL to the successor, but does not wait for its end here, because that
/// takes long with much memory mapped: whoever has offered ownership must see the fence before
/// taking it back.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Number of the upgrade.
    pub upgrade: u64,
    /// Why, for the log and `INFO handoff`.
    pub reason: String,
}

/// To the serving generation: exit cleanly, as Redis does on SIGTERM.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// What asked for it, for the log ("SIGTERM", "SIGINT", "control socket").
    pub cause: String,
}

/// To the serving generation: run the checker between two commands and answer with [`CheckReport`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Comes back in the report.
    pub request: u64,
}

/// To the serving generation: answer with [`StatusReport`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Comes back in the report.
    pub request: u64,
}

/// To the generation that serves after an upgrade ended, well or not: what `INFO handoff` is to
/// show.
///
/// The keeper is the one that counts, because a refusal at preflight is seen by no generation.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Number of the upgrade.
    pub upgrade: u64,
    /// Whether the successor serves.
    pub succeeded: bool,
    /// `ok`, or the phase and the reason.
    pub result: String,
    /// Upgrades that succeeded since the keeper started.
    pub upgrades: u64,
    /// Upgrades that failed or were refused since the keeper started.
    pub failures: u64,
    /// The freeze in microseconds; 0 if there was none.
    pub freeze_us: u64,
    /// From the request to SERVING in milliseconds.
    pub total_ms: u64,
    /// Client connections that were moved.
    pub connections: u64,
}

/// To the predecessor, once the keeper has read the successor's [`Serving`]: say goodbye and exit.
///
/// A predecessor holds everything until then, whatever the successor has told it, because the
/// keeper may at the same moment be giving up on the upgrade and killing the successor. Only if the
/// keeper itself is gone does the successor's own word have to do.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Number of the upgrade.
    pub upgrade: u64,
}

/// To the predecessor instead of [`Release`]: hold everything for a while yet, and take the arena
/// back if the successor dies, hangs, or [is told to](TakeBack).
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Probation {
    /// Number of the upgrade.
    pub upgrade: u64,
    /// How long, from now, in milliseconds.
    pub length_ms: u64,
    /// Milliseconds without a tick after which the successor counts as hung.
    pub hang_ms: u64,
}

/// To the generation that serves while its predecessor stands by: give the arena back to it, then
/// exit.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GoBack {
    /// Number of the upgrade that is undone.
    pub upgrade: u64,
    /// Why, for the log.
    pub reason: String,
}

/// To a predecessor that stands by: the successor does not give the arena back itself. Kill it, and
/// take the arena.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TakeBack {
    /// Number of the upgrade that is undone.
    pub upgrade: u64,
    /// Why, for the log.
    pub reason: String,
}

/// Generation 1 serves. Successors say [`Serving`] instead.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its process id.
    pub pid: u32,
    /// Its number.
    pub generation: u64,
    /// The version of its build.
    pub version: String,
    /// The build's mark, empty if none was set.
    pub build: String,
    /// Fingerprint of the arena it serves, in hexadecimal.
    pub fingerprint: String,
    /// Lowest and highest version of the handoff protocol that it speaks: a successor must share
    /// one.
    pub handoff_versions: (u16, u16),
    /// What it listens on: `ADDRESS:PORT` or a path, at most 64.
    pub addresses: Vec<String>,
}

/// Generation 1 cannot serve (port in use, not enough memory) and is about to exit.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StartFailed {
    /// What happened, why, what to do: shown to the user as it is.
    pub reason: String,
}

/// A step of an upgrade, in the words of the design's table.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// The new binary is asked what it is.
    Preflight = 1,
    /// The successor starts and says HELLO.
    Start = 2,
    /// Arena, listeners and sockets are sent while the predecessor serves.
    PreCopy = 3,
    /// Nobody serves: the last sockets are sent and ownership is offered and taken.
    Freeze = 4,
    /// The successor's first tick.
    Serve = 5,
    /// The predecessor stands by.
    Probation = 6,
    /// The predecessor exits.
    Goodbye = 7,
}

impl Phase {
    /// The phase's name as shown to users.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Start => "start",
            Self::PreCopy => "pre-copy",
            Self::Freeze => "freeze",
            Self::Serve => "serve",
            Self::Probation => "probation",
            Self::Goodbye => "goodbye",
        }
    }
}

/// How far an upgrade is; sent by either side, a few per phase at most. One may be lost, but the
/// first of `Freeze` should not be: before it a shutdown ends the upgrade, after it the shutdown
/// waits for the outcome.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of the upgrade.
    pub upgrade: u64,
    /// The step.
    pub phase: Phase,
    /// Units done (sockets).
    pub done: u64,
    /// Units in all, 0 if not known.
    pub total: u64,
}

/// The successor has taken ownership and finished its first complete tick.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Number of the upgrade.
    pub upgrade: u64,
    /// Its process id.
    pub pid: u32,
    /// Its number.
    pub generation: u64,
    /// Client connections that it took over.
    pub connections: u64,
    /// The freeze in microseconds, as the design defines it.
    pub freeze_us: u64,
    /// The version of its build.
    pub version: String,
    /// The build's mark, empty if none was set.
    pub build: String,
    /// Fingerprint of the arena it serves, in hexadecimal.
    pub fingerprint: String,
    /// Lowest and highest version of the handoff protocol that it speaks: a successor must share
    /// one.
    pub handoff_versions: (u16, u16),
    /// What it listens on: `ADDRESS:PORT` or a path, at most 64.
    pub addresses: Vec<String>,
}

/// From either side: the upgrade has failed and ownership is with the predecessor, who serves on.
///
/// From a successor it means that it has not taken ownership and is about to exit.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UpgradeFailed {
    /// Number of the upgrade.
    pub upgrade: u64,
    /// The step at which it failed.
    pub phase: Phase,
    /// What happened and why.
    pub reason: String,
}

/// The predecessor has handed over, owns nothing any more and is about to exit with code 0.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// Number of the upgrade.
    pub upgrade: u64,
}

/// The predecessor, which stood by, owns the arena again and serves.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Number of the upgrade that is undone.
    pub upgrade: u64,
    /// Its number.
    pub generation: u64,
    /// What happened and why.
    pub reason: String,
    /// Whether the successor gave the arena back itself; else it was fenced.
    pub given: bool,
    /// From the last command of the successor to the end of the first tick, in microseconds; 0 if
    /// the successor was fenced.
    pub freeze_us: u64,
    /// Client connections that it serves.
    pub connections: u64,
}

/// From the generation that serves: it was told to [go back](GoBack), cannot, and serves on.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GoBackFailed {
    /// Number of the upgrade that was to be undone.
    pub upgrade: u64,
    /// What happened and why.
    pub reason: String,
}

/// The serving generation is about to exit on purpose (`SHUTDOWN`, a signal): its exit is no crash.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// What asked for it, for the log.
    pub cause: String,
}

/// What a run of the checker found.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CheckOutcome {
    /// Nothing is wrong.
    Clean = 0,
    /// Something is: the text says what.
    Findings = 1,
    /// The checker could not run: the text says why.
    Failed = 2,
}

/// Answer to [`Check`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// From the request.
    pub request: u64,
    /// The verdict.
    pub outcome: CheckOutcome,
    /// How long no command ran because of it, in microseconds.
    pub stall_us: u64,
    /// Counts and findings for people, cut by the sender to 64 KiB.
    pub text: String,
}

/// Answer to [`Status`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StatusReport {
    /// From the request.
    pub request: u64,
    /// Connected clients.
    pub clients: u64,
    /// Keys in all databases.
    pub keys: u64,
    /// `used_memory` in bytes.
    pub memory: u64,
}

/// Declares one direction: the enum over its bodies, their numbers on the wire, and which of them
/// carry a descriptor.
macro_rules! direction {
    ($(#[$doc:meta])* $name:ident { $($kind:literal => $body:ident $(+ $fd:ident)?,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = concat!("See [`", stringify!($body), "`].")] $body($body),)+
        }

        impl Message for $name {
            fn kind(&self) -> u16 {
                match self { $(Self::$body(_) => $kind,)+ }
            }

            fn carries_descriptor(&self) -> bool {
                match self { $(Self::$body(_) => direction!(@carries $($fd)?),)+ }
            }

            fn encode(&self) -> Result<rkyv::util::AlignedVec, ChannelError> {
                let archive = match self { $(Self::$body(body) => rkyv::to_bytes::<Rancor>(body),)+ };
                archive.map_err(|error| ChannelError::Malformed(error.to_string()))
            }

            fn decode(kind: u16, body: &[u8]) -> Result<Self, ChannelError> {
                let message = match kind {
                    $($kind => rkyv::from_bytes::<$body, Rancor>(body).map(Self::$body),)+
                    unknown => return Err(ChannelError::UnknownKind(unknown)),
                };
                message.map_err(|error| ChannelError::Malformed(format!("kind {kind}: {error}")))
            }
        }

        $(impl From<$body> for $name {
            fn from(body: $body) -> Self { Self::$body(body) }
        })+
    };
    (@carries) => { false };
    (@carries descriptor) => { true };
}

direction! {
    /// What the keeper says to a generation.
    KeeperToGeneration {
        1 => Start,
        2 => Succeed + descriptor,
        3 => Upgrade + descriptor,
        4 => Abort,
        5 => Shutdown,
        6 => Check,
        7 => Status,
        8 => Outcome,
        9 => Release,
        10 => Probation,
        11 => GoBack,
        12 => TakeBack,
        13 => Recover + descriptor,
        14 => Hold + descriptor,
        15 => StandIn + descriptor,
    }
}

direction! {
    /// What a generation says to the keeper.
    GenerationToKeeper {
        101 => Ready,
        102 => StartFailed,
        103 => Progress,
        104 => Serving,
        105 => UpgradeFailed,
        106 => Goodbye,
        107 => Stopping,
        108 => CheckReport,
        109 => StatusReport,
        110 => Returned,
        111 => GoBackFailed,
    }
}
