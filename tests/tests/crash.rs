//! The generation that serves is killed, under load and with nobody standing by: the keeper starts another
//! on the same arena, and no client notices.

use std::thread;
use std::time::Duration;

use hotredis_tests::client::Client;
use hotredis_tests::counting::Counting;
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

#[test]
fn clients_that_count_notice_nothing() {
    let server = Setup::first_build().arguments(&["--probation", "0"]).start();
    let idle: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    let counting = Counting::start(&server, &[1, 1, 3, 16, 100]);
    for round in 0..20 {
        if round % 4 == 3 {
            server.upgrade_to(round);
        }
        server.kill_serving();
        thread::sleep(Duration::from_millis(50));
    }
    counting.end();
    for mut client in idle {
        assert_eq!(client.call(&["PING"]), Value::Simple(b"PONG".to_vec()));
    }
    server.finish();
}
