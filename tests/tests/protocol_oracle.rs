//! The request decoder against redis-server: the same bytes, the same replies.
//!
//! What the decoder makes of a stream of bytes is turned into the replies that Redis must then
//! give. The commands in the streams are unknown ones, because Redis's error quotes their
//! arguments.

use hotredis::proto::reply::{Protocol, Reply};
use hotredis::proto::request::{Argv, Decoded, Decoder, Limits};
use hotredis_tests::rng::{Rng, SeedOnFailure, seed_or};
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::{Value, quoted};

/// The text up to its first NUL, and no more than `max` bytes: what `%.*s` prints.
fn c_string(bytes: &[u8], max: usize) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end.min(max)]
}

/// Redis's reply to a command that it does not know.
fn unknown_command(argv: &[Vec<u8>]) -> Vec<u8> {
    let mut args = Vec::new();
    for arg in &argv[1..] {
        if args.len() >= 128 {
            break;
        }
        let room = 128 - args.len();
        args.push(b'\'');
        args.extend_from_slice(c_string(arg, room));
        args.extend_from_slice(b"' ");
    }
    let name = c_string(&argv[0], 128);
    [b"unknown command '", name, b"', with args beginning with: ", &args].concat()
}

/// The replies to a stream that arrives in pieces which end at `ends`.
fn expected(stream: &[u8], ends: &[usize], limits: &Limits) -> Vec<Value> {
    let (mut decoder, mut argv) = (Decoder::new(), Argv::new());
    let mut replies = Vec::new();
    let mut start = 0;
    for &end in ends {
        loop {
            let error = match decoder.decode(&stream[start..end], limits, &mut argv) {
                Decoded::Incomplete { .. } => break,
                Decoded::Complete { consumed } => {
                    let args: Vec<_> = argv.iter(&stream[start..]).map(<[u8]>::to_vec).collect();
                    start += consumed;
                    if args.is_empty() {
                        continue;
                    }
                    unknown_command(&args)
                }
                Decoded::Error(error) => {
                    replies.push(error_reply(&error.message()));
                    return replies;
                }
            };
            replies.push(error_reply(&error));
        }
    }
    replies
}

fn error_reply(message: &[u8]) -> Value {
    let mut encoded = Vec::new();
    Reply::new(&mut encoded, Protocol::Resp2).error(message);
    let (value, len) = Value::decode(&encoded).expect("is RESP").expect("is whole");
    assert_eq!(len, encoded.len());
    value
}

/// Sends the stream and then end of file, which Redis sees after it has answered everything.
fn actual(server: &Server, stream: &[u8]) -> Vec<Value> {
    let mut client = server.connect();
    client.send_raw(stream);
    // Fails if the server was faster and has closed the connection already.
    let _ = client.shutdown_write();
    client.receive_until_closed()
}

#[track_caller]
fn compare(server: &Server, stream: &[u8], limits: &Limits) {
    let shown = quoted(&stream[..stream.len().min(300)]);
    let actual = actual(server, stream);
    assert_eq!(expected(stream, &[stream.len()], limits), actual, "at once: {shown}");
    if stream.len() < 1000 {
        let ends: Vec<usize> = (0..=stream.len()).collect();
        assert_eq!(expected(stream, &ends, limits), actual, "byte by byte: {shown}");
    }
}

