//! After an upgrade the predecessor stands by: what becomes of clients when the new generation dies,
//! hangs or is told to go back.

use std::time::{Duration, Instant};

use hotredis_tests::client::{Client, encode};
use hotredis_tests::server::{Server, Setup, descendants};
use hotredis_tests::value::Value;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose predecessors stand by for a minute, and count a second without a tick as a hang.
fn server() -> Server {
    Setup::first_build().arguments(&["--probation", "60", "--hang-timeout", "1"]).start()
}

/// The pid of the generation that serves.
fn serving_pid(server: &Server) -> Pid {
    Pid::from_raw(server.serving().1 as i32)
}

fn field(client: &mut Client, name: &str) -> String {
    let reply = client.call(&["INFO", "everything"]);
    hotredis_tests::server::info_field(reply.text(), name).unwrap_or_default()
}

/// Waits until the generation of that number serves.
fn await_generation(client: &mut Client, number: &str) {
    let end = Instant::now() + PATIENCE;
    while field(client, "handoff_generation") != number {
        assert!(Instant::now() < end, "generation {number} does not come");
    }
}

/// Clients in every state, from before the upgrade and from after it.
struct Clients {
    counting: Vec<Client>,
    blocked: Vec<Client>,
    queued: Client,
    half: Client,
    subscriber: Client,
    counted: i64,
}

impl Clients {
    fn new(server: &Server) -> Self {
        let mut queued = server.connect();
        queued.call(&["MULTI"]);
        queued.call(&["INCR", "n"]);
        let mut half = server.connect();
        half.send_raw(&encode(&["INCR", "half"])[..10]);
        let mut subscriber = server.connect();
        subscriber.call(&["SUBSCRIBE", "news"]);
        let blocked = (0..3).map(|_| Self::block(server)).collect();
        Self { counting: vec![server.connect()], blocked, queued, half, subscriber, counted: 0 }
    }

    fn block(server: &Server) -> Client {
        let mut client = server.connect();
        let before = field(&mut client, "blocked_clients").parse::<u32>().unwrap();
        client.send(&["BLPOP", "list", "0"]);
        let mut control = server.connect();
        while field(&mut control, "blocked_clients") != (before + 1).to_string() {}
        client
    }

    /// More of them come, one goes.
    fn change(&mut self, server: &Server) {
        self.counting.push(server.connect());
        self.counting.push(server.connect());
        self.blocked.push(Self::block(server));
        drop(server.connect());
        self.count();
    }

    /// Each one counts on.
    #[track_caller]
    fn count(&mut self) {
        for client in &mut self.counting {
            self.counted += 1;
            assert_eq!(client.call(&["INCR", "counter"]), Value::Integer(self.counted));
        }
    }

    /// Everything that they were in the midst of comes to its end, once and in order.
    #[track_caller]
    fn end(mut self, server: &Server) {
        self.count();
        assert_eq!(self.queued.call(&["EXEC"]), Value::Array(vec![Value::Integer(1)]));
        self.half.send_raw(&encode(&["INCR", "half"])[10..]);
        assert_eq!(self.half.receive(), Value::Integer(1));
        let mut control = server.connect();
        assert_eq!(control.call(&["PUBLISH", "news", "hello"]), Value::Integer(1));
        assert!(matches!(self.subscriber.receive(), Value::Array(parts) if parts.len() == 3));
        for (number, client) in self.blocked.iter_mut().enumerate() {
            control.call(&["RPUSH", "list", &number.to_string()]);
            let got = Value::Array(vec![Value::bulk("list"), Value::bulk(number.to_string())]);
            assert_eq!(client.receive(), got, "in the order in which they began to wait");
        }
        let lines = control.call(&["CLIENT", "LIST"]).text().lines().count();
        let clients = self.counting.len() + self.blocked.len() + 4;
        assert_eq!(lines, clients, "no session without a client");
    }
}

#[test]
fn a_generation_that_is_killed_is_replaced_by_its_predecessor() {
    let server = server();
    let mut clients = Clients::new(&server);
    clients.count();
    for _ in 0..3 {
        server.upgrade_to(1);
        clients.change(&server);
        kill(serving_pid(&server), Signal::SIGKILL).unwrap();
        clients.count();
        await_generation(&mut server.connect(), "1");
    }
    clients.end(&server);
    server.finish();
}

#[test]
fn a_generation_that_hangs_is_fenced_and_replaced() {
    let server = server();
    let mut clients = Clients::new(&server);
    server.upgrade_to(1);
    clients.change(&server);
    let hung = serving_pid(&server);
    kill(hung, Signal::SIGSTOP).unwrap();
    let begun = Instant::now();
    clients.count();
    assert!(begun.elapsed() >= Duration::from_millis(500), "it was not given any time");
    clients.end(&server);
    let end = Instant::now() + PATIENCE;
    while descendants(server.pid()).contains(&(hung.as_raw() as u32)) {
        assert!(Instant::now() < end, "it was not killed");
    }
    server.finish();
}

#[test]
fn a_rollback_gives_the_arena_back() {
    let server = server();
    let mut clients = Clients::new(&server);
    for _ in 0..3 {
        server.upgrade_to(1);
        clients.change(&server);
        assert_eq!(field(&mut clients.counting[0], "handoff_probation"), "1");
        assert_eq!(field(&mut clients.counting[0], "hotredis_build"), "b");
        let output = server.cli(&["rollback"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(field(&mut clients.counting[0], "hotredis_build"), "a");
        assert_eq!(field(&mut clients.counting[0], "handoff_probation"), "0");
        clients.count();
    }
    clients.end(&server);
    server.finish();
}
