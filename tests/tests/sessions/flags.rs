//! What `CLIENT INFO` shows of a session: name, database, protocol, flags; and who it is.

use hotredis_tests::blocked::{id_of, upgrade};
use hotredis_tests::client::Client;
use hotredis_tests::server::Setup;

use crate::cuts::Cuts;
use crate::stage::{Stage, await_clients};

const SHOWN: &str = r#"
    a: CLIENT SETNAME name@
    a: SELECT 3
    a: CLIENT NO-EVICT ON
    a: CLIENT INFO
    a: HELLO 3 SETNAME other@
    a: CLIENT GETNAME
    a: CLIENT INFO
    a: CLIENT NO-EVICT OFF
    a: SET k@ 1
    b: EXISTS k@
    b: SELECT 3
    b: EXISTS k@
    a: RESET
    a: CLIENT INFO
    a: CLIENT GETNAME
    a: GET k@
"#;

const LISTED: &str = r#"
    a: CLIENT SETNAME name@
    b: CLIENT LIST ID #a
    a: WATCH k@
    a: MULTI
    a: SET k@ 1
    a: SET k@ 2
    b: CLIENT LIST ID #a
    b: SET k@ 3
    b: CLIENT LIST ID #a
    a: EXEC
    a: SUBSCRIBE c@ d@
    a<
    a: PSUBSCRIBE *@
    a: SSUBSCRIBE c@
    b: CLIENT LIST ID #a
    a: RESET
    a: CLIENT TRACKING ON BCAST PREFIX k@
    b: CLIENT LIST ID #a
    a: CLIENT TRACKING OFF
    a: CLIENT TRACKING ON OPTIN REDIRECT #b
    b: CLIENT LIST ID #a
    a: CLIENT TRACKING OFF
    a: CLIENT TRACKING ON OPTOUT
    b: CLIENT LIST ID #a
    a: CLIENT SETNAME
    a: BLPOP k@ 0
"#;

const BLOCKED: &str = r#"
    a: CLIENT NO-EVICT ON
    a> BRPOPLPUSH k@ l@ 0
    a blocks
    b: CLIENT LIST ID #a
    b: CLIENT KILL ID #a
    a ends
    b until $"": CLIENT LIST ID #a
"#;

#[test]
fn names_databases_protocols_and_flags() {
    Cuts::of(&[SHOWN, LISTED, BLOCKED]).perform();
}

const PASSWORD: &str = r#"
    a: GET k@
    a: AUTH wrong
    a: HELLO 3
    a: AUTH secret
    a: SET k@ 1
    a: HELLO 3
    b: HELLO 3 AUTH default secret SETNAME name@
    b: GET k@
    b: CLIENT GETNAME
    b: AUTH wrong
    b: GET k@
    a: RESET
    a: GET k@
    a: AUTH default secret
    a: CLIENT INFO
    c: MULTI
    c: PING
    c> QUIT
    c ends
"#;

#[test]
fn who_has_given_the_password() {
    Cuts::of(&[PASSWORD]).directive("requirepass", "secret").perform();
}

/// A field of the client's own line in `CLIENT LIST`.
fn field(client: &mut Client, name: &str) -> String {
    let info = client.call(&["CLIENT", "INFO"]);
    let field = info.text().trim_end().split(' ').find_map(|field| field.strip_prefix(name));
    field.and_then(|field| field.strip_prefix('=')).expect("CLIENT INFO has it").to_owned()
}

#[test]
fn who_is_idle_stays_who_it_is() {
    const CLIENTS: usize = 150;
    let stage = Stage::new(Setup::hotredis(), &[]);
    let mut control = stage.control();
    let mut clients: Vec<Client> =
        (0..CLIENTS).flat_map(|_| stage.endpoints.each_ref().map(Client::connect)).collect();
    let ids: Vec<String> = clients.iter_mut().map(id_of).collect();
    let addresses: Vec<String> = clients.iter_mut().map(|client| field(client, "addr")).collect();
    (0..5).for_each(|count| upgrade(&stage.server, count));
    // Not one that speaks has been idle less, or is younger, than the five upgrades took.
    let list = control.call(&["CLIENT", "LIST"]);
    await_clients(&mut control, 2 * CLIENTS + 1);
    for (number, client) in clients.iter_mut().enumerate() {
        let line =
            list.text().lines().find(|line| line.starts_with(&format!("id={} ", ids[number])));
        assert!(line.is_some_and(|line| line.contains(&addresses[number])), "{number}: {line:?}");
        assert_eq!(id_of(client), ids[number]);
        assert_eq!(field(client, "addr"), addresses[number]);
    }
    // A new one has an id that nobody had.
    let new: u64 = id_of(&mut stage.control()).parse().expect("a number");
    assert!(ids.iter().all(|id| id.parse::<u64>().is_ok_and(|id| id < new)));
    drop((clients, control));
    stage.finish();
}
