//! The errors of this crate: what happened, why, and what to do.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::owner::{Generation, Owner};

/// What a host (the server) reports through its trait; only its text is used here.
pub type HostError = Box<dyn std::error::Error + Send + Sync>;

/// Sending or receiving a message with descriptors failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FdError {
    /// Nothing can be sent or received now.
    #[error("the link is not ready; try again when it is readable or writable")]
    WouldBlock,
    /// The other side has closed the link, or is gone.
    #[error("the other side of the link has closed it or died; see its log for the reason")]
    Closed,
    /// A caller asked for more descriptors in one message than are allowed.
    #[error(
        "{count} descriptors in one message are more than the {} allowed; split them",
        crate::fds::MAX_FDS_PER_MESSAGE
    )]
    TooManyFds {
        /// Descriptors asked for.
        count: usize,
    },
    /// The kernel took a part of a message, which it never does with this kind of socket.
    #[error("only {sent} of {length} bytes were sent: the link is no SOCK_SEQPACKET socket")]
    ShortSend {
        /// Bytes sent.
        sent: usize,
        /// Bytes of the message.
        length: usize,
    },
    /// `MSG_CTRUNC`: descriptors were dropped by the kernel.
    #[error(
        "only {arrived} descriptors of a message arrived: either this process has reached its \
         limit (raise `ulimit -n`), or the peer sent more than the protocol allows"
    )]
    FdsTruncated {
        /// Descriptors that did arrive; they have been closed again.
        arrived: usize,
    },
    /// `MSG_TRUNC`: the message was longer than the protocol allows.
    #[error("the peer sent a message longer than {limit} bytes: it speaks another protocol")]
    BytesTruncated {
        /// Bytes allowed.
        limit: usize,
    },
    /// Any other failure of a system call.
    #[error("{call} on the handoff link failed: {source}")]
    Os {
        /// The system call.
        call: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// A message could not be decoded, or not be encoded.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The frame does not start with the magic number.
    #[error("what arrived is no handoff message: the peer is no hotredis, or not in a handoff")]
    Magic,
    /// Another version of the framing itself.
    #[error("the peer frames its messages in version {found}, this binary in version {ours}")]
    FrameVersion {
        /// The peer's version.
        found: u8,
        /// Our version.
        ours: u8,
    },
    /// A message kind that is not known.
    #[error("message kind {kind} is unknown: the peer speaks a newer protocol than agreed")]
    Kind {
        /// The kind byte.
        kind: u8,
    },
    /// The lengths in the frame contradict what arrived.
    #[error("a message of {actual} bytes says that it has {stated}: it is damaged")]
    Length {
        /// Bytes stated in the header.
        stated: usize,
        /// Bytes that arrived.
        actual: usize,
    },
    /// The manifest's descriptor count differs from what came along.
    #[error("a message announces {stated} descriptors but {actual} came with it")]
    FdCount {
        /// Descriptors announced.
        stated: usize,
        /// Descriptors received.
        actual: usize,
    },
    /// The archive is not valid.
    #[error("the body of a {kind} message is not valid: {reason}")]
    Body {
        /// Name of the message.
        kind: &'static str,
        /// What the validation found.
        reason: String,
    },
    /// A message to be sent is larger than allowed.
    #[error("a {kind} message would have {length} bytes, more than the {limit} allowed")]
    TooLong {
        /// Name of the message.
        kind: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
}

/// The link failed: the system, or what came over it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Descriptors or bytes.
    #[error(transparent)]
    Fds(#[from] FdError),
    /// A message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The descriptor given is not one end of a handoff link.
    #[error("descriptor {fd} is no handoff link ({why}); it must be one end of Link::pair")]
    NotALink {
        /// The descriptor.
        fd: i32,
        /// What is wrong with it.
        why: String,
    },
}

impl LinkError {
    /// Whether nothing is wrong and the call only has to be repeated later.
    #[must_use]
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Fds(FdError::WouldBlock))
    }

    /// Whether the other side is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Fds(FdError::Closed))
    }
}

/// The limit on descriptors is too low, or cannot be learnt.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DescriptorLimitError {
    /// The hard limit does not suffice.
    #[error(
        "{needed} descriptors are needed but the hard limit is {hard}: raise it (`ulimit -Hn`, \
         LimitNOFILE= of the unit) or lower maxclients"
    )]
    TooLow {
        /// Descriptors needed.
        needed: u64,
        /// The hard limit.
        hard: u64,
    },
    /// The system call failed.
    #[error("the descriptor limit cannot be read or set: {0}")]
    Os(#[from] io::Error),
}

