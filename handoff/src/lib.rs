//! Moving descriptors and ownership between two processes of one host.
//!
//! A *predecessor* serves an arena; a *successor* is to serve it from now on. They share a
//! [`link`](link::Link), over which the predecessor sends the arena, the listeners and the client
//! sockets while it goes on serving, and the [owner word](owner::OwnerWord) in the arena's header,
//! which alone decides who owns what. `docs/handoff.md` describes the messages, the states of both
//! sides, and what happens when a step fails.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`owner`] | the owner word and its compare-and-swaps |
//! | [`fence`] | the executor lock (a robust futex) and the proof that a generation is dead |
//! | [`death`] | of what a generation has died |
//! | [`fds`], [`wire`], [`message`], [`link`] | descriptors, framing, messages, the socket |
//! | [`sockets`] | which sockets each side holds |
//! | [`host`] | the traits that a server implements, and what it is told |
//! | [`predecessor`], [`successor`], [`standby`] | the state machines: who gives, who takes, who stands by |
//! | [`custody`] | what a keeper holds, so that it outlives the generation that serves |
//! | [`keeper_channel`] | what a generation and its keeper tell each other |
//! | [`prompt`] | how soon, and where, a side that takes over wakes |
//! | [`failpoint`] | where tests have a process fail on purpose |
//! | [`cookie`], [`counts`], [`rlimit`], [`clock`] | small views of the system |
//!
//! This crate knows nothing of Redis, keys or the arena's content: what the server has to tell its
//! successor travels as opaque bytes.

pub mod clock;
pub mod cookie;
pub mod counts;
pub mod custody;
pub mod death;
pub mod error;
pub mod failpoint;
pub mod fds;
pub mod fence;
mod held;
pub mod host;
pub mod keeper_channel;
pub mod link;
pub mod message;
pub mod owner;
mod phase;
pub mod predecessor;
pub mod prompt;
mod reason;
pub mod rlimit;
pub mod sockets;
pub mod standby;
pub mod successor;
pub mod wire;
