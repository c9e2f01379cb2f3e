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

use std::io::{IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    getsockopt, recvmsg, sendmsg, socketpair, sockopt,
};

pub use messages::{
    Abort, Check, CheckOutcome, CheckReport, GenerationToKeeper, Goodbye, KeeperToGeneration,
    Outcome, Phase, Progress, Ready, Release, Serving, Shutdown, Start, StartFailed, Status,
    StatusReport, Stopping, Succeed, Upgrade, UpgradeFailed,
};

/// Version of the keeper channel that this build speaks.
pub const KEEPER_PROTOCOL: u16 = 1;

/// Longest message in bytes, header included. A packet beyond it is refused on both ends.
pub const MAX_MESSAGE: usize = 96 * 1024;

const MAGIC: [u8; 4] = *b"HRKC";
const HEADER: usize = 8;
/// The kernel puts at most this many descriptors into one message, so a buffer of this size is
/// never too small and a truncation can only mean that this process has reached its descriptor
/// limit.
const MAX_FDS: usize = 253;

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
    /// Descriptors got lost on receipt.
    #[error(
        "descriptors were lost on the keeper channel: raise the limit of open files (RLIMIT_NOFILE)"
    )]
    DescriptorsLost,
    /// A descriptor came where none belongs, or none came where one does.
    #[error("a message on the keeper channel brought {got} descriptors instead of {expected}")]
    Descriptors {
        /// How many came.
        got: usize,
        /// How many belong to the message.
        expected: usize,
    },
    /// A system call failed.
    #[error("keeper channel: {0}")]
    Os(#[from] Errno),
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
    socket: OwnedFd,
    buffer: Vec<u8>,
    messages: PhantomData<fn(Tx) -> Rx>,
}

/// Makes a channel: the keeper's end, and the descriptor that a generation is to inherit
/// (close-on-exec until the spawner clears it in the child).
pub fn pair() -> Result<(KeeperEnd, OwnedFd), ChannelError> {
    let (ours, theirs) = seqpacket_pair()?;
    Ok((Endpoint::new(ours), theirs))
}

/// A close-on-exec `SOCK_SEQPACKET` socket pair: also what predecessor and successor talk over.
pub fn seqpacket_pair() -> Result<(OwnedFd, OwnedFd), ChannelError> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

impl GenerationEnd {
    /// Takes over the descriptor that this process was started with. Fails unless it is a packet
    /// socket.
    pub fn from_inherited(socket: OwnedFd) -> Result<Self, ChannelError> {
        if getsockopt(&socket, sockopt::SockType)? != SockType::SeqPacket {
            return Err(ChannelError::Malformed("the descriptor is no packet socket".into()));
        }
        fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok(Self::new(socket))
    }
}

impl<Tx: Message, Rx: Message> Endpoint<Tx, Rx> {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, buffer: Vec::new(), messages: PhantomData }
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
        let mut header = [0u8; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        header[4..6].copy_from_slice(&KEEPER_PROTOCOL.to_le_bytes());
        header[6..].copy_from_slice(&message.kind().to_le_bytes());
        let parts = [IoSlice::new(&header), IoSlice::new(&body)];
        let raw = fd.map(|fd| [fd.as_raw_fd()]);
        let rights = raw.as_ref().map(|raw| ControlMessage::ScmRights(raw));
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match sendmsg::<UnixAddr>(self.as_raw_fd(), &parts, rights.as_slice(), flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return Err(ChannelError::Full),
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(ChannelError::Closed),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Receives the next message; `None` if there is none now.
    ///
    /// Descriptors of a message that is refused are closed. After an error that is not
    /// [recoverable](ChannelError::is_recoverable) the channel must be dropped.
    pub fn recv(&mut self) -> Result<Option<Delivery<Rx>>, ChannelError> {
        let Some((length, mut descriptors)) = self.receive_packet()? else { return Ok(None) };
        let message = decode::<Rx>(&self.buffer[..length])?;
        expect_descriptors(descriptors.len(), message.carries_descriptor())?;
        Ok(Some(Delivery { message, descriptor: descriptors.pop() }))
    }

    /// Reads one packet into the buffer: its length and descriptors.
    fn receive_packet(&mut self) -> Result<Option<(usize, Vec<OwnedFd>)>, ChannelError> {
        self.buffer.resize(MAX_MESSAGE, 0);
        let mut control = nix::cmsg_space!([RawFd; MAX_FDS]);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let socket = self.socket.as_raw_fd();
        loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let received = match recvmsg::<UnixAddr>(socket, &mut parts, Some(&mut control), flags)
            {
                Ok(received) => received,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::ECONNRESET) => return Err(ChannelError::Closed),
                Err(errno) => return Err(errno.into()),
            };
            // nix refuses to walk a truncated control buffer. What few descriptors came in spite of
            // the limit stay open then, once: the channel is dropped over it.
            let control = received.cmsgs().map_err(|_| ChannelError::DescriptorsLost)?;
            let mut descriptors = Vec::new();
            for message in control {
                if let ControlMessageOwned::ScmRights(raw) = message {
                    // SAFETY: the kernel has just installed these descriptors in this process for
                    // this message, and nothing else knows their numbers yet, so each is owned here
                    // and only here.
                    descriptors
                        .extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
            }
            if received.flags.contains(MsgFlags::MSG_TRUNC) {
                return Err(ChannelError::Malformed(format!("longer than {MAX_MESSAGE} bytes")));
            }
            return match received.bytes {
                0 => Err(ChannelError::Closed),
                length => Ok(Some((length, descriptors))),
            };
        }
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