/// An operation on the owner word did not happen.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnerError {
    /// The word is in another state than the operation starts from.
    #[error("the owner word says {found}, not {expected}: another generation has acted first")]
    Changed {
        /// State the operation starts from.
        expected: Owner,
        /// State found.
        found: Owner,
    },
    /// The word holds no valid state.
    #[error("the owner word holds {word:#018x}, which no binary writes: the arena is damaged")]
    Invalid {
        /// The word.
        word: u64,
    },
    /// The executor lock is not that of the generation that takes.
    #[error("generation {taker} cannot take with the executor lock of generation {holder}")]
    WrongLock {
        /// Generation that wants to take.
        taker: Generation,
        /// Generation of the lock.
        holder: Generation,
    },
    /// A generation that may still own the arena has not been proved dead.
    #[error("generation {generation} may still own the arena; fence it first")]
    NotFenced {
        /// The generation.
        generation: Generation,
    },
}

/// Fencing a generation, or taking an executor lock, failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FenceError {
    /// The lock is held by a living thread.
    #[error(
        "the executor lock is held by thread {tid}, which is alive: a generation of the same \
         parity is still running; wait for its end or kill it"
    )]
    Held {
        /// Thread in the lock word.
        tid: u32,
    },
    /// The kernel has not reported the executor's death in time.
    #[error(
        "the executor (thread {tid}) was still alive {waited:?} after its SIGKILL: it may hang in \
         the kernel; ownership stays where it is until it is gone"
    )]
    StillAlive {
        /// Thread in the lock word.
        tid: u32,
        /// Time waited.
        waited: Duration,
    },
    /// The process must not be killed by us.
    #[error("process {pid} is not a successor that could be fenced")]
    Forbidden {
        /// The process id.
        pid: u32,
    },
    /// A system call failed.
    #[error("{call} failed: {source}")]
    Os {
        /// The system call.
        call: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// Why an attempt to hand over failed. Both sides use it; the text goes to the log, to the peer
/// and to whoever asked for the upgrade.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandoffError {
    /// The link failed or closed.
    #[error("{phase}: {source}")]
    Link {
        /// What was going on.
        phase: Phase,
        /// The failure.
        source: LinkError,
    },
    /// A deadline passed.
    #[error("{phase}: nothing came of it within {limit:?}; the other side hangs or is too slow")]
    Deadline {
        /// What was going on.
        phase: Phase,
        /// The time allowed.
        limit: Duration,
    },
    /// The versions of the protocol have nothing in common.
    #[error(
        "the successor speaks handoff protocols {theirs_min} to {theirs_max}, the predecessor \
         {ours_min} to {ours_max}: upgrade by way of a version that speaks both"
    )]
    Protocol {
        /// Successor's oldest.
        theirs_min: u16,
        /// Successor's newest.
        theirs_max: u16,
        /// Predecessor's oldest.
        ours_min: u16,
        /// Predecessor's newest.
        ours_max: u16,
    },
    /// The two binaries cannot serve the same arena, or are strangers.
    #[error("refused: {0}")]
    Refused(String),
    /// The peer said REFUSE.
    #[error("the other side refused: {0}")]
    PeerRefused(String),
    /// The peer said ABORT.
    #[error("the other side gave up: {0}")]
    PeerAborted(String),
    /// The attempt was cancelled by its own side.
    #[error("cancelled: {0}")]
    Cancelled(String),
    /// The peer sent what must not come now.
    #[error("{phase}: the other side broke the protocol: {what}")]
    Violation {
        /// What was going on.
        phase: Phase,
        /// What it did.
        what: String,
    },
    /// A received socket is not what the manifest says.
    #[error("socket in slot {slot} is not what was announced: {what}")]
    Socket {
        /// Slot of its session.
        slot: u32,
        /// What differs.
        what: String,
    },
    /// The two sides do not hold the same sockets.
    #[error(
        "the successor holds {held} sockets, the predecessor {stated} (or the same number of \
         others): nothing was taken"
    )]
    SetsDiffer {
        /// Sockets of the predecessor.
        stated: u32,
        /// Sockets of the successor.
        held: u32,
    },
    /// The server itself failed.
    #[error("{phase}: {reason}")]
    Host {
        /// What was going on.
        phase: Phase,
        /// What the server said.
        reason: String,
    },
    /// The descriptor limit.
    #[error(transparent)]
    Descriptors(#[from] DescriptorLimitError),
    /// The owner word.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// Fencing.
    #[error(transparent)]
    Fence(#[from] FenceError),
}

pub use crate::phase::Phase;
