//! `MONITOR`.

use std::sync::atomic::{AtomicBool, Ordering};

use hotredis_tests::blocked::upgrade;
use hotredis_tests::client::Client;
use hotredis_tests::server::Setup;

use crate::cuts::Cuts;
use crate::stage::{SetWhenDropped, Stage};

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

/// Upgrades in the course of which commands are run and watched.
const UPGRADES: usize = 40;

/// Reads what a monitor is told: numbers from 0 on, none missing, none twice, and then the end.
fn watch(mut monitor: Client) {
    let mut next = 0;
    loop {
        let line = monitor.receive();
        let (_, request) = line.text().split_once("] ").expect("a line for monitors");
        if request == r#""ECHO" "end""# {
            break;
        }
        assert_eq!(request, format!(r#""ECHO" "{next}""#));
        next += 1;
    }
    assert!(next > UPGRADES, "only {next} commands");
}

#[test]
fn a_monitor_sees_each_command_once() {
    let stage = Stage::new(Setup::hotredis(), &[]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for endpoint in &stage.endpoints {
            let mut monitor = Client::connect(endpoint);
            monitor.call(&["MONITOR"]);
            scope.spawn(move || watch(monitor));
        }
        let mut client = stage.control();
        scope.spawn(|| {
            let _stop = SetWhenDropped(&stop);
            (0..UPGRADES).for_each(|count| upgrade(&stage.server, count));
        });
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            client.call(&["ECHO", &number.to_string()]);
            number += 1;
        }
        client.call(&["ECHO", "end"]);
    });
    stage.finish();
}
