use crate::testing::{NOT_INTEGER, SYNTAX, WRONG, dialogue, dialogue_in_resp3};

#[test]
fn members_come_and_go() {
    dialogue(&[
        ("SADD s b a b", ":2\r\n"),
        ("SADD s a c", ":1\r\n"),
        ("SCARD s", ":3\r\n"),
        ("SISMEMBER s a", ":1\r\n"),
        ("SISMEMBER none a", ":0\r\n"),
        ("SMISMEMBER s a x b", "*3\r\n:1\r\n:0\r\n:1\r\n"),
        ("SMISMEMBER none a b", "*2\r\n:0\r\n:0\r\n"),
        ("SREM s a x a", ":1\r\n"),
        ("SREM none a", ":0\r\n"),
        ("SREM s b c", ":2\r\n"),
        ("EXISTS s", ":0\r\n"),
        ("SMEMBERS s", "*0\r\n"),
    ]);
}

#[test]
fn encodings_change_at_the_limits() {
    dialogue(&[
        ("SADD ints 1 -2 9223372036854775807", ":3\r\n"),
        ("OBJECT ENCODING ints", "$6\r\nintset\r\n"),
        ("SADD ints 9223372036854775808", ":1\r\n"),
        ("OBJECT ENCODING ints", "$9\r\nhashtable\r\n"),
        ("SREM ints 9223372036854775808", ":1\r\n"),
        ("OBJECT ENCODING ints", "$9\r\nhashtable\r\n"),
        ("SADD texts 01", ":1\r\n"),
        ("OBJECT ENCODING texts", "$9\r\nhashtable\r\n"),
        ("SISMEMBER texts 1", ":0\r\n"),
        ("CONFIG SET set-max-intset-entries 2", "+OK\r\n"),
        ("SADD few 1 2", ":2\r\n"),
        ("OBJECT ENCODING few", "$6\r\nintset\r\n"),
        ("SADD few 3", ":1\r\n"),
        ("OBJECT ENCODING few", "$9\r\nhashtable\r\n"),
        ("SADD two 1", ":1\r\n"),
        ("SADD two 2", ":1\r\n"),
        ("SADD two 2", ":0\r\n"),
        ("OBJECT ENCODING two", "$6\r\nintset\r\n"),
        ("SADD two 3", ":1\r\n"),
        ("OBJECT ENCODING two", "$9\r\nhashtable\r\n"),
    ]);
}

#[test]
fn members_move_between_sets() {
    dialogue(&[
        ("SADD from a b", ":2\r\n"),
        ("SMOVE from to a", ":1\r\n"),
        ("SMOVE from to a", ":0\r\n"),
        ("SMOVE none to a", ":0\r\n"),
        ("SMOVE to to a", ":1\r\n"),
        ("SMOVE to to x", ":0\r\n"),
        ("SADD to b", ":1\r\n"),
        ("SMOVE from to b", ":1\r\n"),
        ("EXISTS from", ":0\r\n"),
        ("SCARD to", ":2\r\n"),
        ("SET t x", "+OK\r\n"),
        ("SMOVE to t a", WRONG),
        ("SMOVE t to a", WRONG),
        ("SMOVE none t a", ":0\r\n"),
        ("SMOVE to t none", WRONG),
        ("SISMEMBER to a", ":1\r\n"),
    ]);
}

#[test]
fn sets_are_combined() {
    dialogue(&[
        ("SADD a 1 2 3", ":3\r\n"),
        ("SADD b 2 3 4", ":3\r\n"),
        ("SADD c 3", ":1\r\n"),
        ("SINTER a b c", "*1\r\n$1\r\n3\r\n"),
        ("SDIFF a b", "*1\r\n$1\r\n1\r\n"),
        ("SDIFF a a", "*0\r\n"),
        ("SDIFF none a", "*0\r\n"),
        ("SUNION none c", "*1\r\n$1\r\n3\r\n"),
        ("SINTER a none", "*0\r\n"),
        ("SINTERCARD 2 a b", ":2\r\n"),
        ("SINTERCARD 2 a b LIMIT 1", ":1\r\n"),
        ("SINTERCARD 2 a b LIMIT 0", ":2\r\n"),
        ("SINTERCARD 0 a", "-ERR numkeys should be greater than 0\r\n"),
        ("SINTERCARD x a", "-ERR numkeys should be greater than 0\r\n"),
        ("SINTERCARD 3 a b", "-ERR Number of keys can't be greater than number of args\r\n"),
        ("SINTERCARD 2 a b LIMIT", SYNTAX),
        ("SINTERCARD 2 a b LIMIT -1", "-ERR LIMIT can't be negative\r\n"),
        ("SINTERCARD 2 a b MOST 1", SYNTAX),
        ("SINTERSTORE to a b", ":2\r\n"),
        ("OBJECT ENCODING to", "$6\r\nintset\r\n"),
        ("SDIFFSTORE to a a", ":0\r\n"),
        ("EXISTS to", ":0\r\n"),
        ("SUNIONSTORE c c", ":1\r\n"),
        ("SMEMBERS c", "*1\r\n$1\r\n3\r\n"),
        ("SET t x", "+OK\r\n"),
        ("SUNION a t", WRONG),
        ("SINTER none t", WRONG),
        ("SDIFFSTORE t a b", ":1\r\n"),
        ("TYPE t", "+set\r\n"),
        ("SMEMBERS t", "*1\r\n$1\r\n1\r\n"),
    ]);
}

