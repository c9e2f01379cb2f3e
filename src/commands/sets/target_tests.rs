use crate::testing::Server;

#[test]
fn a_member_that_the_target_has_changes_the_source_alone() {
    let mut server = Server::new();
    let (client, watcher) = (server.connect(), server.connect());
    server.line(client, "SADD from a b");
    server.line(client, "SADD to a");
    for (member, key, ran) in [("a", "to", true), ("b", "to", false)] {
        server.line(watcher, &format!("WATCH {key}"));
        assert_eq!(server.line(client, &format!("SMOVE from to {member}")), ":1\r\n");
        server.line(watcher, "MULTI");
        let expected = if ran { "*0\r\n" } else { "*-1\r\n" };
        assert_eq!(server.line(watcher, "EXEC"), expected, "{member}");
    }
    server.check();
}

#[test]
fn nothing_is_drawn_for_whom_gets_no_reply() {
    let mut server = Server::new();
    let client = server.connect();
    server.line(client, "SADD s a b");
    server.line(client, "CLIENT REPLY OFF");
    assert_eq!(server.line(client, "SRANDMEMBER s -9223372036854775807"), "");
    server.line(client, "CLIENT REPLY ON");
    assert_eq!(server.line(client, "PING"), "+PONG\r\n");
}
