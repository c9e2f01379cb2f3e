use crate::testing::{Server, WRONG, dialogue};

fn server() -> (Server, usize) {
    let mut server = Server::new();
    let client = server.connect();
    (server, client)
}

#[test]
fn fields_are_set_and_read() {
    dialogue(&[
        ("HSET h a 1 b two a 3", ":2\r\n"),
        ("HGET h a", "$1\r\n3\r\n"),
        ("HMGET h b c a", "*3\r\n$3\r\ntwo\r\n$-1\r\n$1\r\n3\r\n"),
        ("HMSET h c x d y", "+OK\r\n"),
        ("HLEN h", ":4\r\n"),
        ("HSTRLEN h b", ":3\r\n"),
        ("HSETNX h b other", ":0\r\n"),
        ("HSETNX h e -17", ":1\r\n"),
        ("HSTRLEN h e", ":3\r\n"),
        ("HEXISTS h e", ":1\r\n"),
        ("HEXISTS h f", ":0\r\n"),
        ("HDEL h a a f c", ":2\r\n"),
        ("HKEYS h", "*3\r\n$1\r\nb\r\n$1\r\nd\r\n$1\r\ne\r\n"),
        ("HVALS h", "*3\r\n$3\r\ntwo\r\n$1\r\ny\r\n$3\r\n-17\r\n"),
        ("TYPE h", "+hash\r\n"),
        ("HDEL h b d e", ":3\r\n"),
        ("EXISTS h", ":0\r\n"),
    ]);
}

#[test]
fn what_is_not_there_and_what_is_no_hash() {
    dialogue(&[
        ("SET s x", "+OK\r\n"),
        ("HGET none f", "$-1\r\n"),
        ("HMGET none f g", "*2\r\n$-1\r\n$-1\r\n"),
        ("HGETALL none", "*0\r\n"),
        ("HDEL none f", ":0\r\n"),
        ("HSCAN none 0 NONSENSE", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("HRANDFIELD none", "$-1\r\n"),
        ("HRANDFIELD none 3", "*0\r\n"),
        ("HSET s f v", WRONG),
        ("HGET s f", WRONG),
        ("HGETALL s", WRONG),
        ("HDEL s f", WRONG),
        ("HSCAN s 0 NONSENSE", WRONG),
        ("HSCAN s x", "-ERR invalid cursor\r\n"),
        ("HSET h f", "-ERR wrong number of arguments for 'hset' command\r\n"),
        ("HMSET h f v g", "-ERR wrong number of arguments for 'hmset' command\r\n"),
        ("EXISTS h", ":0\r\n"),
    ]);
}

#[test]
fn fields_count() {
    dialogue(&[
        ("HINCRBY h n 5", ":5\r\n"),
        ("HINCRBY h n -7", ":-2\r\n"),
        ("HINCRBYFLOAT h n 0.5", "$4\r\n-1.5\r\n"),
        ("HINCRBY h n 1", "-ERR hash value is not an integer\r\n"),
        ("HSET h t text m 9223372036854775807", ":2\r\n"),
        ("HINCRBYFLOAT h t 1", "-ERR hash value is not a float\r\n"),
        ("HINCRBY h m 1", "-ERR increment or decrement would overflow\r\n"),
        ("HINCRBYFLOAT h n inf", "-ERR value is NaN or Infinity\r\n"),
        ("HINCRBYFLOAT h n nan", "-ERR value is not a valid float\r\n"),
        ("HINCRBYFLOAT h m 1", "$19\r\n9223372036854775808\r\n"),
    ]);
}

#[test]
fn encodings_change_at_the_limits() {
    let long = "x".repeat(65);
    dialogue(&[
        ("CONFIG SET hash-max-listpack-entries 2", "+OK\r\n"),
        ("HSET h a 1 b 2", ":2\r\n"),
        ("OBJECT ENCODING h", "$8\r\nlistpack\r\n"),
        ("HSET h c 3", ":1\r\n"),
        ("OBJECT ENCODING h", "$9\r\nhashtable\r\n"),
        ("HDEL h c b", ":2\r\n"),
        ("OBJECT ENCODING h", "$9\r\nhashtable\r\n"),
        (&format!("HSET i a {long}"), ":1\r\n"),
        ("OBJECT ENCODING i", "$9\r\nhashtable\r\n"),
        (&format!("HINCRBY j {long} 1"), ":1\r\n"),
        ("OBJECT ENCODING j", "$9\r\nhashtable\r\n"),
        ("HSET k a 1 b 2", ":2\r\n"),
        ("CONFIG SET hash-max-listpack-entries 1", "+OK\r\n"),
        ("HSETNX k a 1", ":0\r\n"),
        ("OBJECT ENCODING k", "$8\r\nlistpack\r\n"),
        ("HSET k a 1", ":0\r\n"),
        ("OBJECT ENCODING k", "$9\r\nhashtable\r\n"),
    ]);
}

#[test]
fn random_fields_and_their_shape_in_both_protocols() {
    let (mut server, client) = server();
    server.line(client, "HSET h a 1");
    for (line, two, three) in [
        ("HRANDFIELD h", "$1\r\na\r\n", "$1\r\na\r\n"),
        ("HRANDFIELD h 0", "*0\r\n", "*0\r\n"),
        ("HRANDFIELD h 5", "*1\r\n$1\r\na\r\n", "*1\r\n$1\r\na\r\n"),
        (
            "HRANDFIELD h -2 WITHVALUES",
            "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\n1\r\n",
            "*2\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n",
        ),
        ("HGETALL h", "*2\r\n$1\r\na\r\n$1\r\n1\r\n", "%1\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("HGETALL none", "*0\r\n", "%0\r\n"),
        ("HRANDFIELD none", "$-1\r\n", "_\r\n"),
        ("HRANDFIELD h 1 VALUES", "-ERR syntax error\r\n", "-ERR syntax error\r\n"),
        (
            "HRANDFIELD h 5000000000000000000 WITHVALUES",
            "-ERR value is out of range\r\n",
            "-ERR value is out of range\r\n",
        ),
        (
            "HRANDFIELD h -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n",
        ),
    ] {
        assert_eq!(server.line(client, line), two, "{line}");
        server.line(client, "HELLO 3");
        assert_eq!(server.line(client, line), three, "{line}");
        server.line(client, "HELLO 2");
    }
}

#[test]
fn a_scan_sees_every_field_of_a_large_hash() {
    let (mut server, client) = server();
    for n in 0..1000 {
        server.line(client, &format!("HSET h field:{n} {n}"));
    }
    let mut cursor = "0".to_owned();
    let mut seen = std::collections::BTreeMap::new();
    loop {
        let reply = server.line(client, &format!("HSCAN h {cursor} COUNT 50 MATCH field:*"));
        let lines: Vec<&str> = reply.split("\r\n").collect();
        cursor = lines[2].to_owned();
        // Behind the array's header: length, field, length, value.
        for pair in lines[4..].chunks_exact(4) {
            seen.insert(pair[1].to_owned(), pair[3].to_owned());
        }
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
    assert!(seen.iter().all(|(field, value)| *field == format!("field:{value}")));
    assert_eq!(server.line(client, "HSCAN h 0 COUNT 100000 MATCH field:77").lines().count(), 8);
    server.check();
    assert_eq!(server.line(client, "DEL h"), ":1\r\n");
    for _ in 0..100 {
        server.round();
    }
    server.check();
}
