//! A named arena file outlives the server that made it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use hotredis_tests::binaries;
use hotredis_tests::client::{Client, encode};
use hotredis_tests::ports::Port;
use hotredis_tests::server::{Server, Setup, TempDir};
use hotredis_tests::value::Value;

/// Where the header of an arena has its root.
const ROOT_AT: u64 = 72;

fn start(file: &Path) -> Server {
    Setup::hotredis().arguments(&["--arena-file", &file.to_string_lossy()]).start()
}

/// A server starts on the file, and holds so many keys.
fn assert_serves(file: &Path, keys: i64) {
    let server = start(file);
    assert_eq!(server.connect().call(&["DBSIZE"]), Value::Integer(keys));
    server.finish();
}

/// Sets 2,000 keys.
fn fill(client: &mut Client, value: impl Fn(usize) -> String) {
    for i in 0..2_000 {
        client.send(&["SET", &format!("key{i}"), &value(i)]);
    }
    for _ in 0..2_000 {
        assert_eq!(client.receive(), Value::ok());
    }
}

/// Runs a server that is to refuse the file; what it says.
fn refusal(dir: &TempDir, file: &Path, databases: &str) -> String {
    let port = Port::reserve();
    let output = Command::new(binaries::hotredis())
        .args(["serve", "--bind", "127.0.0.1", "--port", &port.number().to_string()])
        .args(["--databases", databases, "--runtime-dir"])
        .arg(dir.path().join("run"))
        .arg("--arena-file")
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("the binary can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
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
    fill(&mut client, |i| format!("value{i}"));
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
    assert_serves(&file, 2_001);
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_the_reason() {
    let dir = TempDir::new();
    let file = dir.path().join("arena");
    let server = start(&file);
    let said = refusal(&dir, &file, "16");
    assert!(said.contains("arena") && said.contains("in use"), "{said}");
    server.finish();
    let said = refusal(&dir, &file, "4");
    assert!(said.contains("holds 16 databases"), "{said}");
}

/// What stands in a file, by places, but for its holes; and its length.
fn content(file: &Path) -> (u64, Vec<(u64, Vec<u8>)>) {
    use nix::unistd::{Whence, lseek};
    let file = fs::File::open(file).unwrap();
    let length = file.metadata().unwrap().len();
    let (mut found, mut from) = (Vec::new(), 0);
    while let Ok(start) = lseek(&file, from, Whence::SeekData) {
        let end = lseek(&file, start, Whence::SeekHole).unwrap();
        let mut bytes = vec![0; (end - start) as usize];
        file.read_exact_at(&mut bytes, start as u64).unwrap();
        found.push((start as u64, bytes));
        from = end;
    }
    (length, found)
}

/// The last place of these bytes in a file.
fn place_of(file: &Path, bytes: &[u8]) -> u64 {
    let (_, parts) = content(file);
    let found = parts.iter().rev().find_map(|(start, part)| {
        let at = part.windows(bytes.len()).rposition(|window| window == bytes)?;
        Some(start + at as u64)
    });
    found.unwrap_or_else(|| panic!("{bytes:?} are not there"))
}

fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap().to_be_bytes()
}

/// What is wrong with a file, and what is said of it.
const DAMAGES: [(&str, &str); 9] = [
    ("empty of sense", "bytes, which no arena has"),
    ("foreign", "it begins with"),
    ("another format", "its format is"),
    ("half made", "never completed"),
    ("another fingerprint", "fingerprint"),
    ("cut", "it was cut or extended"),
    ("extended", "it was cut or extended"),
    ("a wrong root", "damaged"),
    ("another boot and a lost page", "damaged"),
];

fn damage(file: &Path, how: &str) {
    let handle = fs::File::options().read(true).write(true).open(file).unwrap();
    let length = handle.metadata().unwrap().len();
    let flip = |at: u64| {
        let mut byte = [0];
        handle.read_exact_at(&mut byte, at).unwrap();
        handle.write_all_at(&[byte[0] ^ 1], at).unwrap();
    };
    match how {
        "empty of sense" => fs::write(file, "not an arena\n").unwrap(),
        "foreign" => flip(0),
        "another format" => flip(8),
        "half made" => flip(12),
        "another fingerprint" => flip(16),
        "cut" => handle.set_len(length / 2).unwrap(),
        "extended" => handle.set_len(length + 4096).unwrap(),
        "a wrong root" => flip(ROOT_AT + 2),
        _ => {
            flip(place_of(file, &boot_id()));
            // A page of keys that did not get to the disk.
            let page = place_of(file, b"key1999") & !4095;
            handle.write_all_at(&[0; 4096], page).unwrap();
        }
    }
}

#[test]
fn a_file_that_is_damaged_is_refused_and_left_as_it_is() {
    let dir = TempDir::new();
    let (file, copy) = (dir.path().join("arena"), dir.path().join("copy"));
    let server = start(&file);
    fill(&mut server.connect(), |_| "x".repeat(100));
    // In the midst of something.
    server.abandon();
    for (how, said) in DAMAGES {
        let copied = Command::new("cp").args(["--sparse=always"]).args([&file, &copy]).status();
        assert!(copied.unwrap().success());
        damage(&copy, how);
        let before = content(&copy);
        let log = refusal(&dir, &copy, "16");
        assert!(log.contains(said) && log.contains("copy"), "{how}: {log}");
        assert!(!log.contains("panicked"), "{how}: {log}");
        assert!(content(&copy) == before, "{how}: the file was changed");
    }
    // The original is none the worse.
    assert_serves(&file, 2_000);
}

/// After the machine has gone down, what is whole is served.
#[test]
fn a_file_of_another_boot_is_proved_first() {
    let dir = TempDir::new();
    let file = dir.path().join("arena");
    let server = start(&file);
    assert_eq!(server.connect().call(&["SET", "key1999", "value"]), Value::ok());
    server.abandon();
    let at = place_of(&file, &boot_id());
    let handle = fs::File::options().write(true).open(&file).unwrap();
    handle.write_all_at(&[boot_id()[0] ^ 1], at).unwrap();
    drop(handle);
    let server = start(&file);
    assert!(server.log().contains("started anew"), "{}", server.log());
    assert_eq!(server.connect().call(&["GET", "key1999"]), Value::bulk("value"));
    server.finish();
}
