//! Sorting in the order in which Redis leaves elements that compare as equal, since clients see it.
//! Comparisons give a number below, of or above 0, as in C, and need not be consistent: those of NaN
//! are not.

use std::ops::Range;

/// Sorts as glibc's `qsort` does: by merging, so that elements that compare as equal stay in their
/// order.
pub fn qsort<T: Copy>(items: &mut [T], compare: &impl Fn(&T, &T) -> i32) {
    if items.len() < 2 {
        return;
    }
    let middle = items.len() / 2;
    qsort(&mut items[..middle], compare);
    qsort(&mut items[middle..], compare);
    let left = items[..middle].to_vec();
    let (mut from_left, mut from_right) = (0, middle);
    for at in 0..items.len() {
        let takes_left = from_right == items.len()
            || from_left < left.len() && compare(&left[from_left], &items[from_right]) <= 0;
        if from_left == left.len() {
            // The rest of the right half stands in its place.
            return;
        }
        if takes_left {
            items[at] = left[from_left];
            from_left += 1;
        } else {
            items[at] = items[from_right];
            from_right += 1;
        }
    }
}

/// Sorts as Redis's `pqsort` does, a quicksort after Bentley and McIlroy that leaves alone what is of
/// no concern to `wanted`: of the result only these positions are sure to be right.
pub fn pqsort<T: Copy>(items: &mut [T], compare: &impl Fn(&T, &T) -> i32, wanted: Range<usize>) {
    let Some(last) = wanted.end.checked_sub(1) else { return };
    sort_part(items, 0, compare, (wanted.start, last));
}

