//! The channel between the keeper and each generation.
//!
//! A `SOCK_SEQPACKET` socket pair: one packet is one message, so there is nothing to reassemble and
//! a message is either there or not. Each packet is an 8-byte frame header followed by one rkyv
//! archive, validated with bytecheck:
//!
//! ```text
//! offset  size  what
//!      0     4  magic "HRKC"
//!      4     2  version of this protocol, little endian
//!      6     2  kind of the message, little endian (see `messages`)
//!      8     n  archive of that kind's body
//! ```
//!
//! A kind's archive never changes; a new need gets a new kind, and a receiver that does not know a
//! kind says so and reads on. That matters because a keeper outlives the builds it starts.
//!
//! Both ends never block. [`KeeperEnd`] belongs to the keeper, [`GenerationEnd`] to the generation;
//! each can be watched by its descriptor in a poll loop and must be read until
//! [`recv`](Endpoint::recv) says `None`. End of file ([`ChannelError::Closed`]) proves that the
//! other process is gone.

mod messages;

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{SockType, getsockopt, sockopt};

use crate::error::FdError;
use crate::fds::{ControlBuffer, receive_message, send_message};
use crate::link::Link;

pub use messages::{
    Abort, Check, CheckOutcome, CheckReport, GenerationToKeeper, GoBack, GoBackFailed, Goodbye,
    Hold, KeeperToGeneration, Outcome, Phase, Probation, Progress, Ready, Recover, Release,
    Returned, Serving, Shutdown, StandIn, Start, StartFailed, Status, StatusReport, Stopping,
    Succeed, TakeBack, Upgrade, UpgradeFailed,
};

/// Version of the keeper channel that this build speaks.
pub const KEEPER_PROTOCOL: u16 = 2;

/// Longest message in bytes, header included. A packet beyond it is refused on both ends.
pub const MAX_MESSAGE: usize = 96 * 1024;

const MAGIC: [u8; 4] = *b"HRKC";
const HEADER: usize = 8;

/// What can go wrong on a keeper channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// End of file: the process at the other end has exited or closed the channel.
    #[error("the process at the other end of the keeper channel is gone")]
    Closed,
    /// The other end does not read fast enough: the message was not sent and may be tried again.
    #[error("the other end of the keeper channel does not read: its queue is full")]
    Full,
    /// A message to be sent is longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes does not fit the keeper channel ({MAX_MESSAGE} at most)")]
    TooLong(usize),
    /// The packet is no message of this protocol.
    #[error("the other end of the keeper channel sent something that is no message: {0}")]
    Malformed(String),
    /// The other end speaks another version of this protocol.
    #[error("the other end of the keeper channel speaks version {0}, this build {KEEPER_PROTOCOL}")]
    Version(u16),
    /// A kind of message that this build does not know. The channel stays usable: skip it.
    #[error("message of unknown kind {0} on the keeper channel (from another build?)")]
    UnknownKind(u16),
    /// A descriptor came where none belongs, or none came where one does.
    #[error("a message on the keeper channel brought {got} descriptors instead of {expected}")]
    Descriptors {
        /// How many came.
        got: usize,
        /// How many belong to the message.
        expected: usize,
    },
    /// What came was cut, or a system call failed.
    #[error("keeper channel: {0}")]
    Transport(FdError),
    /// The channel could not be made.
    #[error("keeper channel: {0}")]
    Os(#[from] std::io::Error),
}

impl From<FdError> for ChannelError {
    fn from(error: FdError) -> Self {
        match error {
            FdError::WouldBlock => Self::Full,
            FdError::Closed => Self::Closed,
            other => Self::Transport(other),
        }
    }
}

impl From<Errno> for ChannelError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno.into())
    }
}

impl ChannelError {
    /// Whether the channel can be used on after this error: only this one message was lost.
    pub fn is_recoverable(&self) -> bool {
        matches!(self, Self::Full | Self::UnknownKind(_) | Self::TooLong(_))
    }
}

/// One direction's messages. Implemented by [`KeeperToGeneration`] and [`GenerationToKeeper`] only.
pub trait Message: Sized {
    /// The kind's number on the wire.
    fn kind(&self) -> u16;
    /// Whether exactly one descriptor goes with it.
    fn carries_descriptor(&self) -> bool;
    /// The archive of the body.
    fn encode(&self) -> Result<rkyv::util::AlignedVec, ChannelError>;
    /// Validates and reads an archive of a kind.
    fn decode(kind: u16, body: &[u8]) -> Result<Self, ChannelError>;
}

/// A received message with the descriptor that belongs to it.
#[derive(Debug)]
pub struct Delivery<M> {
    /// The message.
    pub message: M,
    /// `Some` exactly if the message is one that carries a descriptor; close-on-exec.
    pub descriptor: Option<OwnedFd>,
}

