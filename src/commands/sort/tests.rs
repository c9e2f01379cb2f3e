use super::score;
use crate::testing::{Server, dialogue};

#[test]
fn scores_are_read_as_c_reads_them() {
    for (text, expected) in [
        ("", Some(0.0)),
        (" 3", Some(3.0)),
        ("\t3", Some(3.0)),
        ("+3", Some(3.0)),
        ("0x10", Some(16.0)),
        ("1\0abc", Some(1.0)),
        ("\0", Some(0.0)),
        ("inf", Some(f64::INFINITY)),
        ("-infinity", Some(f64::NEG_INFINITY)),
        ("1.", Some(1.0)),
        (".5", Some(0.5)),
        ("0x1p-1074", Some(5e-324)),
        ("2.2250738585072014e-308", Some(f64::MIN_POSITIVE)),
        ("3 ", None),
        (" ", None),
        ("nan", None),
        ("1e", None),
        ("1_0", None),
        (".", None),
        ("1e400", None),
        ("1e-400", None),
        ("1e-320", None),
        ("4.9406564584124654e-324", None),
    ] {
        assert_eq!(score(text.as_bytes()), expected, "{text:?}");
    }
}

const NO_DOUBLE: &str = "-ERR One or more scores can't be converted into double\r\n";

#[test]
fn lists_are_sorted_by_themselves() {
    dialogue(&[
        ("RPUSH l 3 10 -1", ":3\r\n"),
        ("SORT l", "*3\r\n$2\r\n-1\r\n$1\r\n3\r\n$2\r\n10\r\n"),
        ("SORT_RO l DESC LIMIT 1 1", "*1\r\n$1\r\n3\r\n"),
        ("SORT l ALPHA", "*3\r\n$2\r\n-1\r\n$2\r\n10\r\n$1\r\n3\r\n"),
        ("SORT l BY nosort DESC LIMIT 0 2", "*2\r\n$2\r\n-1\r\n$2\r\n10\r\n"),
        ("SORT none", "*0\r\n"),
        ("RPUSH l x", ":4\r\n"),
        ("SORT l", NO_DOUBLE),
        ("SORT_RO l STORE to", "-ERR syntax error\r\n"),
        ("SET s 1", "+OK\r\n"),
        ("SORT s", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    ]);
}

#[test]
fn other_keys_give_weights_and_values() {
    dialogue(&[
        ("SADD s 1 2 3", ":3\r\n"),
        ("MSET w_1 9 w_3 -9 v_1 one", "+OK\r\n"),
        ("HSET h_2 f two", ":1\r\n"),
        ("SORT s BY w_*", "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$1\r\n1\r\n"),
        (
            "SORT s GET # GET v_* GET h_*->f LIMIT 0 2",
            "*6\r\n$1\r\n1\r\n$3\r\none\r\n$-1\r\n$1\r\n2\r\n$-1\r\n$3\r\ntwo\r\n",
        ),
        ("SORT s GET v_* STORE to", ":3\r\n"),
        ("LRANGE to 0 -1", "*3\r\n$3\r\none\r\n$0\r\n\r\n$0\r\n\r\n"),
        ("SORT none STORE to", ":0\r\n"),
        ("EXISTS to", ":0\r\n"),
    ]);
}

#[test]
fn a_sorted_set_that_is_sorted_is_a_skiplist() {
    dialogue(&[
        ("ZADD z 1 b 2 a", ":2\r\n"),
        ("EXPIRE z 1000", ":1\r\n"),
        ("OBJECT ENCODING z", "$8\r\nlistpack\r\n"),
        ("SORT z", NO_DOUBLE),
        ("OBJECT ENCODING z", "$8\r\nskiplist\r\n"),
        ("TTL z", ":1000\r\n"),
        ("SORT z BY nosort DESC", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("SORT z ALPHA STORE z", ":2\r\n"),
        ("LRANGE z 0 -1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("TTL z", ":-1\r\n"),
    ]);
}

#[test]
fn what_is_stored_is_there_for_who_waits() {
    let mut server = Server::new();
    let (client, waiting) = (server.connect(), server.connect());
    server.line(client, "RPUSH l 2 1");
    assert_eq!(server.line(waiting, "BLPOP to 0"), "");
    assert_eq!(server.line(client, "SORT l STORE to"), ":2\r\n");
    server.round();
    assert_eq!(server.text(waiting), "*2\r\n$2\r\nto\r\n$1\r\n1\r\n");
    assert_eq!(server.line(client, "LRANGE to 0 -1"), "*1\r\n$1\r\n2\r\n");
    server.check();
}
