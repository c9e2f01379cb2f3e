//! The wire protocol, as pure functions over bytes: requests in, RESP2 and RESP3 replies out.
//!
//! Nothing here does I/O or knows where bytes are stored. [`request`] finds the arguments of a
//! request inside the caller's buffer without copying them; [`reply`] appends to any
//! [`reply::Sink`].

pub mod inline;
pub mod reply;
pub mod request;
