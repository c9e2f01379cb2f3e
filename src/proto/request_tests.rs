use proptest::prelude::*;
use redis_protocol::resp2;
use redis_protocol::resp2::types::RangeFrame;

use super::*;

fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Decodes in one call.
fn decode_once(buf: &[u8], limits: &Limits) -> (Decoded, Vec<Vec<u8>>) {
    let (mut decoder, mut argv) = (Decoder::new(), Argv::new());
    let decoded = decoder.decode(buf, limits, &mut argv);
    (decoded, argv.iter(buf).map(<[u8]>::to_vec).collect())
}

/// Decodes `buf` as it grows through the given lengths, until it is no longer incomplete.
fn decode_growing(buf: &[u8], lengths: &[usize], limits: &Limits) -> (Decoded, Vec<Vec<u8>>) {
    let (mut decoder, mut argv) = (Decoder::new(), Argv::new());
    for &len in lengths.iter().chain([&buf.len()]) {
        let decoded = decoder.decode(&buf[..len], limits, &mut argv);
        if let Decoded::Incomplete { need } = decoded {
            assert!(need > len, "asked for {need} bytes while it had {len}");
            decoder = Decoder::from_words(decoder.to_words());
        } else {
            return (decoded, argv.iter(&buf[..len]).map(<[u8]>::to_vec).collect());
        }
    }
    (Decoded::Incomplete { need: buf.len() + 1 }, Vec::new())
}

/// What redis-protocol makes of the bytes, if it takes them for an array of bulk strings.
fn reference(buf: &[u8]) -> Option<(usize, Vec<Vec<u8>>)> {
    let (frame, consumed) = resp2::decode::decode_range(buf).ok()??;
    let RangeFrame::Array(items) = frame else { return None };
    let args = items.into_iter().map(|item| match item {
        RangeFrame::BulkString((start, end)) => Some(buf[start..end].to_vec()),
        _ => None,
    });
    Some((consumed, args.collect::<Option<_>>()?))
}

fn args_strategy() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let byte = prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'$'), Just(0)];
    prop::collection::vec(prop::collection::vec(byte, 0..130), 0..13)
}

proptest! {
    #[test]
    fn agrees_with_redis_protocol_at_every_split(
        args in args_strategy(), tail in any::<Vec<u8>>(),
    ) {
        let mut buf = encode(&args);
        let len = buf.len();
        buf.extend_from_slice(&tail);
        prop_assert_eq!(reference(&buf), Some((len, args.clone())));
        let limits = Limits::default();
        let expected = (Decoded::Complete { consumed: len }, args);
        prop_assert_eq!(&decode_once(&buf, &limits), &expected);
        for split in 0..buf.len() {
            prop_assert_eq!(&decode_growing(&buf, &[split], &limits), &expected);
            if split < len {
                prop_assert_eq!(reference(&buf[..split]), None);
            }
        }
    }

    #[test]
    fn byte_by_byte_equals_at_once(
        buf in prop::collection::vec(
            prop_oneof![
                Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), b'0'..=b'3', Just(b'"'),
                Just(b'\''), Just(b' '), Just(b'-'), Just(0), any::<u8>(),
            ],
            0..40,
        ),
        auth_required: bool,
    ) {
        let limits = Limits { auth_required, ..Limits::default() };
        let lengths: Vec<usize> = (0..buf.len()).collect();
        let (at_once, args) = decode_once(&buf, &limits);
        let (grown, grown_args) = decode_growing(&buf, &lengths, &limits);
        match (at_once, grown) {
            (Decoded::Incomplete { .. }, Decoded::Incomplete { .. }) => {}
            _ => prop_assert_eq!((at_once, args), (grown, grown_args)),
        }
    }

    #[test]
    fn what_is_seen_ahead_is_what_is_decoded(
        args in args_strategy(), cut: prop::sample::Index, other in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let mut buf = encode(&args);
        let first = args.get(1).map_or(&[][..], Vec::as_slice);
        prop_assert_eq!(first_argument(&buf), Some((first, buf.len())));
        prop_assert_eq!(first_argument(&buf[..cut.index(buf.len())]), None);
        // Of a request that is damaged it may say nothing, but nothing wrong.
        let at = other.0.index(buf.len());
        buf[at] = other.1;
        if let Some((argument, end)) = first_argument(&buf) {
            let limits = Limits { max_bulk_len: i64::MAX, auth_required: false };
            let (decoded, args) = decode_once(&buf, &limits);
            prop_assert_eq!(decoded, Decoded::Complete { consumed: end });
            prop_assert_eq!(args.get(1).map_or(&[][..], Vec::as_slice), argument);
        }
    }

    #[test]
    fn a_foreign_state_does_no_harm(words: [u64; 4], small: [u8; 4], buf in any::<Vec<u8>>()) {
        for words in [words, small.map(u64::from)] {
            let mut decoder = Decoder::from_words(words);
            let mut argv = Argv::new();
            let decoded = decoder.decode(&buf, &Limits::default(), &mut argv);
            if let Decoded::Complete { consumed } = decoded {
                prop_assert!(consumed <= buf.len());
                for arg in argv.iter(&buf) {
                    prop_assert!(arg.len() <= buf.len());
                }
            }
        }
    }
}

