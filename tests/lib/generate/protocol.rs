//! Requests as bytes: inline commands, odd and broken frames, any split.

use super::{Gen, data_command};
use crate::client::encode;
use crate::differential::{Arg, Command, Step};

/// Adds raw bytes for one connection, in pieces.
pub fn steps(g: &mut Gen, out: &mut Vec<Step>) {
    let client = g.client();
    let bytes = match g.choice(12) {
        0..=3 => inline(g),
        4..=7 => whole(g),
        8..=9 => broken(g),
        _ => {
            let command = data_command(g);
            return out.push(Step::Send { client, commands: vec![command] });
        }
    };
    let mut pieces = Vec::new();
    let mut rest = bytes.as_slice();
    // Each cut costs a round trip on both servers.
    for _ in 0..g.choice(4) {
        if rest.len() < 2 {
            break;
        }
        let (piece, tail) = rest.split_at(1 + g.choice(rest.len() - 1));
        pieces.push(piece.to_vec());
        rest = tail;
    }
    pieces.push(rest.to_vec());
    out.push(Step::Raw { client, pieces });
    // A frame without its end would swallow what follows.
    out.push(Step::Reconnect { client });
}

fn bytes_of(command: &Command) -> Vec<u8> {
    let args: Vec<&[u8]> = command
        .args
        .iter()
        .filter_map(|arg| match arg {
            Arg::Bytes(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
        .collect();
    encode(&args)
}

/// Well-formed requests, some of them unusual.
fn whole(g: &mut Gen) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + g.choice(4) {
        let odd: [&[u8]; 4] = [b"*0\r\n", b"\r\n", b"*-1\r\n", b"\n"];
        match g.choice(6) {
            0 => bytes.extend(g.bytes_from(&odd)),
            _ => {
                let set = crate::cmd!["SET", g.key(), g.value()];
                let get = crate::cmd!["GET", g.key()];
                let command = if g.percent(50) { set } else { get };
                bytes.extend(bytes_of(&command));
            }
        }
    }
    bytes
}

/// Lines as one types them: quotes, escapes, spaces, and mistakes in them.
fn inline(g: &mut Gen) -> Vec<u8> {
    let lines: [&[u8]; 26] = [
        b"PING",
        b"ping  hello",
        b"SET a \"b c\"",
        b"SET a 'b c'",
        b"GET a",
        b"SET a \"\\x41\\n\"",
        b"SET a 'it\\'s'",
        b"SET a \"unbalanced",
        b"SET a 'unbalanced",
        b"SET a \"x\"y",
        b"SET a 'x'y",
        b"",
        b" ",
        b"   PING",
        b"PING   ",
        b"\tPING",
        b"GET",
        b"NOSUCH a b",
        b"SET a \"\"",
        b"GET \"a\"",
        b"\"GET\" a",
        b"ECHO \"\\x00\\xff\\a\\b\\t\\r\\n\\\\\"",
        b"ECHO '\\n'",
        b"ECHO \"\\xzz\"",
        b"SET a \xff\xfe",
        b"ECHO a\0b",
    ];
    let mut bytes = Vec::new();
    for _ in 0..1 + g.choice(3) {
        bytes.extend(g.bytes_from(&lines));
        bytes.extend_from_slice(if g.percent(70) { b"\r\n" } else { b"\n" });
    }
    bytes
}

/// Frames that end the connection, or ask for more than comes.
fn broken(g: &mut Gen) -> Vec<u8> {
    let frames: [&[u8]; 26] = [
        b"*1\r\n:5\r\n",
        b"*abc\r\n",
        b"*1\r\n$abc\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\nPING\r\n",
        b"*1048577\r\n",
        b"*2147483648\r\n",
        b"*99999999999999999999\r\n",
        b"*1\r\n$1048577\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*1\r\n$4\r\nPINGxx",
        b"*1\r\n$4\r\nPING\r\n*x\r\n",
        b"*-5\r\n*1\r\n$4\r\nPING\r\n",
        b"*1\r\n+PING\r\n",
        b"*+1\r\n$4\r\nPING\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$ 4\r\nPING\r\n",
        b"*1 \r\n$4\r\nPING\r\n",
        b"*\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$0\r\n\r\n",
        b"$4\r\nPING\r\n",
        b"*1\n$4\nPING\n",
        b"*2\r\n$3\r\nGET\r\n$1\r\na\n\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    let mut bytes = if g.percent(30) { bytes_of(&crate::cmd!["PING"]) } else { Vec::new() };
    bytes.extend(g.bytes_from(&frames));
    if g.percent(30) {
        bytes.extend(bytes_of(&crate::cmd!["PING"]));
    }
    bytes
}
