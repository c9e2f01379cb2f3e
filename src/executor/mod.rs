//! Runs commands. Placeholder until the executor itself lands: only what command handlers need to compile.

use std::borrow::Cow;
use std::marker::PhantomData;

/// What a handler works with.
pub struct Cx<'a> {
    args: PhantomData<&'a [u8]>,
}

/// Why a command failed.
#[derive(Debug)]
pub enum Fail {
    /// An error reply, with its code (`ERR ...`).
    Err(Cow<'static, str>),
    /// The arena has no memory left.
    Oom,
}

/// What came of a command. On `Ok` the handler has written its reply.
pub type Outcome = Result<(), Fail>;
