//! A named arena file outlives the server that made it.

use std::path::Path;
use std::process::{Command, Stdio};

use hotredis_tests::binaries;
use hotredis_tests::client::encode;
use hotredis_tests::ports::Port;
use hotredis_tests::server::{Server, Setup, TempDir};
use hotredis_tests::value::Value;

fn start(file: &Path) -> Server {
    Setup::hotredis().arguments(&["--arena-file", &file.to_string_lossy()]).start()
}

#[test]
fn the_keys_survive_the_death_of_all_processes_and_the_connections_do_not() {
    let dir = TempDir::new();
    let file = dir.path().join("arena");
    let server = start(&file);
    // The second generation has it when it dies.
    let upgrade = server.upgrade(&binaries::hotredis());
    assert!(upgrade.success, "{}", upgrade.output);
    let mut client = server.connect();
    for i in 0..2_000 {
        client.send(&["SET", &format!("key{i}"), &format!("value{i}")]);
    }
    for _ in 0..2_000 {
        assert_eq!(client.receive(), Value::ok());
    }
    client.call(&["SET", "goes", "x", "PX", "1"]);
    client.call(&["SET", "stays", "x", "EX", "10000"]);
    client.call(&["CLIENT", "PAUSE", "100000", "WRITE"]);
    // Sessions with all that can hang on them.
    let mut others: Vec<_> = (0..5).map(|_| server.connect()).collect();
    others[0].call(&["WATCH", "key1"]);
    others[0].call(&["MULTI"]);
    others[0].call(&["GET", "key1"]);
    others[1].call(&["SUBSCRIBE", "channel"]);
    others[2].call(&["CLIENT", "TRACKING", "ON", "BCAST"]);
    others[3].call(&["MONITOR"]);
    others[4].send_raw(&encode(&["SET", "never", "complete"])[..20]);
    // Held back by the pause.
    client.send(&["SET", "key1", "postponed"]);
    server.abandon();

    let server = start(&file);
    let mut client = server.connect();
    assert_eq!(client.call(&["GET", "key1234"]), Value::bulk("value1234"));
    assert_eq!(client.call(&["GET", "goes"]), Value::NullBulk);
    assert!(matches!(client.call(&["TTL", "stays"]), Value::Integer(n) if n > 9_000));
    assert_eq!(client.call(&["DBSIZE"]), Value::Integer(2_001));
    // The pause is over, nobody watches or listens.
    assert_eq!(client.call(&["SET", "key1", "new"]), Value::ok());
    assert_eq!(client.call(&["PUBLISH", "channel", "message"]), Value::Integer(0));
    let list = client.call(&["CLIENT", "LIST"]);
    assert!(!list.text().contains("sub=1") && !list.text().contains("multi=1"), "{list:?}");
    assert_eq!(server.info("handoff_generation").as_deref(), Some("1"));
    let upgrade = server.upgrade(&binaries::hotredis());
    assert!(upgrade.success, "{}", upgrade.output);
    assert_eq!(client.call(&["GET", "key1"]), Value::bulk("new"));
    server.finish();
    let server = start(&file);
    assert_eq!(server.connect().call(&["DBSIZE"]), Value::Integer(2_001));
    server.finish();
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_the_reason() {
    let dir = TempDir::new();
    let file = dir.path().join("arena");
    let refusal = |databases: &str| {
        let port = Port::reserve();
        let output = Command::new(binaries::hotredis())
            .args(["serve", "--bind", "127.0.0.1", "--port", &port.number().to_string()])
            .args(["--set", &format!("databases={databases}"), "--runtime-dir"])
            .arg(dir.path().join("run"))
            .arg("--arena-file")
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .expect("the binary can be run");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let server = start(&file);
    let said = refusal("16");
    assert!(said.contains("arena") && said.contains("in use"), "{said}");
    server.finish();
    let said = refusal("4");
    assert!(said.contains("holds 16 databases"), "{said}");
}
