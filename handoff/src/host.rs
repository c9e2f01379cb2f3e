//! What the server on each side does for the handoff: the two traits it implements, and what the
//! machines tell it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use crate::error::{HandoffError, HostError, Phase};
use crate::fence::ExecutorLock;
use crate::message::{Hello, Identity, Ticket, Welcome};
use crate::owner::Generation;

/// The atomics in the arena's header that both processes act on.
pub trait SharedWords {
    /// The owner word; see [`OwnerWord`](crate::owner::OwnerWord).
    fn owner_word(&self) -> &AtomicU64;

    /// The executor lock word of a generation: one of two, by
    /// [`Generation::lock_index`].
    fn executor_word(&self, generation: Generation) -> &AtomicU32;
}

/// Something with descriptors that the server passes on; the payload is opaque here.
#[derive(Debug)]
pub struct Parcel<'a> {
    /// At most [`MAX_PAYLOAD_BYTES`].
    pub payload: Vec<u8>,
    /// At most [`MAX_FDS_PER_MESSAGE`](crate::fds::MAX_FDS_PER_MESSAGE).
    pub fds: Vec<BorrowedFd<'a>>,
}

/// Bytes that the server may put in the payload of ARENA or OFFER, or in all the descriptions of
/// LISTENERS together.
pub const MAX_PAYLOAD_BYTES: usize = 32 * 1024;

/// What [`PredecessorHost::quiesce`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiesced {
    /// `CLOCK_MONOTONIC` at the end of the last command, in nanoseconds.
    pub last_command_ns: u64,
    /// Opaque, at most [`MAX_PAYLOAD_BYTES`], and of a size that does not grow with sessions.
    pub payload: Vec<u8>,
}

/// The serving side.
pub trait PredecessorHost: SharedWords {
    /// Whether the successor can serve this arena. The default wants equal fingerprints.
    ///
    /// # Errors
    /// The reason, which is sent to the successor and reported.
    fn judge(&mut self, hello: &Hello, ours: &Identity) -> Result<(), String> {
        compare_fingerprints(&hello.identity, ours)
    }

    /// Connections there are now, for the descriptor budget and for progress.
    fn connections(&self) -> u32;

    /// The arena's descriptors and parameters. At least one descriptor.
    ///
    /// # Errors
    /// Fails the attempt; nothing was touched.
    fn arena(&mut self) -> Result<Parcel<'_>, HostError>;

    /// Every listener (each of those that share a port, too): its description and descriptor.
    /// At most [`MAX_FDS_PER_MESSAGE`](crate::fds::MAX_FDS_PER_MESSAGE).
    ///
    /// # Errors
    /// Fails the attempt; nothing was touched.
    fn listeners(&mut self) -> Result<Vec<(Vec<u8>, BorrowedFd<'_>)>, HostError>;

    /// Appends to `out` the live connections from slot `from` on, at most `max`, in the order of
    /// their slots, and returns the first slot not looked at, `None` when there are no more.
    /// Bounded work: it may return early with nothing appended.
    fn scan_sockets<'h>(
        &'h self,
        from: u32,
        max: usize,
        out: &mut Vec<(Ticket, BorrowedFd<'h>)>,
    ) -> Option<u32>;

    /// The socket of that connection, `None` if it has closed.
    fn socket(&self, ticket: Ticket) -> Option<BorrowedFd<'_>>;

    /// Stop: from here on run no command, read from, write to, accept and close no socket, until
    /// the machine says [`Status::Failed`] with a recovery other than [`Recovery::Exit`]. Called
    /// between two commands. On an error nothing may have stopped.
    ///
    /// # Errors
    /// Fails the attempt; the server goes on.
    fn quiesce(&mut self) -> Result<Quiesced, HostError>;
}

/// A process that receives client sockets.
pub trait SocketHolder {
    /// Take a client socket, which is non-blocking, close-on-exec and has the ticket's cookie.
    /// Register it for reading; do not read yet. A successor may get one after
    /// [`prepare`](SuccessorHost::prepare), too.
    ///
    /// # Errors
    /// Fails the attempt.
    fn socket(&mut self, ticket: Ticket, fd: OwnedFd) -> Result<(), HostError>;

    /// That connection, taken before, has been closed by the other side: deregister the duplicate
    /// and close it. No `shutdown`.
    fn closed(&mut self, ticket: Ticket);
}

/// The side that takes over. Until the take it may read only messages and the words above: all
/// the rest of the arena changes under it.
pub trait SuccessorHost: SharedWords + SocketHolder {
    /// Whether this binary can take over from that predecessor. The default wants equal
    /// fingerprints.
    ///
    /// # Errors
    /// The reason, which is sent to the predecessor and reported.
    fn judge(&mut self, welcome: &Welcome, ours: &Identity) -> Result<(), String> {
        compare_fingerprints(&welcome.identity, ours)
    }

