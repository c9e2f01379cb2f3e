//! `CLIENT REPLY OFF` and `SKIP`: which reply is not sent is the session's to know.

use crate::cuts::Cuts;

const SKIP: &str = r#"
    a> CLIENT REPLY SKIP
    a> SET k@ 1
    a: GET k@
    a> CLIENT REPLY SKIP
    a> CLIENT REPLY SKIP
    a> INCR k@
    a: GET k@
    a> CLIENT REPLY SKIP
    a> NOSUCH
    a: PING
    a> CLIENT REPLY SKIP
    a> MULTI
    a: INCR k@
    a: EXEC
    a: GET k@
"#;

const OFF: &str = r#"
    a: SET k@ 1
    a> CLIENT REPLY OFF
    a> INCR k@
    a> GET k@
    b until "2": GET k@
    a> CLIENT REPLY SKIP
    a> MULTI
    a> INCR k@
    a> EXEC
    b until "3": GET k@
    a: CLIENT REPLY ON
    a: GET k@
    a> CLIENT REPLY OFF
    a: RESET
    a: GET k@
"#;

/// What is not a reply comes all the same, in RESP3.
const OFF_BUT_PUSHED: &str = r#"
    a: HELLO 3
    a: CLIENT TRACKING ON
    a: GET k@
    a> CLIENT REPLY OFF
    a> SUBSCRIBE c@
    a> SET o@ 1
    b until "1": GET o@
    b: PUBLISH c@ 1
    b: SET k@ 2
    a> CLIENT REPLY ON
    a< 4
    b: PUBLISH c@ 2
    a<
    a: PING
"#;

const OFF_AND_BLOCKED: &str = r#"
    a> CLIENT REPLY OFF
    a> BLPOP q@ 0
    a blocks
    b: RPUSH q@ 1 2
    b: LRANGE q@ 0 -1
    a: CLIENT REPLY ON
    a> CLIENT REPLY SKIP
    a> BLPOP r@ 0
    a blocks
    b: RPUSH r@ 1 2
    a: LRANGE r@ 0 -1
"#;

#[test]
fn without_replies() {
    Cuts::of(&[SKIP, OFF, OFF_BUT_PUSHED, OFF_AND_BLOCKED]).every(5).perform();
}
