//! Framing: one message is one datagram of the `SOCK_SEQPACKET` link.
//!
//! ```text
//! 0   magic "HRHO"
//! 4   version of this framing, 1
//! 5   kind of message
//! 6   descriptors that come with it, u16 little-endian
//! 8   length of the body, u32 little-endian
//! 12  body: an rkyv archive (little-endian, unaligned), validated with bytecheck on receipt
//! ```

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use crate::error::WireError;
use crate::message::Message;

/// First bytes of every message.
pub const MAGIC: [u8; 4] = *b"HRHO";
/// Version of the framing, not of the protocol that is spoken in it.
pub const FRAME_VERSION: u8 = 1;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 12;
/// Bytes of a whole message at most.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Declares the kind byte of each message once, for both directions.
macro_rules! kinds {
    ($($kind:literal => $variant:ident),* $(,)?) => {
        fn encode_body(message: &Message) -> Result<(u8, AlignedVec), Error> {
            match message {
                $(Message::$variant(body) => Ok(($kind, to_archive(body)?)),)*
            }
        }

        fn decode_body(kind: u8, body: &[u8]) -> Option<Result<Message, WireError>> {
            match kind {
                $($kind => Some(
                    from_archive(body, stringify!($variant)).map(Message::$variant)
                ),)*
                _ => None,
            }
        }
    };
}

kinds! {
    1 => Hello,
    2 => Welcome,
    3 => Refuse,
    4 => Arena,
    5 => Listeners,
    6 => Sockets,
    7 => Closed,
    8 => Ack,
    9 => PrecopyDone,
    10 => Ready,
    12 => Offer,
    13 => Serving,
    14 => Goodbye,
    15 => Abort,
    16 => Stopping,
}

/// Encodes a message that travels with `fds` descriptors.
///
/// # Errors
/// [`WireError::TooLong`] beyond [`MAX_MESSAGE_BYTES`].
pub fn encode(message: &Message, fds: usize) -> Result<Vec<u8>, WireError> {
    let kind = message.name();
    let (code, body) = encode_body(message)
        .map_err(|error| WireError::Body { kind, reason: error.to_string() })?;
    let length = HEADER_BYTES + body.len();
    let too_long = WireError::TooLong { kind, length, limit: MAX_MESSAGE_BYTES };
    if length > MAX_MESSAGE_BYTES {
        return Err(too_long);
    }
    let fds = u16::try_from(fds).map_err(|_| too_long)?;
    let mut frame = Vec::with_capacity(length);
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&[FRAME_VERSION, code]);
    frame.extend_from_slice(&fds.to_le_bytes());
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Decodes a message that came with `fds` descriptors.
///
/// # Errors
/// A [`WireError`] for everything that [`encode`] would not have returned.
pub fn decode(frame: &[u8], fds: usize) -> Result<Message, WireError> {
    let Some((header, body)) = frame.split_first_chunk::<HEADER_BYTES>() else {
        return Err(WireError::Length { stated: HEADER_BYTES, actual: frame.len() });
    };
    let [m0, m1, m2, m3, version, kind, f0, f1, l0, l1, l2, l3] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(WireError::Magic);
    }
    if version != FRAME_VERSION {
        return Err(WireError::FrameVersion { found: version, ours: FRAME_VERSION });
    }
    let stated = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if stated != body.len() || frame.len() > MAX_MESSAGE_BYTES {
        return Err(WireError::Length { stated, actual: body.len() });
    }
    let announced = usize::from(u16::from_le_bytes([f0, f1]));
    if announced != fds {
        return Err(WireError::FdCount { stated: announced, actual: fds });
    }
    decode_body(kind, body).ok_or(WireError::Kind { kind })?
}

fn to_archive<T>(body: &T) -> Result<AlignedVec, Error>
where
    T: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>>,
{
    rkyv::to_bytes::<Error>(body)
}

fn from_archive<T>(body: &[u8], kind: &'static str) -> Result<T, WireError>
where
    T: Archive,
    T::Archived:
        for<'a> CheckBytes<HighValidator<'a, Error>> + Deserialize<T, HighDeserializer<Error>>,
{
    rkyv::from_bytes::<T, Error>(body)
        .map_err(|error| WireError::Body { kind, reason: error.to_string() })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
