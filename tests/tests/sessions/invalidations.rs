//! `CLIENT TRACKING` in all its modes, and the invalidations that follow.

use std::sync::atomic::{AtomicBool, Ordering};

use hotredis_tests::blocked::upgrade;
use hotredis_tests::client::{Client, Endpoint};
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

use crate::cuts::Cuts;
use crate::stage::{SetWhenDropped, Stage};

const DEFAULT: &str = r#"
    t: HELLO 3
    t: CLIENT TRACKING ON
    t: CLIENT TRACKINGINFO
    t: GET k@
    w: SET k@ 1
    t<
    w: SET k@ 2
    t: MGET k@ l@ m@
    t: SET m@ 1
    t<
    w: RENAME k@ l@
    t< 2
    t: GET l@
    t: CLIENT TRACKING OFF
    w: SET l@ 3
    t: CLIENT TRACKINGINFO
    t: PING
"#;

const BROADCAST: &str = r#"
    t: HELLO 3
    t: CLIENT TRACKING ON BCAST PREFIX k@ PREFIX l@ NOLOOP
    t: CLIENT TRACKINGINFO
    w: SET k@1 1
    t<
    w: SET m@ 1
    t: SET l@ 1
    w: MULTI
    w: INCR l@
    w: DEL k@1
    w: EXEC
    t< 2
    t: MULTI
    t: SET k@2 1
    w: SET k@3 1
    t<
    t: EXEC
    t: CLIENT TRACKING OFF
    w: SET k@1 1
    t: PING
"#;

const CHOSEN: &str = r#"
    t: HELLO 3
    t: CLIENT TRACKING ON OPTIN
    t: GET k@
    t: CLIENT CACHING YES
    t: GET l@
    t: GET m@
    w: MSET k@ 1 l@ 1 m@ 1
    t<
    t: CLIENT CACHING YES
    t: CLIENT TRACKINGINFO
    t: MULTI
    t: GET k@
    t: GET l@
    t: EXEC
    w: SET k@ 2
    w: SET l@ 2
    t< 2
    t: CLIENT TRACKING OFF
    t: CLIENT TRACKING ON OPTOUT
    t: CLIENT CACHING NO
    t: GET k@
    t: GET l@
    w: SET k@ 3
    w: SET l@ 3
    t<
"#;

const ELSEWHERE: &str = r#"
    r: SUBSCRIBE __redis__:invalidate
    t: CLIENT TRACKING ON REDIRECT #r
    t: CLIENT GETREDIR
    t: CLIENT INFO
    t: GET k@
    w: SET k@ 1
    r<
    t: MGET k@ l@
    w: DEL k@
    r<
    w: RPUSH l@ 1
    r<
    r: UNSUBSCRIBE
    t: CLIENT TRACKINGINFO
    t: GET k@
    w: SET k@ 2
    r: PING
"#;

const NOWHERE: &str = r#"
    t: HELLO 3
    t: CLIENT TRACKING ON REDIRECT #r
    t: GET k@
    r> QUIT
    r ends
    w until :0: CLIENT KILL ID #r
    w: SET k@ 1
    t<
    t: CLIENT TRACKINGINFO
    t: GET k@
    w: SET k@ 2
    t<
    t: CLIENT TRACKING OFF
"#;

#[test]
fn tracking() {
    Cuts::of(&[DEFAULT, BROADCAST, CHOSEN]).perform();
}

#[test]
fn tracking_for_another_client() {
    Cuts::of(&[ELSEWHERE, NOWHERE]).perform();
}

/// Upgrades in the course of which a value is cached and changed.
const UPGRADES: usize = 40;

/// Keeps a copy of a counter as a client with a cache does: reads it, and reads it again only when it is told
/// that it has changed. Gives up at the last value, which it does not reach if it was not told.
fn cache(endpoint: &Endpoint, mode: &[&str], last: &str) {
    let mut client = Client::connect(endpoint);
    client.call(&["HELLO", "3"]);
    assert_eq!(client.call(&[&["CLIENT", "TRACKING", "ON"], mode].concat()), Value::ok());
    let told =
        Value::Push(vec![Value::bulk("invalidate"), Value::Array(vec![Value::bulk("counter")])]);
    let mut cached = -1;
    loop {
        client.send(&["GET", "counter"]);
        // In broadcast mode it may have been told of several changes by then.
        let mut value = client.receive();
        while value == told {
            value = client.receive();
        }
        if value.text() == last {
            return;
        }
        let number: i64 = value.text().parse().expect("a number");
        assert!(number >= cached, "{cached} was followed by {number}");
        cached = number;
        assert_eq!(client.receive(), told);
    }
}

#[test]
fn whoever_has_a_copy_is_told_of_each_change() {
    const LAST: &str = "last";
    let stage = Stage::new(Setup::hotredis(), &[]);
    let mut writer = stage.control();
    writer.call(&["SET", "counter", "0"]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for endpoint in &stage.endpoints {
            for mode in [&[][..], &["BCAST", "PREFIX", "count"]] {
                scope.spawn(move || cache(endpoint, mode, LAST));
            }
        }
        scope.spawn(|| {
            let _stop = SetWhenDropped(&stop);
            (0..UPGRADES).for_each(|count| upgrade(&stage.server, count));
        });
        while !stop.load(Ordering::Relaxed) {
            writer.call(&["INCR", "counter"]);
        }
        writer.call(&["SET", "counter", LAST]);
    });
    drop(writer);
    stage.finish();
}
