//! The longest common subsequence of two strings, as Redis finds it: of several that are equally
//! long, always the same one.

/// Lengths of the longest common subsequences of all pairs of prefixes.
pub struct Table {
    lengths: Vec<u32>,
    a_len: usize,
    b_len: usize,
}

/// A stretch that both strings share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Where it begins in the first one.
    pub a: u64,
    /// Where it begins in the second one.
    pub b: u64,
    /// Bytes.
    pub length: u64,
}

impl Table {
    /// Memory of a table for strings of these lengths, in bytes.
    pub fn bytes(a_len: usize, b_len: usize) -> u64 {
        (a_len as u64 + 1).saturating_mul(b_len as u64 + 1).saturating_mul(size_of::<u32>() as u64)
    }

    /// Computes the table; `None` if there is no memory for it.
    pub fn new(a: &[u8], b: &[u8]) -> Option<Table> {
        let width = b.len() + 1;
        let size = width.checked_mul(a.len() + 1)?;
        let mut lengths = Vec::new();
        lengths.try_reserve_exact(size).ok()?;
        lengths.resize(size, 0);
        for (i, byte) in a.iter().enumerate() {
            let (before, row) = lengths[i * width..][..2 * width].split_at_mut(width);
            for (j, other) in b.iter().enumerate() {
                row[j + 1] = if byte == other { before[j] + 1 } else { before[j + 1].max(row[j]) };
            }
        }
        Some(Table { lengths, a_len: a.len(), b_len: b.len() })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.lengths[i * (self.b_len + 1) + j]
    }

    /// Length of the longest common subsequence.
    pub fn length(&self) -> u64 {
        u64::from(self.at(self.a_len, self.b_len))
    }

    /// Walks from the ends to the beginnings; calls `each` with every pair of positions that belongs
    /// to the subsequence, the last one first.
    fn walk(&self, a: &[u8], b: &[u8], mut each: impl FnMut(usize, usize)) {
        let (mut i, mut j) = (self.a_len, self.b_len);
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                i -= 1;
                j -= 1;
                each(i, j);
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
    }

    /// The longest common subsequence.
    pub fn subsequence(&self, a: &[u8], b: &[u8]) -> Vec<u8> {
        let mut common = Vec::with_capacity(self.length() as usize);
        self.walk(a, b, |i, _| common.push(a[i]));
        common.reverse();
        common
    }

    /// The stretches of at least `shortest` bytes that make it up, the last one first.
    pub fn matches(&self, a: &[u8], b: &[u8], shortest: u64) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        self.walk(a, b, |i, j| {
            let (i, j) = (i as u64, j as u64);
            match matches.last_mut() {
                Some(last) if last.a == i + 1 && last.b == j + 1 => {
                    *last = Match { a: i, b: j, length: last.length + 1 };
                }
                _ => matches.push(Match { a: i, b: j, length: 1 }),
            }
        });
        matches.retain(|found| found.length >= shortest);
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The length, by trying both ways at every difference.
    fn naive(a: &[u8], b: &[u8]) -> usize {
        match (a.split_last(), b.split_last()) {
            (Some((x, a_rest)), Some((y, b_rest))) if x == y => 1 + naive(a_rest, b_rest),
            (Some((_, a_rest)), Some((_, b_rest))) => naive(a_rest, b).max(naive(a, b_rest)),
            _ => 0,
        }
    }

    fn short() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0u8..4, 0..9)
    }

    proptest! {
        #[test]
        fn the_longest_is_found(a in short(), b in short()) {
            let table = Table::new(&a, &b).unwrap();
            let common = table.subsequence(&a, &b);
            prop_assert_eq!(common.len(), naive(&a, &b));
            prop_assert_eq!(common.len() as u64, table.length());
            let mut joined = Vec::new();
            for found in table.matches(&a, &b, 0).iter().rev() {
                let in_a = &a[found.a as usize..][..found.length as usize];
                prop_assert_eq!(in_a, &b[found.b as usize..][..found.length as usize]);
                joined.extend_from_slice(in_a);
            }
            prop_assert_eq!(joined, common);
        }
    }
}
