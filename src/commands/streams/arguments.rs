//! Ids, intervals, and how to trim.

use crate::executor::{Cx, Fail, error};
use crate::values::stream::change::{Keep, Trim};
use crate::values::stream::id::{Given, Id};
use crate::values::stream::{Limits, node};

/// An entry cannot be stored.
pub const TOO_LARGE: &str = "ERR Elements are too large to be stored";
const BAD_ID: &str = "ERR Invalid stream ID specified as stream command argument";

/// Reads an id; without a sequence number it has 0.
pub fn id(text: &[u8]) -> Result<Id, Fail> {
    Id::parse(text, 0).ok_or_else(|| BAD_ID.into())
}

/// The same, but `-` and `+` stand for the least and the greatest one.
pub fn bound(text: &[u8]) -> Result<Id, Fail> {
    Id::parse_bound(text, 0).ok_or_else(|| BAD_ID.into())
}

/// The arguments from that number on as ids.
pub fn ids(cx: &Cx<'_>, from: usize) -> Result<Vec<Id>, Fail> {
    cx.args.from(from).map(id).collect()
}

/// An id that begins or ends an interval, and whether it is not part of it itself.
fn edge(text: &[u8], missing: u64) -> Result<(Id, bool), Fail> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => Id::parse(id, missing).map(|id| (id, true)),
        _ => Id::parse_bound(text, missing).map(|id| (id, false)),
    }
    .ok_or_else(|| BAD_ID.into())
}

/// The first id of an interval.
pub fn start(text: &[u8]) -> Result<Id, Fail> {
    match edge(text, 0)? {
        (id, false) => Ok(id),
        (id, true) => id.next().ok_or_else(|| "ERR invalid start ID for the interval".into()),
    }
}

/// The last id of an interval.
pub fn end(text: &[u8]) -> Result<Id, Fail> {
    match edge(text, u64::MAX)? {
        (id, false) => Ok(id),
        (id, true) => id.previous().ok_or_else(|| "ERR invalid end ID for the interval".into()),
    }
}

/// When nodes are full, as configured.
pub fn limits(cx: &Cx<'_>) -> Limits {
    let config = &cx.state.config;
    Limits { bytes: config.stream_node_max_bytes(), entries: config.stream_node_max_entries() }
}

/// What stands before the fields of `XADD`, or makes up `XTRIM`.
#[derive(Debug, Default)]
pub struct Options {
    /// What to keep, if anything is to be trimmed.
    keep: Option<Keep>,
    /// Whether only whole nodes are removed.
    whole_nodes: bool,
    limit: Option<i64>,
    /// Whether a stream that is not there is made.
    pub no_stream: bool,
    /// The id to add; `None` for one of the clock.
    pub given: Option<Given>,
    /// Number of the argument at which reading has ended: that of the id.
    pub end: usize,
}

impl Options {
    /// Reads the options of `XADD` with its id, or those of `XTRIM`.
    pub fn parse(cx: &Cx<'_>, adds: bool) -> Result<Options, Fail> {
        let mut options = Options { end: 2, ..Options::default() };
        while options.end < cx.args.len() {
            if adds && is_star(cx.arg(options.end)) {
                break;
            }
            let more = options.end + 1 < cx.args.len();
            if cx.args.is(options.end, "MAXLEN") && more {
                let at = options.strategy(cx)?;
                let keep = u64::try_from(cx.int_arg(at)?);
                let keep = keep.map_err(|_| "ERR The MAXLEN argument must be >= 0.")?;
                options.keep = Some(Keep::Length(keep));
            } else if cx.args.is(options.end, "MINID") && more {
                let at = options.strategy(cx)?;
                options.keep = Some(Keep::From(id(cx.arg(at))?));
            } else if cx.args.is(options.end, "LIMIT") && more {
                options.end += 1;
                let limit = cx.int_arg(options.end)?;
                if limit < 0 {
                    return Err("ERR The LIMIT argument must be >= 0.".into());
                }
                options.limit = Some(limit);
            } else if adds && cx.args.is(options.end, "NOMKSTREAM") {
                options.no_stream = true;
            } else if adds {
                let given = Id::parse_given(cx.arg(options.end), 0);
                options.given = Some(given.ok_or(BAD_ID)?);
                break;
            } else {
                return Err(error::SYNTAX);
            }
            options.end += 1;
        }
        options.check(adds)?;
        Ok(options)
    }

    /// Reads what may stand between the name of a strategy and its threshold, whose number it gives.
    fn strategy(&mut self, cx: &Cx<'_>) -> Result<usize, Fail> {
        if self.keep.is_some() {
            return Err("ERR syntax error, MAXLEN and MINID options at the same time are not \
                        compatible"
                .into());
        }
        self.end += 1;
        self.whole_nodes = false;
        if self.end + 1 < cx.args.len() {
            let (approximate, exact) = (cx.arg(self.end) == b"~", cx.arg(self.end) == b"=");
            self.whole_nodes = approximate;
            self.end += usize::from(approximate || exact);
        }
        Ok(self.end)
    }

    fn check(&self, adds: bool) -> Result<(), Fail> {
        let problem = if self.keep.is_none() && self.limit.is_some_and(|limit| limit != 0) {
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
        } else if self.keep.is_none() && !adds {
            "ERR syntax error, XTRIM must be called with a trimming strategy"
        } else if self.limit.is_some() && !self.whole_nodes {
            "ERR syntax error, LIMIT cannot be used without the special ~ option"
        } else {
            return Ok(());
        };
        Err(problem.into())
    }

    /// How to trim, if that is to be done.
    pub fn trim(&self, limits: Limits) -> Option<Trim> {
        let limit = match self.limit {
            Some(limit) => limit as u64,
            None if self.whole_nodes => default_limit(limits),
            None => 0,
        };
        self.keep.map(|keep| Trim { keep, whole_nodes: self.whole_nodes, limit })
    }
}

fn is_star(text: &[u8]) -> bool {
    matches!(text, [b'*'] | [b'*', 0, ..])
}

/// Entries that one command removes at most if only whole nodes are removed: a hundred nodes' worth.
fn default_limit(limits: Limits) -> u64 {
    match limits.entries.saturating_mul(100) {
        0 => 10_000,
        limit => limit.min(1_000_000),
    }
}

/// Whether an entry with so many bytes of fields and values may be added.
pub fn check_size(bytes: u64) -> Result<(), Fail> {
    if bytes > node::BYTES_MAX {
        return Err(TOO_LARGE.into());
    }
    Ok(())
}