/// Sorts `items`, which begin at position `offset` of the whole, as far as positions from
/// `wanted.0` to `wanted.1` need it.
fn sort_part<T: Copy>(
    mut items: &mut [T],
    mut offset: usize,
    compare: &impl Fn(&T, &T) -> i32,
    wanted: (usize, usize),
) {
    let matters = |start: usize, len: usize| {
        let before = wanted.0 < start && wanted.1 < start;
        let behind = wanted.0 >= start + len && wanted.1 >= start + len;
        len > 1 && !(before || behind)
    };
    while items.len() >= 7 {
        let len = items.len();
        items.swap(0, pivot(items, compare));
        let (below, above) = partition(items, compare);
        let from = len - above;
        let below = if matters(offset, below) { below } else { 0 };
        let above = if matters(offset + from, above) { above } else { 0 };
        let (left, right) = std::mem::take(&mut items).split_at_mut(from);
        // The smaller part is the one to call for, so that calls do not nest deeply whatever the input.
        if below < above {
            sort_part(&mut left[..below], offset, compare, wanted);
            (items, offset) = (&mut right[..above], offset + from);
        } else {
            sort_part(&mut right[..above], offset + from, compare, wanted);
            items = &mut left[..below];
        }
    }
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && compare(&items[at - 1], &items[at]) > 0 {
            items.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// The position of the element that divides the others: a median of three, or of three such.
fn pivot<T>(items: &[T], compare: &impl Fn(&T, &T) -> i32) -> usize {
    let len = items.len();
    let median = |a: usize, b: usize, c: usize| {
        let of = |x: usize, y: usize| compare(&items[x], &items[y]);
        if of(a, b) < 0 {
            if of(b, c) < 0 {
                b
            } else if of(a, c) < 0 {
                c
            } else {
                a
            }
        } else if of(b, c) > 0 {
            b
        } else if of(a, c) < 0 {
            a
        } else {
            c
        }
    };
    let (mut low, mut middle, mut high) = (0, len / 2, len - 1);
    if len > 40 {
        let step = len / 8;
        low = median(low, low + step, low + 2 * step);
        middle = median(middle - step, middle, middle + step);
        high = median(high - 2 * step, high - step, high);
    }
    if len > 7 { median(low, middle, high) } else { middle }
}

/// Puts what is below the first element to the left, what is above to the right, and what is equal
/// between them; gives the numbers of what is below and above.
fn partition<T: Copy>(items: &mut [T], compare: &impl Fn(&T, &T) -> i32) -> (usize, usize) {
    let len = items.len();
    // Equal ones gather at both ends: before `a` and behind `d`. Positions of the right side are one
    // more than in C, so that none is below 0.
    let (mut a, mut b, mut c, mut d) = (1, 1, len, len);
    loop {
        while b < c {
            match compare(&items[b], &items[0]) {
                result if result > 0 => break,
                0 => {
                    items.swap(a, b);
                    a += 1;
                }
                _ => {}
            }
            b += 1;
        }
        while b < c {
            match compare(&items[c - 1], &items[0]) {
                result if result < 0 => break,
                0 => {
                    items.swap(c - 1, d - 1);
                    d -= 1;
                }
                _ => {}
            }
            c -= 1;
        }
        if b >= c {
            break;
        }
        items.swap(b, c - 1);
        b += 1;
        c -= 1;
    }
    let moved = a.min(b - a);
    (0..moved).for_each(|i| items.swap(i, b - moved + i));
    let moved = (d - c).min(len - d);
    (0..moved).for_each(|i| items.swap(b + i, len - moved + i));
    (b - a, d - c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_key(a: &(i32, usize), b: &(i32, usize)) -> i32 {
        (a.0 > b.0) as i32 - (a.0 < b.0) as i32
    }

    fn items(len: usize, keys: i32, seed: u64) -> Vec<(i32, usize)> {
        let mut state = seed;
        (0..len)
            .map(|position| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                ((state >> 33) as i32 % keys, position)
            })
            .collect()
    }

    #[test]
    fn whole_sorts_are_stable() {
        for len in 0..90 {
            let mut sorted = items(len, 1 + len as i32 / 3, len as u64);
            let mut expected = sorted.clone();
            expected.sort_by_key(|item| item.0);
            qsort(&mut sorted, &by_key);
            assert_eq!(sorted, expected, "{len}");
        }
    }

    #[test]
    fn partial_sorts_are_right_where_they_have_to_be() {
        for len in 1..300 {
            for keys in [2, 10, 1000] {
                let mut sorted = items(len, keys, len as u64);
                let mut expected: Vec<i32> = sorted.iter().map(|item| item.0).collect();
                expected.sort_unstable();
                let wanted = len / 5..(len / 5 + len / 3).max(1);
                pqsort(&mut sorted, &by_key, wanted.clone());
                let found: Vec<i32> = sorted[wanted.clone()].iter().map(|item| item.0).collect();
                assert_eq!(found, expected[wanted], "{len} of {keys}");
                let mut positions: Vec<usize> = sorted.iter().map(|item| item.1).collect();
                positions.sort_unstable();
                assert!(positions.into_iter().eq(0..len));
            }
        }
    }

    /// McIlroy's adversary ("A killer adversary for quicksort"): decides how elements compare while they
    /// are being sorted, so that each division leaves nearly all of them on one side.
    struct Adversary {
        values: Vec<usize>,
        solid: usize,
        candidate: usize,
    }

    impl Adversary {
        fn compare(&mut self, one: usize, other: usize) -> i32 {
            let gas = self.values.len();
            if self.values[one] == gas && self.values[other] == gas {
                let frozen = if one == self.candidate { one } else { other };
                self.values[frozen] = self.solid;
                self.solid += 1;
            }
            if self.values[one] == gas {
                self.candidate = one;
            } else if self.values[other] == gas {
                self.candidate = other;
            }
            self.values[one].cmp(&self.values[other]) as i32
        }
    }

    #[test]
    fn the_worst_order_does_not_nest_calls_deeply() {
        const LEN: usize = 30_000;
        let sort = || {
            let adversary = Adversary { values: vec![LEN; LEN], solid: 0, candidate: 0 };
            let adversary = std::cell::RefCell::new(adversary);
            let mut items: Vec<usize> = (0..LEN).collect();
            let compare = |one: &usize, other: &usize| adversary.borrow_mut().compare(*one, *other);
            pqsort(&mut items, &compare, 0..LEN);
            let values = &adversary.borrow().values;
            items.is_sorted_by_key(|item| values[*item])
        };
        let thread =
            std::thread::Builder::new().stack_size(128 << 10).spawn(sort).expect("a thread");
        assert!(thread.join().expect("its stack suffices"));
    }

    #[test]
    fn comparisons_that_are_not_consistent_do_no_harm() {
        let less = |_: &(i32, usize), _: &(i32, usize)| -1;
        for len in 0..100 {
            let mut sorted = items(len, 5, 1);
            qsort(&mut sorted, &less);
            pqsort(&mut sorted, &less, 0..len);
            assert_eq!(sorted.len(), len);
        }
    }
}
