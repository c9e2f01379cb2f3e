//! Inside `MULTI`, and between `WATCH` and `EXEC`.

use crate::cuts::Cuts;

const QUEUED: &str = r#"
    a: SET k@ 1
    a: MULTI
    a: INCR k@
    a: RPUSH l@ x y
    b: GET k@
    b: EXISTS l@
    a: INCR l@
    a: GET k@
    a: EXEC
    b: GET k@
    a: GET k@
"#;

const GIVEN_UP: &str = r#"
    a: MULTI
    a: SET k@ 1
    a: DISCARD
    a: GET k@
    a: MULTI
    a: NOSUCH k@
    a: SET k@ 2
    a: EXEC
    a: MULTI
    a: MULTI
    a: EXEC
    a: EXEC
"#;

const IN_RESP3: &str = r#"
    a: HELLO 3
    a: SELECT 1
    a: MULTI
    a: HSET h@ f 1
    a: SELECT 2
    a: HGETALL h@
    a: SELECT 1
    a: HGETALL h@
    a: EXEC
    a: EXISTS h@
"#;

/// One write for several requests: a cut is in the midst of what the server has read and not run.
const IN_ONE_PIECE: &str = r#"
    a raw MULTI\r\nSET k@ 1\r\nINCR k@\r\n
    a raw GET k@\r\nEXEC\r\nGET k@\r\n
    a< 6
"#;

#[test]
fn inside_multi() {
    Cuts::of(&[QUEUED, GIVEN_UP, IN_RESP3]).every(2).perform();
}

#[test]
fn inside_multi_at_every_byte() {
    Cuts::of(&[IN_ONE_PIECE]).every(1).perform();
}

const TOUCHED: &str = r#"
    a: SET k@ 1
    a: WATCH o@ k@
    b: SET k@ 2
    a: MULTI
    a: SET k@ 3
    a: EXEC
    a: GET k@
    a: MULTI
    a: SET k@ 4
    a: EXEC
    b: GET k@
"#;

const TOUCHED_IN_MULTI: &str = r#"
    a: WATCH k@
    a: MULTI
    a: SET k@ 3
    b: SET k@ 2
    a: EXEC
    a: GET k@
"#;

const NOT_TOUCHED: &str = r#"
    a: SET k@ 1
    a: WATCH k@ o@
    b: SET other@ 2
    b: GET k@
    b: SELECT 1
    b: SET k@ 2
    a: MULTI
    a: INCR k@
    a: EXEC
    b: GET k@
"#;

const UNWATCHED: &str = r#"
    a: WATCH k@ o@
    b: SET k@ 2
    a: UNWATCH
    a: WATCH o@
    b: SET k@ 3
    a: MULTI
    a: GET k@
    a: EXEC
    a: WATCH o@
    a: MULTI
    b: DEL o@
    a: DISCARD
    a: MULTI
    a: EXEC
"#;

const TOUCHED_BY_ITSELF: &str = r#"
    a: WATCH k@
    a: SET k@ 1
    a: WATCH k@
    a: MULTI
    a: PING
    a: EXEC
    a: RESET
    a: WATCH k@
    a: MULTI
    b: RENAME k@ o@
    a: RESET
    a: MULTI
    a: EXEC
"#;

/// A key that expires is touched, however long nobody served.
const EXPIRED: &str = r#"
    b: SET k@ 1
    a: WATCH k@
    b: PEXPIRE k@ 1
    b until $-1: GET k@
    a: MULTI
    a: PING
    a: EXEC
"#;

#[test]
fn between_watch_and_exec() {
    let plays = [TOUCHED, TOUCHED_IN_MULTI, NOT_TOUCHED, UNWATCHED, TOUCHED_BY_ITSELF, EXPIRED];
    Cuts::of(&plays).perform();
}
