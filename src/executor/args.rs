//! The arguments of a command, read where they are.

use crate::proto::request::ArgRange;

/// The arguments of one command, its name first. Copies of it are cheap, and what it gives lives as
/// long as the request, so that a handler can write while it holds an argument.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Args<'a> {
    /// Arguments that are these ranges of `bytes`.
    pub fn new(bytes: &'a [u8], ranges: &'a [ArgRange]) -> Args<'a> {
        Args { bytes, ranges }
    }

    /// Number of arguments, the command's name included.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument of that number.
    ///
    /// # Panics
    ///
    /// If there are not so many; for arguments that the arity guarantees.
    #[inline(always)]
    pub fn at(&self, index: usize) -> &'a [u8] {
        let range = self.ranges[index];
        &self.bytes[range.start..range.start + range.len]
    }

    /// The argument of that number, if there is one.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.len()).then(|| self.at(index))
    }

    /// The arguments from that number on.
    pub fn from(
        &self,
        index: usize,
    ) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone + use<'a> {
        let bytes = self.bytes;
        let ranges = self.ranges.get(index..).unwrap_or_default();
        ranges.iter().map(move |range| &bytes[range.start..range.start + range.len])
    }

    /// Whether the argument of that number is this word, in any case.
    #[inline]
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// All arguments as slices.
    pub fn to_vec(&self) -> Vec<&'a [u8]> {
        self.from(0).collect()
    }

    /// Where the arguments stand within [`bytes`](Args::bytes).
    pub fn ranges(&self) -> &'a [ArgRange] {
        self.ranges
    }

    /// What the ranges refer to.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}