#[test]
fn members_are_chosen_at_random() {
    dialogue(&[
        ("SRANDMEMBER none", "$-1\r\n"),
        ("SRANDMEMBER none 2", "*0\r\n"),
        ("SPOP none", "$-1\r\n"),
        ("SPOP none 2", "*0\r\n"),
        ("SADD s a", ":1\r\n"),
        ("SRANDMEMBER s", "$1\r\na\r\n"),
        ("SRANDMEMBER s 0", "*0\r\n"),
        ("SRANDMEMBER s 5", "*1\r\n$1\r\na\r\n"),
        ("SRANDMEMBER s -2", "*2\r\n$1\r\na\r\n$1\r\na\r\n"),
        ("SRANDMEMBER s x", NOT_INTEGER),
        (
            "SRANDMEMBER s -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n",
        ),
        ("SRANDMEMBER s 1 2", SYNTAX),
        ("SPOP s -1", "-ERR value is out of range, must be positive\r\n"),
        ("SPOP s x", "-ERR value is out of range, must be positive\r\n"),
        ("SPOP s 1 2", SYNTAX),
        ("SPOP s 0", "*0\r\n"),
        ("SPOP s 5", "*1\r\n$1\r\na\r\n"),
        ("EXISTS s", ":0\r\n"),
        ("SADD s a", ":1\r\n"),
        ("SPOP s", "$1\r\na\r\n"),
        ("EXISTS s", ":0\r\n"),
    ]);
}

#[test]
fn resp3_has_sets_where_members_differ() {
    dialogue_in_resp3(&[
        ("SADD s 1 2 3 4 5", ":5\r\n"),
        ("SRANDMEMBER none", "_\r\n"),
        ("SPOP none 2", "~0\r\n"),
        ("SMEMBERS none", "~0\r\n"),
        ("SMEMBERS s", "~5\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n"),
        ("SINTER s s", "~5\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n"),
        ("SRANDMEMBER s 9", "*5\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n"),
        ("SRANDMEMBER s 0", "*0\r\n"),
        ("SPOP s 9", "~5\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n"),
    ]);
}

#[test]
fn another_form_is_the_same_key() {
    dialogue(&[
        ("SADD s 1", ":1\r\n"),
        ("EXPIREAT s 33177117420", ":1\r\n"),
        ("SADD s 100000", ":1\r\n"),
        ("OBJECT IDLETIME s", ":0\r\n"),
        ("EXPIRETIME s", ":33177117420\r\n"),
        ("SADD s x", ":1\r\n"),
        ("OBJECT ENCODING s", "$9\r\nhashtable\r\n"),
        ("OBJECT IDLETIME s", ":0\r\n"),
        ("EXPIRETIME s", ":33177117420\r\n"),
    ]);
}

#[test]
fn what_is_no_set() {
    dialogue(&[
        ("SET t x", "+OK\r\n"),
        ("SADD t a", WRONG),
        ("SREM t a", WRONG),
        ("SCARD t", WRONG),
        ("SPOP t", WRONG),
        ("SPOP t x", "-ERR value is out of range, must be positive\r\n"),
        ("SRANDMEMBER t 1", WRONG),
        ("SMEMBERS t", WRONG),
        ("SSCAN t 0", WRONG),
        ("SSCAN t x", "-ERR invalid cursor\r\n"),
        ("SSCAN none 0 NONSENSE", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("SADD s a b", ":2\r\n"),
        ("SSCAN s 0 MATCH b COUNT 10", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nb\r\n"),
        ("SSCAN s 0 COUNT 0", SYNTAX),
        ("SSCAN s 0 MATCH", SYNTAX),
    ]);
}
