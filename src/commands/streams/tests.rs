use crate::testing::{NOT_INTEGER, SYNTAX, WRONG, dialogue};

#[test]
fn entries_have_ascending_ids() {
    dialogue(&[
        ("XADD s 5-1 f v", "$3\r\n5-1\r\n"),
        (
            "XADD s 5-1 f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item\r\n",
        ),
        (
            "XADD s 5-0 f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item\r\n",
        ),
        ("XADD s 5-* f v", "$3\r\n5-2\r\n"),
        ("XADD s 0-0 f v", "-ERR The ID specified in XADD must be greater than 0-0\r\n"),
        ("XADD s x f v", "-ERR Invalid stream ID specified as stream command argument\r\n"),
        ("XADD s 6 f", "-ERR wrong number of arguments for 'xadd' command\r\n"),
        ("XADD s 6 f v g w", "$3\r\n6-0\r\n"),
        ("XLEN s", ":3\r\n"),
        (
            "XRANGE s - +",
            "*3\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n*2\r\n$3\r\n5-2\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n*2\r\n$3\r\n6-0\r\n*4\r\n$1\r\nf\r\n$1\r\nv\r\n$1\r\ng\r\n$1\r\nw\r\n",
        ),
        (
            "XREVRANGE s + - COUNT 1",
            "*1\r\n*2\r\n$3\r\n6-0\r\n*4\r\n$1\r\nf\r\n$1\r\nv\r\n$1\r\ng\r\n$1\r\nw\r\n",
        ),
        (
            "XRANGE s (5-1 6",
            "*2\r\n*2\r\n$3\r\n5-2\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n*2\r\n$3\r\n6-0\r\n*4\r\n$1\r\nf\r\n$1\r\nv\r\n$1\r\ng\r\n$1\r\nw\r\n",
        ),
        ("XRANGE s 5 5 COUNT 1", "*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"),
        ("XRANGE s x +", "-ERR Invalid stream ID specified as stream command argument\r\n"),
        ("XRANGE s ( +", "-ERR Invalid stream ID specified as stream command argument\r\n"),
        ("XADD none NOMKSTREAM 1 f v", "$-1\r\n"),
        ("EXISTS none", ":0\r\n"),
        (
            "XADD s 18446744073709551615-18446744073709551615 f v",
            "$41\r\n18446744073709551615-18446744073709551615\r\n",
        ),
        (
            "XADD s * f v",
            "-ERR The stream has exhausted the last possible ID, unable to add more items\r\n",
        ),
    ]);
}

#[test]
fn streams_are_trimmed() {
    dialogue(&[
        ("XADD s 1 n 1", "$3\r\n1-0\r\n"),
        ("XADD s 2 n 2", "$3\r\n2-0\r\n"),
        ("XADD s 3 n 3", "$3\r\n3-0\r\n"),
        ("XADD s MAXLEN 2 4 n 4", "$3\r\n4-0\r\n"),
        ("XRANGE s - + COUNT 1", "*1\r\n*2\r\n$3\r\n3-0\r\n*2\r\n$1\r\nn\r\n$1\r\n3\r\n"),
        ("XTRIM s MINID 4", ":1\r\n"),
        ("XTRIM s MAXLEN x", NOT_INTEGER),
        ("XTRIM s MAXLEN -1", "-ERR The MAXLEN argument must be >= 0.\r\n"),
        ("XTRIM s LENGTH 1", SYNTAX),
        (
            "XTRIM s MAXLEN 1 LIMIT 5",
            "-ERR syntax error, LIMIT cannot be used without the special ~ option\r\n",
        ),
        ("XTRIM s MAXLEN 0", ":1\r\n"),
        ("EXISTS s", ":1\r\n"),
        ("XLEN s", ":0\r\n"),
        (
            "XADD s 4 n 4",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item\r\n",
        ),
        ("XDEL s 4", ":0\r\n"),
        ("XDEL s 1 x", "-ERR Invalid stream ID specified as stream command argument\r\n"),
        ("XSETID s 3", "+OK\r\n"),
        ("XSETID s 9", "+OK\r\n"),
        (
            "XADD s 8 n 8",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item\r\n",
        ),
        ("XSETID none 1", "-ERR no such key\r\n"),
        ("XTRIM none MAXLEN 0", ":0\r\n"),
    ]);
}