/// The keeper's end: sends [`KeeperToGeneration`], receives [`GenerationToKeeper`].
pub type KeeperEnd = Endpoint<KeeperToGeneration, GenerationToKeeper>;

/// A generation's end: sends [`GenerationToKeeper`], receives [`KeeperToGeneration`].
pub type GenerationEnd = Endpoint<GenerationToKeeper, KeeperToGeneration>;

/// One end of a keeper channel that sends `Tx` and receives `Rx`. Never blocks.
#[derive(Debug)]
pub struct Endpoint<Tx, Rx> {
    socket: UnixDatagram,
    buffer: Vec<u8>,
    control: ControlBuffer,
    messages: PhantomData<fn(Tx) -> Rx>,
}

/// Makes a channel: the end of the process that makes it, and the descriptor that the other one is to
/// inherit (close-on-exec until the spawner clears it in the child).
pub fn pair<Tx: Message, Rx: Message>() -> Result<(Endpoint<Tx, Rx>, OwnedFd), ChannelError> {
    let (ours, theirs) = Link::pair()?;
    Ok((Endpoint::new(ours), theirs))
}

impl<Tx: Message, Rx: Message> Endpoint<Tx, Rx> {
    /// Takes over the descriptor that this process was started with. Fails unless it is a packet
    /// socket.
    pub fn from_inherited(socket: OwnedFd) -> Result<Self, ChannelError> {
        if getsockopt(&socket, sockopt::SockType)? != SockType::SeqPacket {
            return Err(ChannelError::Malformed("the descriptor is no packet socket".into()));
        }
        fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        let end = Self::new(socket);
        end.socket.set_nonblocking(true)?;
        Ok(end)
    }

    fn new(socket: OwnedFd) -> Self {
        // The type is the nearest that the standard library has: it only passes calls on.
        Self {
            socket: socket.into(),
            buffer: Vec::new(),
            control: ControlBuffer::default(),
            messages: PhantomData,
        }
    }

    /// Sends a message that carries no descriptor.
    pub fn send(&self, message: &Tx) -> Result<(), ChannelError> {
        self.transmit(message, None)
    }

    /// Sends a message with the one descriptor that it carries. The caller keeps its own copy.
    pub fn send_with(&self, message: &Tx, descriptor: BorrowedFd<'_>) -> Result<(), ChannelError> {
        self.transmit(message, Some(descriptor))
    }

    fn transmit(&self, message: &Tx, fd: Option<BorrowedFd<'_>>) -> Result<(), ChannelError> {
        expect_descriptors(usize::from(fd.is_some()), message.carries_descriptor())?;
        let body = message.encode()?;
        let length = HEADER + body.len();
        if length > MAX_MESSAGE {
            return Err(ChannelError::TooLong(length));
        }
        let mut packet = Vec::with_capacity(length);
        packet.extend_from_slice(&MAGIC);
        packet.extend_from_slice(&KEEPER_PROTOCOL.to_le_bytes());
        packet.extend_from_slice(&message.kind().to_le_bytes());
        packet.extend_from_slice(&body);
        Ok(send_message(&self.socket, &packet, fd.as_slice())?)
    }

    /// Receives the next message; `None` if there is none now.
    ///
    /// Descriptors of a message that is refused are closed. After an error that is not
    /// [recoverable](ChannelError::is_recoverable) the channel must be dropped.
    pub fn recv(&mut self) -> Result<Option<Delivery<Rx>>, ChannelError> {
        self.buffer.resize(MAX_MESSAGE, 0);
        let received = receive_message(&self.socket, &mut self.buffer, &mut self.control);
        let (length, mut descriptors) = match received {
            Err(FdError::WouldBlock) => return Ok(None),
            other => other?,
        };
        let message = decode::<Rx>(&self.buffer[..length])?;
        expect_descriptors(descriptors.len(), message.carries_descriptor())?;
        Ok(Some(Delivery { message, descriptor: descriptors.pop() }))
    }
}

fn expect_descriptors(got: usize, carries: bool) -> Result<(), ChannelError> {
    let expected = usize::from(carries);
    if got == expected { Ok(()) } else { Err(ChannelError::Descriptors { got, expected }) }
}

fn decode<M: Message>(packet: &[u8]) -> Result<M, ChannelError> {
    let Some((header, body)) = packet.split_at_checked(HEADER) else {
        return Err(ChannelError::Malformed(format!("only {} bytes long", packet.len())));
    };
    if header[..4] != MAGIC {
        return Err(ChannelError::Malformed("wrong magic".into()));
    }
    let version = u16::from_le_bytes([header[4], header[5]]);
    if version != KEEPER_PROTOCOL {
        return Err(ChannelError::Version(version));
    }
    M::decode(u16::from_le_bytes([header[6], header[7]]), body)
}

impl<Tx, Rx> AsRawFd for Endpoint<Tx, Rx> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl<Tx, Rx> AsFd for Endpoint<Tx, Rx> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
