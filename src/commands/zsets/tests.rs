use crate::testing::{NOT_INTEGER, SYNTAX, WRONG, dialogue, dialogue_in_resp3};

#[test]
fn elements_are_added_as_the_options_say() {
    dialogue(&[
        ("ZADD z 1 a 2 b", ":2\r\n"),
        ("ZADD z 1 a 3 b 4 c", ":1\r\n"),
        ("ZADD z CH 1 a 5 b 6 d", ":2\r\n"),
        ("ZADD z NX 9 a 9 e", ":1\r\n"),
        ("ZADD z XX 9 a 9 f", ":0\r\n"),
        ("ZADD z GT CH 8 a 10 e", ":1\r\n"),
        ("ZADD z LT CH 8 a 99 g", ":2\r\n"),
        (
            "ZRANGE z 0 -1 WITHSCORES",
            "*12\r\n$1\r\nc\r\n$1\r\n4\r\n$1\r\nb\r\n$1\r\n5\r\n$1\r\nd\r\n$1\r\n6\r\n$1\r\na\r\n$1\r\n8\r\n$1\r\ne\r\n$2\r\n10\r\n$1\r\ng\r\n$2\r\n99\r\n",
        ),
        ("ZADD z NX XX 1 a", "-ERR XX and NX options at the same time are not compatible\r\n"),
        (
            "ZADD z GT LT 1 a",
            "-ERR GT, LT, and/or NX options at the same time are not compatible\r\n",
        ),
        (
            "ZADD z NX GT 1 a",
            "-ERR GT, LT, and/or NX options at the same time are not compatible\r\n",
        ),
        ("ZADD z INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair\r\n"),
        ("ZADD z INCR 1.5 a", "$3\r\n9.5\r\n"),
        ("ZADD z NX INCR 1 a", "$-1\r\n"),
        ("ZADD z XX INCR 1 none", "$-1\r\n"),
        ("ZADD z GT INCR -1 a", "$-1\r\n"),
        ("ZADD z 1", "-ERR wrong number of arguments for 'zadd' command\r\n"),
        ("ZADD z 1 a x b", "-ERR value is not a valid float\r\n"),
        ("ZADD z 1 a 2", SYNTAX),
        ("ZADD z nan a", "-ERR value is not a valid float\r\n"),
        ("ZADD z XX 1 none", ":0\r\n"),
        ("ZSCORE z none", "$-1\r\n"),
        ("ZADD none XX 1 a", ":0\r\n"),
        ("EXISTS none", ":0\r\n"),
        ("ZADD none XX INCR 1 a", "$-1\r\n"),
    ]);
}

#[test]
fn scores_are_any_doubles() {
    dialogue(&[
        ("ZADD z inf a -inf b 1e400 x", "-ERR value is not a valid float\r\n"),
        ("ZADD z inf a -inf b", ":2\r\n"),
        ("ZINCRBY z -inf a", "-ERR resulting score is not a number (NaN)\r\n"),
        ("ZSCORE z a", "$3\r\ninf\r\n"),
        ("ZINCRBY z 1 b", "$4\r\n-inf\r\n"),
        ("ZINCRBY z 0.1 c", "$19\r\n0.10000000000000001\r\n"),
        ("ZINCRBY z 0.2 c", "$19\r\n0.30000000000000004\r\n"),
        ("ZINCRBY z x c", "-ERR value is not a valid float\r\n"),
        ("ZADD z -0 zero", ":1\r\n"),
        ("ZSCORE z zero", "$1\r\n0\r\n"),
        ("ZADD z 1e20 big 123456789012345678 long", ":2\r\n"),
        (
            "ZMSCORE z big long none",
            "*3\r\n$5\r\n1e+20\r\n$22\r\n1.2345678901234568e+17\r\n$-1\r\n",
        ),
        ("ZMSCORE none a", "*1\r\n$-1\r\n"),
        ("ZSCORE none a", "$-1\r\n"),
    ]);
}

