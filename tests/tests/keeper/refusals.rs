//! Files that are no new binary are refused at preflight, and nothing else happens.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::instance::Place;

fn put(place: &Place, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = place.binaries.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn own_bytes() -> Vec<u8> {
    fs::read(env!("CARGO_BIN_EXE_fake-generation")).unwrap()
}

#[test]
fn what_is_no_executable_of_this_machine() {
    let place = Place::new("files");
    let server = place.start("");
    let whole = own_bytes();
    let mut foreign = whole.clone();
    foreign[18] ^= 0x55;
    let refused = |path: &Path, reason| server.assert_fails(path, &[], "preflight", reason);
    refused(&place.binaries.join("missing"), "No such file");
    refused(&place.binaries, "is no regular file");
    refused(&put(&place, "plain", b"hello\n", 0o644), "is not executable");
    refused(&put(&place, "text", b"hello, this is a text\n", 0o755), "not an ELF");
    refused(&put(&place, "empty", b"", 0o755), "not an ELF");
    refused(&put(&place, "script", b"#!/bin/sh\nexec hotredis \"$@\"\n", 0o755), "a script");
    refused(&put(&place, "short", &whole[..10], 0o755), "cut short");
    refused(&put(&place, "head", &whole[..64], 0o755), "cut short");
    refused(&put(&place, "half", &whole[..whole.len() / 2], 0o755), "cut short");
    refused(&put(&place, "foreign", &foreign, 0o755), "another architecture");
    refused(&put(&place, "open", &whole, 0o777), "writable by others");
}

#[test]
fn a_fifo_does_not_hold_the_keeper_up() {
    let place = Place::new("fifo");
    let server = place.start("");
    let path = place.binaries.join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o755)).unwrap();
    server.assert_fails(&path, &[], "preflight", "is no regular file");
}

#[test]
fn what_belongs_to_another_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: files of another user cannot be made");
        return;
    }
    let place = Place::new("owner");
    let server = place.start("");
    let path = put(&place, "other", &own_bytes(), 0o755);
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    server.assert_fails(&path, &[], "preflight", "belongs to user 12345");
}

#[test]
fn what_is_no_hotredis() {
    let place = Place::new("foreign");
    let server = place.start("");
    let refused = |path: &Path, reason| server.assert_fails(path, &[], "preflight", reason);
    refused(Path::new("/bin/true"), "printed something else");
    refused(Path::new("/bin/false"), "exited with code 1");
    refused(&place.binary("exit", "preflight-exit"), "exited with code 3");
    refused(&place.binary("abort", "preflight-abort"), "was killed by SIGABRT");
    refused(&place.binary("rubbish", "preflight-rubbish"), "printed something else");
    refused(&place.binary("flood", "preflight-flood"), "printed too much");
}

#[test]
fn what_does_not_answer() {
    let place = Place::new("silent");
    let server = place.start("");
    let path = place.binary("hang", "preflight-hang");
    server.assert_fails(&path, &["--timeout", "0.3"], "preflight", "did not answer in time");
}

#[test]
fn what_does_not_fit() {
    let place = Place::new("unfit");
    let server = place.start("");
    let refused = |path: &Path, reason| server.assert_fails(path, &[], "preflight", reason);
    refused(&place.binary("protocol", "other-protocol"), "speaks handoff versions 7 to 9");
    refused(&place.binary("fingerprint", "other-fingerprint"), "its fingerprints are [beef]");
}

#[test]
fn a_file_that_is_being_written() {
    let place = Place::new("busy");
    let server = place.start("");
    let path = put(&place, "busy", &own_bytes(), 0o755);
    let writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
    server.assert_fails(&path, &[], "preflight", "cannot be run");
    drop(writer);
    assert_eq!(server.upgrade(&path, &[]).0, 0);
}

#[test]
fn a_dry_run_shows_what_would_be_and_changes_nothing() {
    let place = Place::new("dry");
    let server = place.start("");
    let good = place.binary("good", "build-b");
    let (code, result) = server.upgrade(&good, &["--dry-run"]);
    assert_eq!(
        (code, &result["succeeded"], &result["new"]["build"]),
        (0, &true.into(), &"b".into())
    );
    let bad = place.binary("bad", "other-fingerprint");
    let (code, result) = server.upgrade(&bad, &["--dry-run"]);
    assert_eq!((code, &result["succeeded"]), (1, &false.into()), "{result}");
    let status = server.status();
    assert_eq!((&status["generation"], &status["failures"]), (&1.into(), &0.into()));
}
