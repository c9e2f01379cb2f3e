//! Half-closed connections, and those that end.

use crate::cuts::Cuts;

const BEHIND_THE_REPLY: &str = r#"
    a: INCR n@
    a half-closes
    a ends
    b: GET n@
"#;

const BEFORE_THE_REPLIES: &str = r#"
    a> INCR n@
    a> SET k@ v
    a> GET k@
    a half-closes
    a ends
    b: GET n@
"#;

const AMID_A_REQUEST: &str = r#"
    a: MULTI
    a: INCR n@
    a raw *2\r\n$4\r\nINCR\r\n$10\r\nn@
    a half-closes
    a ends
    b: GET n@
"#;

const WATCHED: &str = r#"
    a: WATCH k@
    a: MULTI
    a: INCR n@
    a leaves
    b: SET k@ 1
    b until $"": CLIENT LIST ID #a
    b: EXISTS n@
"#;

const BLOCKED: &str = r#"
    a> BLPOP q@ 0
    a blocks
    b> BLPOP q@ 0
    b blocks
    a half-closes
    a ends
    f: RPUSH q@ 1
    b<
    f: EXISTS q@
"#;

const SUBSCRIBED: &str = r#"
    s: SUBSCRIBE c@
    t: PSUBSCRIBE *@
    s half-closes
    s ends
    t leaves
    p until $"": CLIENT LIST ID #t
    p: PUBLISH c@ 1
    p: PUBSUB CHANNELS *@
"#;

const SAYS_GOODBYE: &str = r#"
    a raw INCR n@\r\nQUIT\r\n
    a ends
    b> INCR n@
    b> QUIT
    b half-closes
    b ends
    c: GET n@
"#;

const SENDS_RUBBISH: &str = r#"
    a: INCR n@
    a raw *1\r\n$1x\r\n
    a ends
    b raw *1\r\n!\r\n
    b ends
    c: GET n@
"#;

const KILLED: &str = r#"
    a: SUBSCRIBE c@
    b: CLIENT KILL ID #a
    a ends
    b: PUBLISH c@ 1
    b: CLIENT KILL ID #b SKIPME no
    b ends
    c until $"": CLIENT LIST ID #b
"#;

#[test]
fn half_closed() {
    let plays = [BEHIND_THE_REPLY, BEFORE_THE_REPLIES, AMID_A_REQUEST, BLOCKED, SUBSCRIBED];
    Cuts::of(&plays).every(3).perform();
}

#[test]
fn ended() {
    Cuts::of(&[WATCHED, SAYS_GOODBYE, SENDS_RUBBISH, KILLED]).every(3).perform();
}
