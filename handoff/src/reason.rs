//! How both sides make a reason out of what went wrong, and a message out of a reason.

use crate::error::{HandoffError, HostError, Phase};
use crate::message::{Abort, Message, Refuse};

/// Characters of a reason that goes to, or comes from, a peer.
const REASON_CHARS: usize = 1000;

/// What a side that stops tells the other one.
pub(crate) fn last_word(reason: &HandoffError) -> Message {
    let text = bounded(reason.to_string());
    match reason {
        HandoffError::Refused(_) | HandoffError::Descriptors(_) | HandoffError::Protocol { .. } => {
            Message::Refuse(Refuse { reason: text })
        }
        _ => Message::Abort(Abort { reason: text }),
    }
}

/// The reason in a message that ends the attempt.
pub(crate) fn ended_by_peer(message: &Message) -> Option<HandoffError> {
    match message {
        Message::Refuse(refuse) => Some(HandoffError::PeerRefused(bounded(refuse.reason.clone()))),
        Message::Abort(abort) => Some(HandoffError::PeerAborted(bounded(abort.reason.clone()))),
        _ => None,
    }
}

fn bounded(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(REASON_CHARS) {
        text.truncate(end);
    }
    text
}

pub(crate) fn violation(phase: Phase, what: String) -> HandoffError {
    HandoffError::Violation { phase, what }
}

pub(crate) fn unexpected(phase: Phase, message: &Message) -> HandoffError {
    violation(phase, format!("{} must not come now, or not with descriptors", message.name()))
}

pub(crate) fn host_failed(phase: Phase, error: &HostError) -> HandoffError {
    HandoffError::Host { phase, reason: error.to_string() }
}
