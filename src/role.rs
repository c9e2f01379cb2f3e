//! What a generation is started as.

use std::os::fd::OwnedFd;

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
    /// What for.
    pub why: Why,
    /// What `hotredis serve` was given; what `CONFIG SET` changed since is in the arena.
    pub settings: Settings,
    /// A `SOCK_SEQPACKET` socket to the predecessor, or to the keeper in its place.
    pub link: OwnedFd,
    /// Over which the keeper is told of descriptors, if it is another process.
    pub holding: Option<OwnedFd>,
}

/// What makes a generation take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// An upgrade: the predecessor serves.
    Upgrade {
        /// The predecessor's process.
        predecessor_pid: u32,
    },
    /// The predecessor has died, of this: there is something to roll back, and nobody to go easy on.
    Death(Cause),
    /// The predecessor serves, and may die one day: the same then, but there is time until then. OFFER
    /// says of what it has died.
    Spare,
}

/// What OFFER's payload says first if the keeper knows of every descriptor.
const TOLD: u8 = 1;

/// The payload of OFFER: whether the keeper knows of every descriptor that is given, or has to be told
/// anew.
pub fn offer_payload(told: bool) -> Vec<u8> {
    vec![if told { TOLD } else { 0 }]
}

/// The payload of the keeper's OFFER to a spare, which was started before it was known of what the other
/// would die.
pub fn offer_payload_to_spare(cause: Cause) -> Vec<u8> {
    let (kind, number) = match cause {
        Cause::Unknown => (0, 0),
        Cause::Exit(code) => (1, code),
        Cause::Signal(signal) => (2, signal),
        Cause::Hang => (3, 0),
        Cause::OutOfMemory => (4, 0),
    };
    [[TOLD, kind].as_slice(), &i32::to_le_bytes(number)].concat()
}

/// Whether a payload of OFFER says that the keeper knows of everything.
pub fn was_told(payload: &[u8]) -> bool {
    payload.first() == Some(&TOLD)
}

/// Of what the predecessor has died, as the payload of OFFER to a spare says.
pub fn cause_in(payload: &[u8]) -> Cause {
    let &[_, kind, ref number @ ..] = payload else { return Cause::Unknown };
    let number = number.try_into().map_or(0, i32::from_le_bytes);
    match kind {
        1 => Cause::Exit(number),
        2 => Cause::Signal(number),
        3 => Cause::Hang,
        4 => Cause::OutOfMemory,
        _ => Cause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_of_death_travels_in_the_offer() {
        let all =
            [Cause::Unknown, Cause::Exit(-3), Cause::Signal(11), Cause::Hang, Cause::OutOfMemory];
        for cause in all {
            let payload = offer_payload_to_spare(cause);
            assert!(was_told(&payload));
            assert_eq!(cause_in(&payload), cause);
        }
        for payload in [offer_payload(true), offer_payload(false), Vec::new(), vec![1, 2, 3]] {
            let signal = Cause::Signal(0);
            assert!([Cause::Unknown, signal].contains(&cause_in(&payload)), "{payload:?}");
        }
        assert!(was_told(&offer_payload(true)) && !was_told(&offer_payload(false)));
    }
}
