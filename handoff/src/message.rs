//! The messages of the handoff protocol.
//!
//! Each body is an rkyv archive of its own, so one message can change without moving the others.
//! `HELLO`, `REFUSE` and `ABORT` are read by peers of every version: their layout never changes.

use rkyv::{Archive, Deserialize, Serialize};

/// Oldest version of the protocol that this binary speaks.
pub const PROTOCOL_MIN: u16 = 2;
/// Newest version of the protocol that this binary speaks.
pub const PROTOCOL_MAX: u16 = 2;

/// One client connection: the slot of its session and the cookie of its socket.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Slot of the session, used again after a connection has closed.
    pub slot: u32,
    /// `SO_COOKIE` of the socket, never used again.
    pub cookie: u64,
}

/// Who a process is: what both sides say first.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Version of the program, for people.
    pub version: String,
    /// Build of the program, for people.
    pub build: String,
    /// What the server compares to learn whether both can serve the same arena.
    pub fingerprint: Vec<u8>,
}

/// Successor's first word. Its layout never changes.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Oldest protocol it speaks.
    pub protocol_min: u16,
    /// Newest protocol it speaks.
    pub protocol_max: u16,
    /// Its process id.
    pub pid: u32,
    /// Who it is.
    pub identity: Identity,
}

/// Predecessor's answer to HELLO.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Protocol version spoken from here on.
    pub protocol: u16,
    /// Generation that gives.
    pub from: u32,
    /// Generation that the successor will be.
    pub to: u32,
    /// Process id of the predecessor.
    pub pid: u32,
    /// Who it is.
    pub identity: Identity,
    /// Descriptors the successor must be able to hold: listeners, sockets and a reserve.
    pub descriptors: u64,
    /// Soft descriptor limit of the predecessor.
    pub descriptor_limit: u64,
}

/// One side cannot or will not do it, said before anything has moved. Its layout never changes.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Refuse {
    /// Why, for people.
    pub reason: String,
}

/// The arena. Comes with the descriptors that the server gave.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Arena {
    /// Number of this message, for its acknowledgement.
    pub sequence: u64,
    /// What the server wants its successor to know.
    pub payload: Vec<u8>,
}

/// The listeners, each with its descriptor, in the same order.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Listeners {
    /// Number of this message, for its acknowledgement.
    pub sequence: u64,
    /// What the server wants its successor to know, one for each descriptor.
    pub descriptions: Vec<Vec<u8>>,
}

/// A batch of client sockets, each with its descriptor, in the same order.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Sockets {
    /// Number of this message, for its acknowledgement.
    pub sequence: u64,
    /// What they are.
    pub tickets: Vec<Ticket>,
}

/// Sockets sent earlier that have closed since: the duplicates are to be closed too.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Number of this message, for its acknowledgement.
    pub sequence: u64,
    /// Which.
    pub tickets: Vec<Ticket>,
}

/// Everything up to this number has been received and is held.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The number.
    pub sequence: u64,
}

/// A set of sockets in a form that can be compared: see `TicketSet`.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetDigest {
    /// Sockets in the set.
    pub count: u32,
    /// Sum of the mixed tickets.
    pub sum: u64,
}

/// Every socket has been sent once; from here on only news follow.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct PrecopyDone {
    /// Sockets that the successor must hold now.
    pub set: SetDigest,
    /// Listeners that were sent.
    pub listeners: u32,
}

/// The successor could serve at once. News (SOCKETS, CLOSED) may still follow.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Thread id of its executor, as it stands in the lock word of its generation.
    pub executor_tid: u32,
    /// Sockets it holds.
    pub sockets: u32,
}

/// The predecessor has run its last command, and the owner word says `Offered`; the successor may take.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Generation that gives.
    pub from: u32,
    /// Generation that may take.
    pub to: u32,
    /// `CLOCK_MONOTONIC` when the last command had ended, in nanoseconds.
    pub last_command_ns: u64,
    /// Sockets that the successor must hold now.
    pub set: SetDigest,
    /// What the server wants its successor to know, of a size that does not grow with sessions.
    pub payload: Vec<u8>,
}

/// The successor has ended its first complete tick as the owner.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Its generation.
    pub generation: u32,
    /// From the predecessor's last command to the end of that tick, in nanoseconds.
    pub freeze_ns: u64,
    /// Connections it serves.
    pub connections: u32,
}

/// The successor stops on purpose while its predecessor stands by: nothing is to be taken back.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Stopping {
    /// Why, for people.
    pub cause: String,
}

/// The predecessor needs nothing more and is about to exit.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// Generation that says it.
    pub generation: u32,
}

/// This attempt is over; the sender has not given or taken anything. Its layout never changes.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Abort {
    /// Why, for people.
    pub reason: String,
}

/// Any message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is documented at its body")]
pub enum Message {
    Hello(Hello),
    Welcome(Welcome),
    Refuse(Refuse),
    Arena(Arena),
    Listeners(Listeners),
    Sockets(Sockets),
    Closed(Closed),
    Ack(Ack),
    PrecopyDone(PrecopyDone),
    Ready(Ready),
    Offer(Offer),
    Serving(Serving),
    Goodbye(Goodbye),
    Abort(Abort),
    Stopping(Stopping),
}

impl Message {
    /// The name used in the documentation and in errors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "HELLO",
            Self::Welcome(_) => "WELCOME",
            Self::Refuse(_) => "REFUSE",
            Self::Arena(_) => "ARENA",
            Self::Listeners(_) => "LISTENERS",
            Self::Sockets(_) => "SOCKETS",
            Self::Closed(_) => "CLOSED",
            Self::Ack(_) => "ACK",
            Self::PrecopyDone(_) => "PRECOPY_DONE",
            Self::Ready(_) => "READY",
            Self::Offer(_) => "OFFER",
            Self::Serving(_) => "SERVING",
            Self::Goodbye(_) => "GOODBYE",
            Self::Abort(_) => "ABORT",
            Self::Stopping(_) => "STOPPING",
        }
    }
}
