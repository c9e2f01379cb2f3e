//! `hotredis history`.

use crate::instance::{Place, eventually};

#[test]
fn each_upgrade_is_listed_with_what_came_of_it() {
    let place = Place::new("history");
    let server = place.start_with("", &["--probation", "0.2"]);
    let said = server.run(&["history", "--port", "7777"]).stdout;
    assert_eq!(String::from_utf8_lossy(&said), "no upgrades yet\n");
    let (good, bad) = (place.binary("good", "build-b"), place.binary("bad", "exit-at-precopy"));
    assert_eq!(server.upgrade(&good, &["--dry-run"]).0, 0);
    let (code, told) = server.upgrade(&good, &["--wait-probation"]);
    assert_eq!(code, 0);
    assert_eq!(server.upgrade(&bad, &[]).0, 1);
    assert_eq!(server.upgrade(&good, &["--probation", "600"]).0, 0);
    assert_eq!(server.run_json(&["rollback"]).0, 0);

    let (code, found) = server.run_json(&["history"]);
    assert_eq!((code, found.as_array().map(Vec::len)), (0, Some(3)), "{found}");
    assert_eq!(found[0], told, "the same as was told");
    let [first, second, third] = [&found[0], &found[1], &found[2]];
    assert_eq!(
        (&first["from"], &first["to"], &first["succeeded"]),
        (&1.into(), &2.into(), &true.into())
    );
    assert_eq!((&first["new"]["build"], &first["old_build"]), (&"b".into(), &"".into()));
    assert_eq!(first["binary"], good.to_str().unwrap());
    assert_eq!((&first["freeze_us"], &first["connections"]), (&123.into(), &42.into()));
    let phases: Vec<_> = first["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["phase"].as_str().unwrap())
        .collect();
    assert_eq!(phases, ["preflight", "start", "pre-copy", "freeze", "probation"]);
    assert!(first["phases"][4]["us"].as_u64().unwrap() >= 200_000, "{first}");
    assert!(first["at"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!((&second["succeeded"], &second["phase"]), (&false.into(), &"pre-copy".into()));
    assert_eq!(
        (&third["rolled_back"], &third["reason"]),
        (&true.into(), &"hotredis rollback: as it was told".into())
    );
    assert_eq!(
        (&third["from"], &third["to"], &third["generation"]),
        (&2.into(), &3.into(), &2.into())
    );

    let table = String::from_utf8(server.run(&["history"]).stdout).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[1].contains("1 -> 2") && lines[1].contains(" ok "), "{table}");
    assert!(lines[2].contains("failed in pre-copy: the successor exited with code 6"), "{table}");
    assert!(lines[3].contains("rolled back: hotredis rollback: as it was told"), "{table}");
}

#[test]
fn a_hundred_are_remembered() {
    let place = Place::new("hundred");
    let server = place.start("");
    let missing = place.binaries.join("missing");
    let missing = missing.to_str().unwrap();
    use std::io::{BufRead, BufReader, Write};
    let mut stream =
        BufReader::new(std::os::unix::net::UnixStream::connect(server.socket()).unwrap());
    for _ in 0..105 {
        writeln!(stream.get_mut(), r#"{{"op":"upgrade","binary":"{missing}"}}"#).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(line.contains("No such file"), "{line}");
    }
    let (_, found) = server.run_json(&["history"]);
    let numbers: Vec<_> =
        found.as_array().unwrap().iter().map(|it| it["upgrade"].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), 100);
    assert!(numbers.is_sorted());
    assert_eq!(server.status()["failures"], 105);
    eventually("one child", || server.children().len() == 1);
}
