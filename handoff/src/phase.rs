//! The phases of an upgrade, as both sides name them in errors and in progress reports.

use std::fmt;

/// What an attempt is doing, in the order of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Step 2: waiting for, or saying, HELLO and WELCOME.
    Hello,
    /// Step 3: the arena travels.
    Arena,
    /// Step 3: the listeners travel.
    Listeners,
    /// Step 3: client sockets travel in batches.
    Sockets,
    /// Step 3: everything was sent once; the successor prepares, news goes on being sent.
    Prepare,
    /// Step 4: the predecessor has stopped; the rest travels and the offer is made.
    Freeze,
    /// Step 4: offered, not known to be taken.
    Offer,
    /// Step 5: taken; waiting for SERVING.
    Serve,
    /// The successor did not make it and is being killed.
    Fence,
    /// Step 6: the predecessor stands by.
    Probation,
    /// The keeper is told of descriptors.
    Custody,
    /// Over, one way or the other.
    Over,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "greeting",
            Self::Arena => "passing the arena",
            Self::Listeners => "passing the listeners",
            Self::Sockets => "passing client sockets",
            Self::Prepare => "waiting for the successor to be ready",
            Self::Freeze => "freezing",
            Self::Offer => "waiting for the offer to be taken",
            Self::Serve => "waiting for the successor's first tick",
            Self::Fence => "fencing the successor",
            Self::Probation => "the predecessor stood by",
            Self::Custody => "telling the keeper",
            Self::Over => "over",
        })
    }
}