#[test]
fn groups_deliver_and_take_back() {
    dialogue(&[
        ("XADD s 1 n 1", "$3\r\n1-0\r\n"),
        ("XADD s 2 n 2", "$3\r\n2-0\r\n"),
        ("XGROUP CREATE s g 0", "+OK\r\n"),
        ("XGROUP CREATE s g 0", "-BUSYGROUP Consumer Group name already exists\r\n"),
        (
            "XGROUP CREATE none g 0",
            "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.\r\n",
        ),
        ("XGROUP CREATE m g $ MKSTREAM", "+OK\r\n"),
        (
            "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
            "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nn\r\n$1\r\n1\r\n",
        ),
        (
            "XREADGROUP GROUP g c STREAMS s 0",
            "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nn\r\n$1\r\n1\r\n",
        ),
        (
            "XPENDING s g",
            "*4\r\n:1\r\n$3\r\n1-0\r\n$3\r\n1-0\r\n*1\r\n*2\r\n$1\r\nc\r\n$1\r\n1\r\n",
        ),
        ("XACK s g 1 2 9", ":1\r\n"),
        ("XREADGROUP GROUP g c STREAMS s 0", "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n"),
        (
            "XREADGROUP GROUP g d STREAMS s >",
            "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\nn\r\n$1\r\n2\r\n",
        ),
        ("XREADGROUP GROUP g d STREAMS s >", "*-1\r\n"),
        ("XCLAIM s g c 0 2 JUSTID", "*1\r\n$3\r\n2-0\r\n"),
        (
            "XPENDING s g",
            "*4\r\n:1\r\n$3\r\n2-0\r\n$3\r\n2-0\r\n*1\r\n*2\r\n$1\r\nc\r\n$1\r\n1\r\n",
        ),
        ("XAUTOCLAIM s g d 0 0 COUNT 1 JUSTID", "*3\r\n$3\r\n0-0\r\n*1\r\n$3\r\n2-0\r\n*0\r\n"),
        ("XDEL s 2", ":1\r\n"),
        ("XAUTOCLAIM s g d 0 0", "*3\r\n$3\r\n0-0\r\n*0\r\n*1\r\n$3\r\n2-0\r\n"),
        ("XPENDING s g", "*4\r\n:0\r\n$-1\r\n$-1\r\n*-1\r\n"),
        (
            "XREADGROUP GROUP none c STREAMS s >",
            "-NOGROUP No such key 's' or consumer group 'none' in XREADGROUP with GROUP option\r\n",
        ),
        (
            "XREADGROUP GROUP g c STREAMS s $",
            "-ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.\r\n",
        ),
        (
            "XREAD STREAMS s >",
            "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.\r\n",
        ),
        (
            "XREAD STREAMS s 0",
            "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nn\r\n$1\r\n1\r\n",
        ),
        ("XREAD STREAMS s", "-ERR wrong number of arguments for 'xread' command\r\n"),
        ("XGROUP DELCONSUMER s g c", ":0\r\n"),
        ("XGROUP DESTROY s g", ":1\r\n"),
        ("XGROUP DESTROY s g", ":0\r\n"),
        ("XACK s g 1", ":0\r\n"),
        ("XPENDING s g", "-NOGROUP No such key 's' or consumer group 'g'\r\n"),
    ]);
}

#[test]
fn what_is_no_stream() {
    dialogue(&[
        ("SET t x", "+OK\r\n"),
        ("XADD t 1 f v", WRONG),
        ("XADD t x f v", "-ERR Invalid stream ID specified as stream command argument\r\n"),
        ("XLEN t", WRONG),
        ("XRANGE t - +", WRONG),
        ("XREAD STREAMS t 0", WRONG),
        ("XACK t g 1", WRONG),
        ("XGROUP CREATE t g 0", WRONG),
        ("XGROUP DESTROY t g", WRONG),
        ("XPENDING t g", WRONG),
        ("XDEL t 1", WRONG),
        ("XTRIM t MAXLEN 0", WRONG),
        ("XINFO STREAM t", WRONG),
        ("XINFO STREAM none", "-ERR no such key\r\n"),
        ("XREADGROUP GROUP g c STREAMS t >", WRONG),
    ]);
}
