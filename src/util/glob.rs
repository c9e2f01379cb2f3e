//! Glob-style patterns, exactly as Redis's `stringmatchlen` matches them.
//!
//! `*` any bytes, `?` any byte, `[a-c^x]` a set, `[^...]` its complement, `\x` the byte x. Redis
//! recurses at each `*`; here there is a loop that goes back to the last `*` only, which finds the
//! same: once the part between two stars has matched somewhere, a later place for it leaves less
//! for what follows. So the work is bounded by pattern length times string length, and the stack
//! does not grow.
//!
//! Kept on purpose: an unclosed set ends with the pattern, a range counts bytes from 128 on as
//! negative, `**` does not match an empty string, and more than [`MAX_STARS`] stars match nothing.

/// Most stars with something behind them that a pattern can have and still match.
pub const MAX_STARS: usize = 1000;

/// Whether letters differ by case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a` and `A` differ.
    Sensitive,
    /// ASCII letters match in either case.
    Ignored,
}

/// Whether all of `string` matches `pattern`.
pub fn matches(pattern: &[u8], string: &[u8], case: Case) -> bool {
    let (mut p, mut s) = (0, 0);
    let mut stars = 0;
    // Where to go on when a byte does not fit: after the last star, one byte later in the string.
    let mut retry: Option<(usize, usize)> = None;
    // An empty string matches an empty pattern only.
    while s < string.len() {
        if pattern.get(p) == Some(&b'*') {
            p = skip_stars(pattern, p);
            if p == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > MAX_STARS {
                return false;
            }
            retry = Some((p, s));
            continue;
        }
        if p < pattern.len()
            && let Some(next) = match_byte(pattern, p, string[s], case)
        {
            p = next;
            s += 1;
            if s < string.len() {
                continue;
            }
            p = skip_stars(pattern, p);
            if p == pattern.len() {
                return true;
            }
        }
        let Some((after_star, from)) = retry else { return false };
        p = after_star;
        s = from + 1;
        retry = Some((p, s));
    }
    s == string.len() && string.is_empty() && pattern.is_empty()
}

fn skip_stars(pattern: &[u8], mut p: usize) -> usize {
    while pattern.get(p) == Some(&b'*') {
        p += 1;
    }
    p
}

/// Matches one byte against the element at `p`, which is there and no star; returns the position
/// after the element.
#[inline]
fn match_byte(pattern: &[u8], p: usize, byte: u8, case: Case) -> Option<usize> {
    let literal = match pattern[p] {
        b'?' => return Some(p + 1),
        b'[' => return match_set(pattern, p + 1, byte, case),
        b'\\' if p + 1 < pattern.len() => p + 1,
        _ => p,
    };
    same(pattern[literal], byte, case).then_some(literal + 1)
}

#[inline]
fn same(a: u8, b: u8, case: Case) -> bool {
    a == b || (case == Case::Ignored && a.eq_ignore_ascii_case(&b))
}

/// Matches `byte` against the set whose content starts at `p`; returns the position after the set.
fn match_set(pattern: &[u8], mut p: usize, byte: u8, case: Case) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut found = false;
    let after = loop {
        match pattern.get(p..).unwrap_or_default() {
            [] => break pattern.len(),
            // Case counts here even when it is ignored elsewhere.
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                p += 2;
            }
            [b']', ..] => break p + 1,
            [start, b'-', end, ..] => {
                found |= in_range(*start, *end, byte, case);
                p += 3;
            }
            [single, ..] => {
                found |= same(*single, byte, case);
                p += 1;
            }
        }
    };
    (found != negated).then_some(after)
}

/// Whether `byte` lies between the two ends, in either order, as C's signed characters compare.
fn in_range(start: u8, end: u8, byte: u8, case: Case) -> bool {
    let (low, high) = if (start as i8) <= (end as i8) { (start, end) } else { (end, start) };
    // The ends change case only after they were put in order, so `[Z-a]` may be an empty range.
    let lower = |byte: u8| match case {
        Case::Sensitive => byte as i8,
        Case::Ignored => byte.to_ascii_lowercase() as i8,
    };
    (lower(low)..=lower(high)).contains(&lower(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plain model: tries every place for every star.
    fn model(pattern: &[u8], string: &[u8], case: Case) -> bool {
        match pattern.first() {
            None => string.is_empty(),
            Some(b'*') => {
                (0..=string.len()).any(|from| model(&pattern[1..], &string[from..], case))
            }
            Some(_) => string.first().is_some_and(|&byte| {
                match_byte(pattern, 0, byte, case)
                    .is_some_and(|next| model(&pattern[next..], &string[1..], case))
            }),
        }
    }

    fn sensitive(pattern: &str, string: &str) -> bool {
        matches(pattern.as_bytes(), string.as_bytes(), Case::Sensitive)
    }

    #[test]
    fn examples() {
        for (pattern, string, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", false),
            ("**", "", false),
            ("*", "abc", true),
            ("a**", "a", true),
            ("h?llo", "hello", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\", "a\\", true),
            ("[", "[", false),
            ("[^", "x", true),
            ("[a", "a", true),
            ("[a-", "-", true),
            ("[a-]", "b", false),
            ("[a-]x", "]", true),
            ("[\\]]", "]", true),
            ("[]", "]", false),
            ("[]a]", "a", false),
            ("[^]a", "xa", true),
            ("*b*d", "abcd", true),
            ("*b*d", "abcde", false),
        ] {
            assert_eq!(sensitive(pattern, string), expected, "{pattern:?} on {string:?}");
        }
        assert!(matches(b"MAX*", b"maxmemory", Case::Ignored));
        assert!(!matches(b"[\\M]", b"m", Case::Ignored));
        assert!(matches(b"[\x80-\x01]", b"\xff", Case::Sensitive));
        assert!(!matches(b"[\x80-\x01]", b"\x02", Case::Sensitive));
    }

    #[test]
    fn pathological_patterns_are_bounded() {
        let string = vec![b'a'; 20_000];
        let mut pattern = b"a*".repeat(900);
        pattern.push(b'b');
        assert!(!matches(&pattern, &string, Case::Sensitive));
        let stars = |count: usize| b"*a".repeat(count);
        assert!(matches(&stars(MAX_STARS), &string, Case::Sensitive));
        assert!(!matches(&stars(MAX_STARS + 1), &string, Case::Sensitive));
        assert!(matches(&vec![b'*'; 1 << 20], b"x", Case::Sensitive));
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(
            pattern in "[ab*?\\[\\]^\\\\-]{0,12}", string in "[abAB\\]-]{1,10}", ignore: bool,
        ) {
            let case = if ignore { Case::Ignored } else { Case::Sensitive };
            let (pattern, string) = (pattern.as_bytes(), string.as_bytes());
            prop_assert_eq!(matches(pattern, string, case), model(pattern, string, case));
        }
    }
}
