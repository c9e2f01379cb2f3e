//! A binary that is replaced, or written anew, while it is read and run.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use hotredis_tests::binaries;
use hotredis_tests::server::{Setup, TempDir, info_field};
use hotredis_tests::value::Value;

use crate::stage::{SetWhenDropped, only_generation};

const ATTEMPTS: usize = 12;

/// Writes a binary at a path again and again: whole ones that take the place of the last by a rename, and
/// some that are written where the last one stands, piece by piece.
fn replace_until(stop: &AtomicBool, path: &Path, contents: &[Vec<u8>]) {
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        let content = &contents[turn % contents.len()];
        if turn % 3 == 0 {
            // Refused by the system while it runs.
            if let Ok(mut file) = OpenOptions::new().write(true).truncate(true).open(path) {
                content
                    .chunks(1 << 20)
                    .for_each(|piece| file.write_all(piece).expect("there is room"));
            }
        } else {
            put(path, content);
        }
        turn += 1;
    }
}

fn put(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).expect("there is room");
    fs::set_permissions(&new, Permissions::from_mode(0o755)).expect("it is ours");
    fs::rename(new, path).expect("it is ours");
}

#[test]
fn a_binary_is_run_as_it_was_examined_or_not_at_all() {
    let dir = TempDir::new();
    let path = dir.path().join("hotredis");
    let contents = binaries::two_builds().map(|build| fs::read(build).expect("it was built"));
    put(&path, &contents[0]);
    let server = Setup::hotredis().start();
    let mut client = server.connect();
    let stop = AtomicBool::new(false);
    let mut succeeded = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| replace_until(&stop, &path, &contents));
        let _stop = SetWhenDropped(&stop);
        for attempt in 1..=ATTEMPTS {
            let outcome = server.upgrade(&path);
            succeeded += usize::from(outcome.success);
            let refused = ["phase preflight", "phase start"]
                .iter()
                .any(|phase| outcome.output.contains(phase));
            assert!(outcome.success || refused, "{}", outcome.output);
            assert_eq!(client.call(&["INCR", "n"]), Value::Integer(attempt as i64));
        }
    });
    put(&path, &contents[1]);
    let outcome = server.upgrade(&path);
    assert!(outcome.success, "{}", outcome.output);
    let info = client.call(&["INFO", "handoff"]);
    only_generation(&server);
    let generation = info_field(info.text(), "handoff_generation");
    assert_eq!(generation, Some((succeeded + 2).to_string()), "{}", info.text());
    server.finish();
}
