//! `MONITOR`.

use crate::cuts::Cuts;

const SEES: &str = r#"
    m: MONITOR
    a: SET k@ 1
    a: SELECT 2
    a: GET k@
    m< 2
    a: MULTI
    a: INCR k@
    a: RPUSH l@ 1
    m: PING
    a: EXEC
    m< 2
    b> BLPOP l@ q@ 0
    b blocks
    m<
    a: SELECT 0
    a: RPUSH q@ 1
    b<
    m<
    m: RESET
    a: SET k@ 2
    m: GET k@
"#;

const SEES_AND_HEARS: &str = r#"
    m: HELLO 3
    m: SUBSCRIBE c@
    m: MONITOR
    a: PUBLISH c@ 1
    m< 2
    a: AUTH user@ secret
    a: ECHO end@
    m<
    m> QUIT
    m ends
"#;

/// A monitor hears of all that is done, so there are fewer performances at a time.
#[test]
fn monitoring() {
    Cuts::of(&[SEES, SEES_AND_HEARS]).between_lines().perform();
}