    /// Map and validate the arena. From its return on [`SharedWords`] must work.
    ///
    /// # Errors
    /// Fails the attempt.
    fn arena(&mut self, payload: &[u8], fds: Vec<OwnedFd>) -> Result<(), HostError>;

    /// Take the listeners; do not accept yet.
    ///
    /// # Errors
    /// Fails the attempt.
    fn listeners(&mut self, listeners: Vec<(Vec<u8>, OwnedFd)>) -> Result<(), HostError>;

    /// Everything has arrived: pre-fault, empty the poll, and
    /// [acquire the executor lock](ExecutorLock::acquire) of the generation in `welcome`, whose
    /// word may have to be [waited for](crate::fence::wait_dead).
    ///
    /// # Errors
    /// Fails the attempt.
    fn prepare(&mut self, welcome: &Welcome) -> Result<(), HostError>;

    /// Called after READY while the offer is waited for and nothing arrives, at first at once: for work
    /// that can wait, of which one call does little, because an offer would have to wait for it. Returns
    /// when to be called again, `None` for never.
    fn idle(&mut self) -> Option<Duration> {
        None
    }

    /// The lock acquired by [`prepare`](Self::prepare), `None` before.
    fn executor_lock(&self) -> Option<&ExecutorLock<'_>>;
}

fn compare_fingerprints(theirs: &Identity, ours: &Identity) -> Result<(), String> {
    if theirs.fingerprint == ours.fingerprint {
        return Ok(());
    }
    Err(format!(
        "version {} (build {}) lays out the arena as {}, version {} (build {}) as {}: neither can \
         serve the other's arena; install a build whose fingerprint matches",
        theirs.version,
        theirs.build,
        hex(&theirs.fingerprint),
        ours.version,
        ours.build,
        hex(&ours.fingerprint),
    ))
}

/// The first bytes in hexadecimal: enough to compare, bounded whatever a peer sends.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What the predecessor's loop has to do next.
#[derive(Debug)]
pub enum Status {
    /// Go on serving; call [`step`](crate::predecessor::Predecessor::step) as
    /// [`wake`](crate::predecessor::Predecessor::wake) says.
    Continue,
    /// Call [`freeze`](crate::predecessor::Predecessor::freeze) at the end of this tick. Going on
    /// with `step` instead is allowed; it will be said again while it holds.
    WantFreeze,
    /// Offered or taken, and not yet known to be served: stay stopped and go on calling `step`,
    /// waiting on the link alone. The server's poll would go on reporting sockets that the
    /// successor serves; left alone, it keeps every event for the case that this side resumes.
    Frozen,
    /// The successor serves. Touch neither the arena nor any connection: either
    /// [stand by](crate::predecessor::Predecessor::stand_by), or exit.
    Served(Summary),
    /// The predecessor that stood by while this generation served has left: it is alone now.
    Released,
    /// The attempt is over.
    Failed(Failure),
}

/// What came of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Generation that gave.
    pub from: Generation,
    /// Generation that serves now.
    pub to: Generation,
    /// Who it is.
    pub successor: Identity,
    /// Its process id.
    pub successor_pid: u32,
    /// Connections that it serves, as it says itself.
    pub connections: u32,
    /// The freeze, as the successor measured it.
    pub freeze: Duration,
    /// From the start of the attempt to SERVING.
    pub total: Duration,
}

/// Why an attempt failed and what the predecessor must do now.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub reason: HandoffError,
    /// What to do.
    pub recovery: Recovery,
    /// How far the attempt had come.
    pub phase: Phase,
}

/// What a predecessor does after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Serve on; nothing in the arena was touched by the successor.
    Resume,
    /// The successor had taken the arena and was fenced. Roll back its unfinished transaction,
    /// rebuild what this process keeps outside the arena, and serve on. Replies that the
    /// successor sent are in the sessions; connections that it accepted died with it.
    RecoverAndResume,
    /// The arena belongs to somebody else: exit without touching it.
    Exit,
}

/// How far an attempt has come, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// Sockets sent so far, those that have closed since included.
    pub sockets_sent: u64,
    /// Connections there were at the start.
    pub sockets_expected: u32,
}

/// When the predecessor wants to be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// There is more to do: once in each tick, with no wait in between.
    Now,
    /// When the link is readable or writable (edge-triggered will do), or at this time at the latest.
    Link {
        /// `CLOCK_MONOTONIC` nanoseconds.
        deadline_ns: u64,
    },
}
