use crate::rdb::{self, kind, listpack, writer::Writer};
use crate::testing::Server;

/// Runs lines, each with the reply that it is to have.
fn dialogue(lines: &[(&str, &str)]) {
    let mut server = Server::new();
    let client = server.connect();
    for (line, expected) in lines {
        assert_eq!(server.line(client, line), *expected, "{line}");
        server.check();
    }
}

const TWO: &str = "*2\r\n*2\r\n$3\r\n6-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n*2\r\n$3\r\n6-6\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";

#[test]
fn entries_behind_deleted_ones_with_greater_ids_are_found() {
    dialogue(&[
        ("XADD x 6-0 f v", "$3\r\n6-0\r\n"),
        ("XADD x 7-0 f v", "$3\r\n7-0\r\n"),
        ("XDEL x 7-0", ":1\r\n"),
        ("XSETID x 6-5", "+OK\r\n"),
        ("XADD x 6-6 f v", "$3\r\n6-6\r\n"),
        ("XRANGE x - 6-6", TWO),
        ("XRANGE x - +", TWO),
        ("XRANGE x 6-6 6-6", "*1\r\n*2\r\n$3\r\n6-6\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"),
        ("XREVRANGE x 6-5 -", "*1\r\n*2\r\n$3\r\n6-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"),
        ("XDEL x 6-6", ":1\r\n"),
        ("XLEN x", ":1\r\n"),
    ]);
}

#[test]
fn a_stream_that_is_empty_may_begin_with_lesser_ids() {
    dialogue(&[
        ("XADD x 1-1 f v", "$3\r\n1-1\r\n"),
        ("XADD x 2-1 f v", "$3\r\n2-1\r\n"),
        ("XDEL x 2-1", ":1\r\n"),
        // What is left is a node in which all is deleted.
        ("XTRIM x MINID 2-1", ":1\r\n"),
        ("XLEN x", ":0\r\n"),
        ("XSETID x 0-1", "+OK\r\n"),
        ("XADD x 0-2 f v", "$3\r\n0-2\r\n"),
        ("XRANGE x 0-2 0-2", "*1\r\n*2\r\n$3\r\n0-2\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"),
        ("XDEL x 0-2", ":1\r\n"),
        ("XLEN x", ":0\r\n"),
    ]);
}

/// A dumped stream with a node without entries, and one with `1-1`.
fn with_empty_node() -> Vec<u8> {
    let mut writer = Writer::new(kind::STREAM_LISTPACKS_2, false);
    let id = |seq: u64| rdb::stream::Id { ms: 1, seq }.to_bytes();
    let node = |numbers: &[i64], rest: &[i64]| {
        let mut run = Vec::new();
        numbers.iter().for_each(|number| shm::pack::encode_int(&mut run, *number));
        shm::pack::encode(&mut run, b"f");
        rest.iter().for_each(|number| shm::pack::encode_int(&mut run, *number));
        listpack::wrap(&run, (numbers.len() + 1 + rest.len()) as u64)
    };
    writer.length(2);
    writer.string(&id(0));
    writer.string(&node(&[0, 0, 1], &[0]));
    writer.string(&id(1));
    writer.string(&node(&[1, 0, 1], &[0, 2, 0, 0, 7, 4]));
    // Length; last, first and greatest deleted id; entries added; groups.
    [1, 1, 1, 1, 1, 0, 0, 1, 0].into_iter().for_each(|number| writer.length(number));
    let mut dump = writer.finish();
    rdb::seal(&mut dump);
    dump
}

#[test]
fn a_node_without_entries_hides_nothing() {
    let mut server = Server::new();
    let client = server.connect();
    let reply = server.ask(client, &[b"RESTORE", b"x", b"0", &with_empty_node()]);
    assert_eq!(reply.escape_ascii().to_string(), "+OK\\r\\n");
    server.check();
    let entry = "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\n7\r\n";
    assert_eq!(server.line(client, "XRANGE x - +"), entry);
    assert_eq!(server.line(client, "XREVRANGE x + -"), entry);
    assert_eq!(server.line(client, "XADD x 1-0 f v").get(..4), Some("-ERR"));
    assert_eq!(server.line(client, "XDEL x 1-1"), ":1\r\n");
    server.check();
}
