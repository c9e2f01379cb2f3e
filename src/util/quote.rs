//! Redis's quoting of bytes for people (`sdscatrepr`) and its inverse (`sdssplitargs`).

/// Appends `bytes` in double quotes, with everything unprintable escaped, as logs, `MONITOR` and
/// `CLIENT INFO` show it. [`split_args`] reads the result back to the same bytes.
pub fn repr_into(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
    out.push(b'"');
}

/// [`repr_into`] as a value; the result is ASCII.
pub fn repr(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    repr_into(&mut out, bytes);
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether C's `isspace` holds in the C locale.
#[inline]
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Which kind of quotes the reader is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Bare,
    Double,
    Single,
}

/// Splits a line into words: blanks separate, `"..."` understands `\n \r \t \b \a \xHH` and `\`
/// before any other byte, `'...'` understands `\'` only.
///
/// The words' bytes are appended to `out`, and `word(start, len)` tells where in `out` each one
/// lies. Returns `None` if a quote is left open, or a closing one is not followed by a blank or
/// the end; what was put out until then is of no use. A NUL ends the line.
pub fn split_args(
    line: &[u8],
    out: &mut Vec<u8>,
    mut word: impl FnMut(usize, usize),
) -> Option<()> {
    let line = &line[..memchr::memchr(0, line).unwrap_or(line.len())];
    let mut pos = 0;
    loop {
        while line.get(pos).copied().is_some_and(is_space) {
            pos += 1;
        }
        if pos == line.len() {
            return Some(());
        }
        let start = out.len();
        pos = read_word(line, pos, out)?;
        word(start, out.len() - start);
    }
}

/// Appends the word at `pos` to `out`; returns the position after it.
fn read_word(line: &[u8], mut pos: usize, out: &mut Vec<u8>) -> Option<usize> {
    let mut state = State::Bare;
    loop {
        let byte = line.get(pos).copied();
        match (state, byte) {
            (State::Bare, None | Some(b' ' | b'\n' | b'\r' | b'\t')) => {
                return Some((pos + 1).min(line.len()));
            }
            (State::Bare, Some(b'"')) => state = State::Double,
            (State::Bare, Some(b'\'')) => state = State::Single,
            (State::Double | State::Single, None) => return None,
            (State::Double, Some(b'"')) | (State::Single, Some(b'\'')) => {
                let after = line.get(pos + 1).copied();
                return after.is_none_or(is_space).then_some((pos + 1).min(line.len()));
            }
            (State::Double, Some(b'\\')) if pos + 1 < line.len() => {
                let (escaped, len) = unescape(&line[pos + 1..]);
                out.push(escaped);
                pos += len;
            }
            (State::Single, Some(b'\\')) if line.get(pos + 1) == Some(&b'\'') => {
                out.push(b'\'');
                pos += 1;
            }
            (_, Some(other)) => out.push(other),
        }
        pos += 1;
    }
}

/// The byte that an escape inside double quotes stands for, and the escape's length without the
/// backslash. `rest` is what follows the backslash, at least one byte.
fn unescape(rest: &[u8]) -> (u8, usize) {
    let hex = |at: usize| rest.get(at).and_then(|&digit| char::from(digit).to_digit(16));
    if rest[0] == b'x'
        && let (Some(high), Some(low)) = (hex(1), hex(2))
    {
        return ((high * 16 + low) as u8, 3);
    }
    let byte = match rest[0] {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    };
    (byte, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (mut out, mut ranges) = (Vec::new(), Vec::new());
        split_args(line, &mut out, |start, len| ranges.push((start, len)))?;
        Some(ranges.into_iter().map(|(start, len)| out[start..start + len].to_vec()).collect())
    }

    #[test]
    fn words_quotes_and_escapes() {
        type Case = (&'static [u8], Option<&'static [&'static [u8]]>);
        let cases: &[Case] = &[
            (b"", Some(&[])),
            (b" \t\x0b ", Some(&[])),
            (b"set k  v ", Some(&[b"set", b"k", b"v"])),
            (b"a\x0bb", Some(&[b"a\x0bb"])),
            (b"foo\"bar\"\x0bx", Some(&[b"foobar", b"x"])),
            (br#""\x41\n\q\"" '' "#, Some(&[b"A\nq\"", b""])),
            (br"'it\'s \n'", Some(&[br"it's \n"])),
            (br#""\xg1""#, Some(&[b"xg1"])),
            (br#""abc"#, None),
            (br#""abc\"#, None),
            (b"'abc", None),
            (br#""a"b"#, None),
            (b"'a'b", None),
            (b"a\0 \"b", Some(&[b"a"])),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|words| words.iter().map(|word| word.to_vec()).collect());
            assert_eq!(split(line), expected, "line {}", repr(line));
        }
    }

    #[test]
    fn repr_matches_redis() {
        assert_eq!(repr(b"a\"\\\n\r\t\x07\x08\x00\xff~ "), r#""a\"\\\n\r\t\a\b\x00\xff~ ""#);
    }

    proptest! {
        #[test]
        fn repr_is_undone_by_split(words in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let mut line = Vec::new();
            for word in &words {
                repr_into(&mut line, word);
                line.push(b' ');
            }
            prop_assert_eq!(split(&line), Some(words));
        }

        #[test]
        fn any_line_is_split_without_panic(line in any::<Vec<u8>>()) {
            let _ = split(&line);
        }
    }
}
