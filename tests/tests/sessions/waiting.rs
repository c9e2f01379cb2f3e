//! Blocked: who waits for a key, in which order, and is fed or let go across upgrades. What of blocked
//! clients takes time (deadlines, pauses) has tests of its own.

use crate::cuts::Cuts;

const LISTS: &str = r#"
    a> BLPOP q@ r@ 0
    a blocks
    b> BLMOVE q@ t@ LEFT RIGHT 0
    b blocks
    c> BRPOP s@ q@ 0
    c blocks
    f: RPUSH q@ 1 2
    a<
    b<
    f: EXISTS q@
    f: LRANGE t@ 0 -1
    f: LPUSH q@ 3 4
    c<
    f: LRANGE q@ 0 -1
    a> BLMPOP 0 2 r@ s@ RIGHT COUNT 2
    a blocks
    f: RPUSH s@ 1 2 3
    a<
    f: LRANGE s@ 0 -1
"#;

const SORTED_SETS: &str = r#"
    a> BZPOPMIN z@ 0
    a blocks
    b> BZPOPMAX y@ z@ 0
    b blocks
    c> BZMPOP 0 1 z@ MIN COUNT 2
    c blocks
    f: ZADD z@ 1 a
    a<
    f: MULTI
    f: ZADD z@ 1 a 2 b 3 c
    f: ZADD z@ 4 d
    f: EXEC
    b<
    c<
    f: ZRANGE z@ 0 -1 WITHSCORES
"#;

const STREAMS: &str = r#"
    a> XREAD BLOCK 0 STREAMS s@ o@ $ $
    a blocks
    b: XGROUP CREATE s@ g@ $ MKSTREAM
    b> XREADGROUP GROUP g@ one BLOCK 0 STREAMS s@ >
    b blocks
    c> XREADGROUP GROUP g@ two BLOCK 0 NOACK STREAMS s@ >
    c blocks
    f: XADD s@ 1-1 f 1
    a<
    b<
    f: XADD s@ 1-2 f 2
    c<
    f: XPENDING s@ g@
    c> XREADGROUP GROUP g@ two BLOCK 0 STREAMS s@ >
    c blocks
    f: XGROUP DESTROY s@ g@
    c<
"#;

const LET_GO: &str = r#"
    a> BLPOP q@ 0
    a blocks
    b> WAIT 1 0
    b blocks
    c> BLPOP q@ 0
    c blocks
    f: CLIENT UNBLOCK #a
    a<
    f: CLIENT UNBLOCK #b ERROR
    b<
    f: CLIENT UNBLOCK #b
    f: RPUSH q@ 1
    c<
    a> BLPOP q@ 0.01
    a<
    a> XREAD BLOCK 10 STREAMS s@ $
    a<
    a> WAIT 1 10
    a<
"#;

const IN_FRONT_OF_MORE: &str = r#"
    a: HELLO 3
    a> BLPOP q@ 0
    a blocks
    a> INCR n@
    a raw *2\r\n$3\r\nGET\r\n
    f: GET n@
    f: RPUSH q@ 1
    a< 2
    a raw $1\r\nx\r\n
    a<
    b> BLPOP q@ 0
    b blocks
    c> BLPOP q@ 0
    c blocks
    b leaves
    f until $"": CLIENT LIST ID #b
    f: RPUSH q@ 2 3
    c<
"#;

/// Of what blocks in a transaction nothing waits, and what it pushes feeds at its end.
const IN_A_TRANSACTION: &str = r#"
    a> BLPOP q@ 0
    a blocks
    f: MULTI
    f: RPUSH q@ 1
    f: LPUSH q@ 2
    f: BLPOP r@ 0
    f: EXEC
    a<
    f: LRANGE q@ 0 -1
    b> BLPOP r@ 0
    b blocks
    f: MULTI
    f: RPUSH r@ 1
    f: DEL r@
    f: EXEC
    f: RPUSH r@ 2
    b<
"#;

#[test]
fn blocked() {
    Cuts::of(&[LISTS, SORTED_SETS, STREAMS]).perform();
}

#[test]
fn blocked_among_other_things() {
    Cuts::of(&[LET_GO, IN_FRONT_OF_MORE, IN_A_TRANSACTION]).perform();
}