#[test]
fn ranges_are_of_ranks_of_scores_and_of_members() {
    dialogue(&[
        ("ZADD z 1 a 2 b 2 c 3 d", ":4\r\n"),
        ("ZRANGE z -2 9", "*2\r\n$1\r\nc\r\n$1\r\nd\r\n"),
        ("ZRANGE z 3 1", "*0\r\n"),
        ("ZRANGE z 0 0 REV WITHSCORES", "*2\r\n$1\r\nd\r\n$1\r\n3\r\n"),
        ("ZRANGE z (1 3 BYSCORE LIMIT 1 1", "*1\r\n$1\r\nc\r\n"),
        ("ZRANGE z 3 (1 BYSCORE REV", "*3\r\n$1\r\nd\r\n$1\r\nc\r\n$1\r\nb\r\n"),
        (
            "ZRANGE z -inf +inf BYSCORE LIMIT 0 -1 WITHSCORES",
            "*8\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$1\r\n2\r\n$1\r\nd\r\n$1\r\n3\r\n",
        ),
        (
            "ZRANGE z 0 -1 LIMIT 0 1",
            "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX\r\n",
        ),
        ("ZRANGE z [a (c BYLEX", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (
            "ZRANGE z - + BYLEX WITHSCORES",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX\r\n",
        ),
        ("ZRANGE z a c BYLEX", "-ERR min or max not valid string range item\r\n"),
        ("ZRANGE z x y BYSCORE", "-ERR min or max is not a float\r\n"),
        ("ZRANGE z 0 x", NOT_INTEGER),
        ("ZREVRANGEBYSCORE z 2 2", "*2\r\n$1\r\nc\r\n$1\r\nb\r\n"),
        ("ZRANGEBYSCORE z 1 3 LIMIT -1 2", "*0\r\n"),
        ("ZREVRANGE z 0 0 WITHSCORES", "*2\r\n$1\r\nd\r\n$1\r\n3\r\n"),
        ("ZCOUNT z (1 (3", ":2\r\n"),
        ("ZLEXCOUNT z - +", ":4\r\n"),
        ("ZRANK z c", ":2\r\n"),
        ("ZREVRANK z c", ":1\r\n"),
        ("ZRANK z x", "$-1\r\n"),
        ("ZRANGESTORE to z 0 1", ":2\r\n"),
        ("ZRANGESTORE to z 9 9", ":0\r\n"),
        ("EXISTS to", ":0\r\n"),
        ("ZRANGE none 0 x", NOT_INTEGER),
    ]);
}

#[test]
fn elements_are_removed() {
    dialogue(&[
        ("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f", ":6\r\n"),
        ("ZREM z a x a", ":1\r\n"),
        ("ZREMRANGEBYRANK z 0 0", ":1\r\n"),
        ("ZREMRANGEBYSCORE z (3 4", ":1\r\n"),
        ("ZREMRANGEBYLEX z [e (f", ":1\r\n"),
        ("ZRANGE z 0 -1", "*2\r\n$1\r\nc\r\n$1\r\nf\r\n"),
        ("ZREMRANGEBYRANK z 5 9", ":0\r\n"),
        ("ZREMRANGEBYSCORE z x 1", "-ERR min or max is not a float\r\n"),
        ("ZREMRANGEBYRANK z 0 -1", ":2\r\n"),
        ("EXISTS z", ":0\r\n"),
    ]);
}

#[test]
fn elements_are_popped() {
    dialogue(&[
        ("ZADD z 1 a 2 b 3 c 4 d", ":4\r\n"),
        ("ZPOPMIN z", "*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("ZPOPMAX z 2", "*4\r\n$1\r\nd\r\n$1\r\n4\r\n$1\r\nc\r\n$1\r\n3\r\n"),
        ("ZPOPMIN z 0", "*0\r\n"),
        ("ZPOPMIN z -1", "-ERR value is out of range, must be positive\r\n"),
        ("ZPOPMIN z x", "-ERR value is out of range, must be positive\r\n"),
        ("ZPOPMIN z 1 2", SYNTAX),
        ("ZPOPMIN none", "*0\r\n"),
        ("ZPOPMIN none 2", "*0\r\n"),
        ("ZPOPMIN z 9", "*2\r\n$1\r\nb\r\n$1\r\n2\r\n"),
        ("EXISTS z", ":0\r\n"),
        ("ZADD z 1 a 2 b 3 c", ":3\r\n"),
        ("ZMPOP 2 none z MIN", "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (
            "ZMPOP 1 z MAX COUNT 9",
            "*2\r\n$1\r\nz\r\n*2\r\n*2\r\n$1\r\nc\r\n$1\r\n3\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n",
        ),
        ("ZMPOP 1 z MIN", "*-1\r\n"),
        ("ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0\r\n"),
        ("ZMPOP x z MIN", "-ERR numkeys should be greater than 0\r\n"),
        ("ZMPOP 2 z MIN", SYNTAX),
        ("ZMPOP 1 z LEFT", SYNTAX),
        ("ZMPOP 1 z MIN COUNT", SYNTAX),
        ("ZMPOP 1 z MIN COUNT 0", "-ERR count should be greater than 0\r\n"),
        ("ZMPOP 1 z MIN COUNT 1 COUNT 1", SYNTAX),
        ("ZADD z 1 a 2 b 3 c 4 d", ":4\r\n"),
        ("BZPOPMIN none z 0", "*3\r\n$1\r\nz\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("BZMPOP 0 1 z MAX", "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\nd\r\n$1\r\n4\r\n"),
        ("BZPOPMAX z -1", "-ERR timeout is negative\r\n"),
    ]);
}

#[test]
fn sorted_sets_and_sets_are_combined() {
    dialogue(&[
        ("ZADD a 1 x 2 y", ":2\r\n"),
        ("ZADD b 10 y 20 z", ":2\r\n"),
        ("SADD s x z", ":2\r\n"),
        (
            "ZUNION 3 a b s WITHSCORES",
            "*6\r\n$1\r\nx\r\n$1\r\n2\r\n$1\r\ny\r\n$2\r\n12\r\n$1\r\nz\r\n$2\r\n21\r\n",
        ),
        (
            "ZUNION 2 a b WEIGHTS 2 0.5 AGGREGATE MAX WITHSCORES",
            "*6\r\n$1\r\nx\r\n$1\r\n2\r\n$1\r\ny\r\n$1\r\n5\r\n$1\r\nz\r\n$2\r\n10\r\n",
        ),
        ("ZINTER 2 a b WITHSCORES AGGREGATE MIN", "*2\r\n$1\r\ny\r\n$1\r\n2\r\n"),
        ("ZINTER 2 a none", "*0\r\n"),
        ("ZDIFF 2 a b WITHSCORES", "*2\r\n$1\r\nx\r\n$1\r\n1\r\n"),
        ("ZDIFF 2 a b WEIGHTS 1 1", SYNTAX),
        ("ZINTERCARD 2 b s", ":1\r\n"),
        ("ZINTERCARD 2 a b LIMIT 0", ":1\r\n"),
        ("ZINTERCARD 2 a b LIMIT -1", "-ERR LIMIT can't be negative\r\n"),
        ("ZINTERCARD 2 a b WITHSCORES", SYNTAX),
        ("ZUNION 0 a", "-ERR at least 1 input key is needed for 'zunion' command\r\n"),
        ("ZUNION x a", NOT_INTEGER),
        ("ZUNION 3 a b", SYNTAX),
        ("ZUNION 2 a b WEIGHTS 1", SYNTAX),
        ("ZUNION 2 a b WEIGHTS 1 x", "-ERR weight value is not a float\r\n"),
        ("ZUNION 2 a b AGGREGATE AVG", SYNTAX),
        ("ZUNIONSTORE to 2 a b WITHSCORES", SYNTAX),
        ("ZUNIONSTORE to 2 a b", ":3\r\n"),
        (
            "ZRANGE to 0 -1 WITHSCORES",
            "*6\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\ny\r\n$2\r\n12\r\n$1\r\nz\r\n$2\r\n20\r\n",
        ),
        ("ZINTERSTORE to 2 a none", ":0\r\n"),
        ("EXISTS to", ":0\r\n"),
        ("ZADD p inf m", ":1\r\n"),
        ("ZADD n -inf m", ":1\r\n"),
        ("ZUNION 2 p n WITHSCORES", "*2\r\n$1\r\nm\r\n$1\r\n0\r\n"),
        ("ZUNION 1 p WEIGHTS 0 WITHSCORES", "*2\r\n$1\r\nm\r\n$1\r\n0\r\n"),
        ("SET t x", "+OK\r\n"),
        ("ZUNION 2 a t", WRONG),
        ("ZINTERCARD 1 t", WRONG),
        ("ZUNIONSTORE t 1 a", ":2\r\n"),
        ("TYPE t", "+zset\r\n"),
    ]);
}

#[test]
fn members_are_chosen_at_random() {
    dialogue(&[
        ("ZRANDMEMBER none", "$-1\r\n"),
        ("ZRANDMEMBER none 2", "*0\r\n"),
        ("ZADD z 1 a", ":1\r\n"),
        ("ZRANDMEMBER z", "$1\r\na\r\n"),
        ("ZRANDMEMBER z 0", "*0\r\n"),
        ("ZRANDMEMBER z 5 WITHSCORES", "*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("ZRANDMEMBER z -2 WITHSCORES", "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("ZRANDMEMBER z 1 SCORES", SYNTAX),
        ("ZRANDMEMBER z 1 WITHSCORES 1", SYNTAX),
        ("ZRANDMEMBER z x", NOT_INTEGER),
        (
            "ZRANDMEMBER z -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n",
        ),
        ("ZRANDMEMBER z 5000000000000000000 WITHSCORES", "-ERR value is out of range\r\n"),
    ]);
}

#[test]
fn resp3_has_doubles_and_pairs() {
    dialogue_in_resp3(&[
        ("ZADD z inf a -inf b 0.1 c 1 d", ":4\r\n"),
        ("ZSCORE z a", ",inf\r\n"),
        ("ZSCORE z c", ",0.10000000000000001\r\n"),
        ("ZINCRBY z 0.2 c", ",0.30000000000000004\r\n"),
        ("ZMSCORE z b none", "*2\r\n,-inf\r\n_\r\n"),
        ("ZRANGE z 0 0 WITHSCORES", "*1\r\n*2\r\n$1\r\nb\r\n,-inf\r\n"),
        ("ZPOPMIN z", "*2\r\n$1\r\nb\r\n,-inf\r\n"),
        ("ZPOPMIN z 1", "*1\r\n*2\r\n$1\r\nc\r\n,0.30000000000000004\r\n"),
        ("ZPOPMAX z", "*2\r\n$1\r\na\r\n,inf\r\n"),
        ("ZRANDMEMBER z 5 WITHSCORES", "*1\r\n*2\r\n$1\r\nd\r\n,1\r\n"),
        ("ZRANDMEMBER none", "_\r\n"),
        ("BZPOPMIN z 0", "*3\r\n$1\r\nz\r\n$1\r\nd\r\n,1\r\n"),
        ("ZPOPMIN z", "*0\r\n"),
    ]);
}

#[test]
fn encodings_change_at_the_limits() {
    dialogue(&[
        ("CONFIG SET zset-max-listpack-entries 2", "+OK\r\n"),
        ("ZADD z 1 a 2 b", ":2\r\n"),
        ("OBJECT ENCODING z", "$8\r\nlistpack\r\n"),
        ("ZADD z 3 c", ":1\r\n"),
        ("OBJECT ENCODING z", "$8\r\nskiplist\r\n"),
        ("ZREM z c b", ":2\r\n"),
        ("OBJECT ENCODING z", "$8\r\nskiplist\r\n"),
        ("CONFIG SET zset-max-listpack-value 3", "+OK\r\n"),
        ("ZADD y 1 abc", ":1\r\n"),
        ("OBJECT ENCODING y", "$8\r\nlistpack\r\n"),
        ("ZADD y 1 abcd", ":1\r\n"),
        ("OBJECT ENCODING y", "$8\r\nskiplist\r\n"),
        ("ZRANGESTORE y y 0 0", ":1\r\n"),
        ("OBJECT ENCODING y", "$8\r\nlistpack\r\n"),
    ]);
}

#[test]
fn what_is_no_sorted_set() {
    dialogue(&[
        ("SET t x", "+OK\r\n"),
        ("ZADD t 1 a", WRONG),
        ("ZADD t x a", "-ERR value is not a valid float\r\n"),
        ("ZINCRBY t x a", "-ERR value is not a valid float\r\n"),
        ("ZREM t a", WRONG),
        ("ZCARD t", WRONG),
        ("ZPOPMIN t", WRONG),
        ("ZPOPMIN t x", "-ERR value is out of range, must be positive\r\n"),
        ("ZRANGE t 0 1", WRONG),
        ("ZRANGE t 0 x", NOT_INTEGER),
        ("ZRANDMEMBER t 1", WRONG),
        ("ZSCAN t 0", WRONG),
        ("ZSCAN t x", "-ERR invalid cursor\r\n"),
        ("ZSCAN none 0 NONSENSE", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("ZADD z 1.5 a", ":1\r\n"),
        ("ZSCAN z 0", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$3\r\n1.5\r\n"),
        ("ZSCAN z 0 COUNT 0", SYNTAX),
    ]);
}