const CASES: &[&[u8]] = &[
    b"*+3\r\n",
    b"*03\r\n",
    b"*0x3\r\n",
    b"* 3\r\n",
    b"*3 \r\n",
    b"*\r\n",
    b"*-\r\n",
    b"*-0\r\n",
    b"*00\r\n",
    b"*-1\r\nnope\r\n",
    b"*0\r\nnope\r\n",
    b"*-9999\r\nnope\r\n",
    b"*-9223372036854775808\r\nnope\r\n",
    b"*-9223372036854775809\r\nnope\r\n",
    b"*10\r\n",
    b"*11\r\n",
    b"*1048577\r\n",
    b"*2147483647\r\n",
    b"*2147483648\r\n",
    b"*4294967297\r\n",
    b"*99999999999999999999\r\n",
    b"*1\r\n\r\n",
    b"*1\r\n\n\r\n",
    b"*1\r\n\n\r\r\n",
    b"*1\r\n+OK\r\n",
    b"*1\r\n\xff\r\n",
    b"*1\r\n\x00\r\n",
    b"*1\r\nnope",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$\r\n",
    b"*1\r\n$01\r\n",
    b"*1\r\n$+1\r\n",
    b"*1\r\n$ 1\r\n",
    b"*1\r\n$4x\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*1\r\n$16384\r\n",
    b"*1\r\n$16385\r\n",
    b"*1\r\n$536870912\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$9223372036854775807\r\n",
    b"*1\r\n$9223372036854775808\r\n",
    b"*1\rX$4\rXnopeab*1\r\n$2\r\nno\r\n",
    b"*1\0\r\n",
    b"*2\r\n$4\r\nnope\r\n$3\r\na\r\n\r\n",
    b"nope\0\r\nnope\r\n",
    b"nope\nnope a\r\n",
    b"nope\r\r\n",
    b"\r\n\r\n   \r\nnope\n",
    b"nope\x0bb \x0cc\r\n",
    b"\"no\\x41\\n\\q\\\"\" 'it\\'s \\n' \"\" ''\r\n",
    b"no\"pe\"\x0bx\r\n",
    b"nope \"abc\r\n",
    b"nope 'abc\r\n",
    b"nope \"abc\\\r\n",
    b"nope \"a\"b\r\n",
    b"nope 'a'\"b\"\r\n",
    b"nope \"\\x4g\" \"\\x\"\r\n",
    b"\xffnope \x80\r\n",
    b" *1\r\n",
    b"$4\r\nnope\r\n",
];

#[test]
fn chosen_streams() {
    let server = Setup::redis().start();
    for stream in CASES {
        compare(&server, stream, &Limits::default());
    }
    // Lines without end: the last byte that is waited for, and the first that is too much.
    for (whole, line, fill) in [
        ("", "*", b'1'),
        ("*1\r\n", "$", b'1'),
        ("*1\r\n", "x", b'x'),
        ("*1\r\n", "\0", b'1'),
        ("", "x", b'x'),
        ("", "x\0", b'x'),
    ] {
        for len in [64 * 1024, 64 * 1024 + 1] {
            let mut stream = format!("{whole}{line}").into_bytes();
            stream.resize(whole.len() + len, fill);
            compare(&server, &stream, &Limits::default());
        }
    }
    server.finish();
}

#[test]
fn chosen_streams_before_authentication() {
    let server = Setup::redis().directive("requirepass", "secret").start();
    let limits = Limits { auth_required: true, ..Limits::default() };
    for stream in CASES {
        compare(&server, stream, &limits);
    }
    server.finish();
}

#[test]
fn another_bulk_limit() {
    let server = Setup::redis().directive("proto-max-bulk-len", "1mb").start();
    let limits = Limits { max_bulk_len: 1 << 20, ..Limits::default() };
    for stream in [b"*1\r\n$1048576\r\n", b"*1\r\n$1048577\r\n"] {
        compare(&server, stream, &limits);
    }
    server.finish();
}

/// A stream of a few requests, most of them damaged somewhere.
fn random_stream(rng: &mut Rng) -> Vec<u8> {
    const WORDS: &[&str] =
        &["nope", "a", "", "it's", "\"q\"", "two words", "\\x41", "'", "\r\n", "$1", "*1", "\x0b"];
    const DAMAGE: &[u8] = b"\r\n*$0123-+ \"'\\x\0\xff\x0b";
    let mut stream = Vec::new();
    for _ in 0..1 + rng.below(4) {
        let args: Vec<&str> = (0..rng.below(5)).map(|_| *rng.pick(WORDS)).collect();
        if rng.percent(60) {
            stream.extend_from_slice(&hotredis_tests::client::encode(&args));
        } else {
            stream.extend_from_slice(args.join(" ").as_bytes());
            stream.extend_from_slice(if rng.percent(70) { b"\r\n" } else { b"\n" });
        }
    }
    for _ in 0..rng.below(4) {
        let at = rng.below(stream.len());
        match rng.below(3) {
            0 => stream[at] = *rng.pick(DAMAGE),
            1 => stream.insert(at, *rng.pick(DAMAGE)),
            _ if stream.len() > 1 => drop(stream.remove(at)),
            _ => {}
        }
    }
    stream
}

#[test]
fn random_streams() {
    let seed = seed_or(0x7265_7370);
    let _seed = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let server = Setup::redis().start();
    for _ in 0..4000 {
        compare(&server, &random_stream(&mut rng), &Limits::default());
    }
    server.finish();
}
