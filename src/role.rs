//! What a generation is started as.

use std::os::fd::OwnedFd;
use std::time::Instant;

use handoff::death::Cause;

use crate::settings::Settings;

/// The part that a new process is to play, as the keeper's first message says.
#[derive(Debug)]
pub enum Role {
    /// Generation 1: makes arena and listeners, says `Ready` or `StartFailed`.
    First {
        /// Its number.
        generation: u64,
        /// The keeper's pid.
        keeper_pid: u32,
        /// What `hotredis serve` was given.
        settings: Settings,
        /// Over which the keeper is told of descriptors, if it is another process.
        holding: Option<OwnedFd>,
    },
    /// A successor: takes over from the generation at the other end of the link, or from the keeper
    /// if that generation has died; says `Serving` or `UpgradeFailed`.
    Successor(Succession),
}

/// What a successor is told.
#[derive(Debug)]
pub struct Succession {
    /// Number of the upgrade, or of the recovery; every message about it names it.
    pub upgrade: u64,
    /// The number of the generation to be.
    pub generation: u64,
    /// The keeper's pid.
    pub keeper_pid: u32,
    /// The predecessor's pid; `None` if it has died.
    pub predecessor_pid: Option<u32>,
    /// Of what it has died.
    pub cause: Cause,
    /// When the keeper gives up and kills this process.
    pub deadline: Instant,
    /// What `hotredis serve` was given; what `CONFIG SET` changed since is in the arena.
    pub settings: Settings,
    /// A `SOCK_SEQPACKET` socket to the predecessor, or to the keeper in its place.
    pub link: OwnedFd,
    /// Over which the keeper is told of descriptors, if it is another process.
    pub holding: Option<OwnedFd>,
}

/// What OFFER's payload says if the keeper knows of every descriptor.
const TOLD: u8 = 1;

/// The payload of OFFER: whether the keeper knows of every descriptor that is given, or has to be told
/// anew.
pub fn offer_payload(told: bool) -> Vec<u8> {
    vec![if told { TOLD } else { 0 }]
}

/// Whether a payload of OFFER says that the keeper knows of everything.
pub fn was_told(payload: &[u8]) -> bool {
    payload == [TOLD]
}
