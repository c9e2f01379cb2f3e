//! The options of `SORT`.

use super::pattern::Pattern;
use crate::executor::{Cx, Fail, error};

/// What is to be sorted how, and what is to be given of it.
pub struct Options<'a> {
    /// In descending order.
    pub descending: bool,
    /// As texts, not as numbers.
    pub alpha: bool,
    /// The elements stay in the order that they have.
    pub unsorted: bool,
    /// What the elements are sorted by, if not by themselves.
    pub by: Option<Pattern<'a>>,
    /// What is given of each element; the element itself if there is nothing here.
    pub get: Vec<Pattern<'a>>,
    /// The key that becomes a list of the result.
    pub store: Option<&'a [u8]>,
    start: i64,
    count: i64,
}

impl<'a> Options<'a> {
    /// Reads the arguments behind the key. `can_store` says whether the command takes `STORE`.
    pub fn parse(cx: &Cx<'a>, can_store: bool) -> Result<Options<'a>, Fail> {
        let mut options = Options {
            descending: false,
            alpha: false,
            unsorted: false,
            by: None,
            get: Vec::new(),
            store: None,
            start: 0,
            count: -1,
        };
        let mut at = 2;
        while at < cx.args.len() {
            let value = cx.args.get(at + 1);
            at += match value {
                _ if cx.args.is(at, "ASC") => {
                    options.descending = false;
                    1
                }
                _ if cx.args.is(at, "DESC") => {
                    options.descending = true;
                    1
                }
                _ if cx.args.is(at, "ALPHA") => {
                    options.alpha = true;
                    1
                }
                Some(_) if cx.args.is(at, "LIMIT") && at + 2 < cx.args.len() => {
                    options.start = cx.int_arg(at + 1)?;
                    options.count = cx.int_arg(at + 2)?;
                    3
                }
                Some(value) => {
                    options.take(cx, at, value, can_store)?;
                    2
                }
                None => return Err(error::SYNTAX),
            };
        }
        Ok(options)
    }

    fn take(
        &mut self,
        cx: &Cx<'a>,
        at: usize,
        value: &'a [u8],
        can_store: bool,
    ) -> Result<(), Fail> {
        if can_store && cx.args.is(at, "STORE") {
            self.store = Some(value);
        } else if cx.args.is(at, "BY") {
            let pattern = Pattern::parse(value);
            // What is the same for all elements puts them in no order. A later BY does not change
            // that, as in Redis.
            self.unsorted |= !matches!(pattern, Pattern::Key { .. });
            self.by = Some(pattern);
        } else if cx.args.is(at, "GET") {
            self.get.push(Pattern::parse(value));
        } else {
            return Err(error::SYNTAX);
        }
        Ok(())
    }

    /// Positions of the elements that are given, of `len` in order.
    pub fn range(&self, len: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(self.start.max(0)).unwrap_or(usize::MAX).min(len);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }
}