#[test]
fn errors_and_limits() {
    use ProtocolError::*;
    let bulk_limit = b"*1\r\n$536870913\r\n";
    let cases: &[(&[u8], bool, ProtocolError)] = &[
        (b"*+3\r\n", false, InvalidMultibulkLength),
        (b"*03\r\n", false, InvalidMultibulkLength),
        (b"*00\r\n", false, InvalidMultibulkLength),
        (b"* 3\r\n", false, InvalidMultibulkLength),
        (b"*\r\n", false, InvalidMultibulkLength),
        (b"*-0\r\n", false, InvalidMultibulkLength),
        (b"*3x\r\n", false, InvalidMultibulkLength),
        (b"*2147483648\r\n", false, InvalidMultibulkLength),
        (b"*99999999999999999999\r\n", false, InvalidMultibulkLength),
        (b"*11\r\n", true, UnauthenticatedMultibulkLength),
        (b"*1\r\n\r\n", false, ExpectedDollar(b'\r')),
        (b"*1\r\n+OK\r\n", false, ExpectedDollar(b'+')),
        (b"*1\r\n$-1\r\n", false, InvalidBulkLength),
        (b"*1\r\n$\r\n", false, InvalidBulkLength),
        (b"*1\r\n$01\r\n", false, InvalidBulkLength),
        (bulk_limit, false, InvalidBulkLength),
        (b"*1\r\n$16385\r\n", true, UnauthenticatedBulkLength),
        (b"\"abc\r\n", false, UnbalancedQuotes),
    ];
    for &(buf, auth_required, error) in cases {
        let limits = Limits { auth_required, ..Limits::default() };
        assert_eq!(
            decode_once(buf, &limits).0,
            Decoded::Error(error),
            "{:?}",
            buf.escape_ascii().to_string()
        );
    }
    let wide = Limits { max_bulk_len: i64::MAX, auth_required: false };
    assert_eq!(decode_once(bulk_limit, &wide).0, Decoded::Incomplete { need: 16 + 536870913 + 2 });
    let huge = b"*1\r\n$9223372036854775807\r\n";
    assert!(matches!(decode_once(huge, &wide).0, Decoded::Incomplete { .. }));
}

#[test]
fn lines_without_end_are_bounded() {
    use ProtocolError::*;
    let cases: [(&[u8], &[u8], ProtocolError); 4] = [
        (b"", b"*", MultibulkCountTooBig),
        (b"*1\r\n", b"$", BulkCountTooBig),
        (b"*1\r\n", b"\0", BulkCountTooBig),
        (b"", b"a", InlineTooBig),
    ];
    for (head, fill, error) in cases {
        let mut buf = head.to_vec();
        buf.resize(head.len() + INLINE_MAX_SIZE, fill[0]);
        let (mut decoder, mut argv) = (Decoder::new(), Argv::new());
        let decoded = decoder.decode(&buf, &Limits::default(), &mut argv);
        assert_eq!(decoded, Decoded::Incomplete { need: buf.len() + 1 });
        buf.push(fill[0]);
        let decoded = decoder.decode(&buf, &Limits::default(), &mut argv);
        assert_eq!(decoded, Decoded::Error(error));
    }
}

#[test]
fn oddities_that_redis_takes() {
    type Case = (&'static [u8], usize, &'static [&'static [u8]]);
    let cases: &[Case] = &[
        (b"*0\r\nPING\r\n", 4, &[]),
        (b"*-1\r\nPING\r\n", 5, &[]),
        (b"*-9999\r\n", 8, &[]),
        (b"\r\nPING\r\n", 2, &[]),
        (b"\nPING\r\n", 1, &[]),
        (b"  \r\n", 4, &[]),
        (b"PING\n", 5, &[b"PING"]),
        (b"*1\rX$4\rXPINGab", 14, &[b"PING"]),
        (b"echo \"a b\" 'c'\r\n", 16, &[b"echo", b"a b", b"c"]),
    ];
    for &(buf, consumed, args) in cases {
        let (decoded, got) = decode_once(buf, &Limits::default());
        assert_eq!(decoded, Decoded::Complete { consumed });
        assert_eq!(got, args);
    }
    for waits in [b"PING\0\r\n".as_slice(), b"*1\0\r\n", b"*1\r\n\0\r\n", b"*1\r\nPING", b"*1\r"] {
        let (decoded, _) = decode_once(waits, &Limits::default());
        assert_eq!(decoded, Decoded::Incomplete { need: waits.len() + 1 });
    }
}

/// A million arguments in 16-KiB pieces: the calls before the last must not look at what they have
/// seen already. Counted in bytes that the state advances over, not in time.
#[test]
fn a_million_arguments_in_small_pieces_are_read_once() {
    let args = vec![b"ab".to_vec(); 1_000_000];
    let buf = encode(&args);
    let (mut decoder, mut argv) = (Decoder::new(), Argv::new());
    let mut len = 0;
    let mut noted = 0;
    loop {
        len = (len + 16 * 1024).min(buf.len());
        match decoder.decode(&buf[..len], &Limits::default(), &mut argv) {
            Decoded::Incomplete { .. } => noted += argv.len(),
            decoded => {
                assert_eq!(decoded, Decoded::Complete { consumed: buf.len() });
                break;
            }
        }
    }
    assert!(noted < args.len(), "arguments were visited {noted} times before the end");
    assert!(argv.iter(&buf).eq(args.iter().map(Vec::as_slice)));
    argv.clear();
    assert!(argv.ranges.capacity() <= ARGV_KEEP);
}
