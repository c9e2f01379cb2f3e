//! Whole handoffs between a server and its successor in another thread, with real sockets.

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use handoff::host::{Status, Summary};
use handoff::link::Link;
use handoff::message::Ticket;
use handoff::owner::{Generation, Owner};
use handoff::predecessor::PredecessorLimits;
use handoff::rlimit::{ensure_descriptor_limit, open_descriptors};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{Server, ThreadProcess, drive, predecessor, succeed_and_serve};

/// Tests of this file count descriptors of the process, so they take turns.
static TURN: Mutex<()> = Mutex::new(());

fn server() -> (Server, TcpListener) {
    let mut server = Server::first();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    server.listeners.push((b"tcp".to_vec(), listener.try_clone().unwrap().into()));
    (server, listener)
}

fn connect(listener: &TcpListener) -> (TcpStream, OwnedFd) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    (client, accepted.into())
}

/// One upgrade; returns the server of the next generation. `tick` is the work of each tick.
fn upgrade(
    mut server: Server,
    tick: impl FnMut(&mut Server, &mut handoff::predecessor::Predecessor),
) -> (Server, Summary) {
    let (ours, theirs) = Link::pair().unwrap();
    // The lock stays with the thread that acquired it, so the successor's is let go at its end.
    let heir = thread::spawn(move || {
        let (successor, mut server) = succeed_and_serve(theirs).unwrap();
        drop((successor, server.lock.take()));
        Parts {
            file: server.file,
            generation: server.generation,
            sockets: server.sockets,
            listeners: server.listeners,
        }
    });
    let process = Box::new(ThreadProcess::default());
    let mut machine = predecessor(ours, process, &server, PredecessorLimits::default());
    let status = drive(&mut machine, &mut server, tick);
    let Status::Served(summary) = status else { panic!("{status:?}") };
    let held = server.tickets();
    let parts = heir.join().unwrap();
    let words = server.words;
    drop((machine, server));
    let server = Server {
        file: parts.file,
        words,
        generation: parts.generation,
        sockets: parts.sockets,
        listeners: parts.listeners,
        quiesced: false,
        lock: None,
    };
    assert_eq!(server.tickets(), held, "both sides hold the same");
    assert_eq!(summary.connections as usize, held.len());
    (server, summary)
}

/// What of a server can go from thread to thread.
struct Parts {
    file: std::fs::File,
    generation: Generation,
    sockets: std::collections::BTreeMap<u32, (u64, OwnedFd)>,
    listeners: Vec<(Vec<u8>, OwnedFd)>,
}

fn check_traffic(server: &Server, clients: &mut [TcpStream]) {
    let mut by_peer = std::collections::HashMap::new();
    for (_, fd) in server.sockets.values() {
        let stream = TcpStream::from(fd.try_clone().unwrap());
        by_peer.insert(stream.peer_addr().unwrap(), stream);
    }
    for (index, client) in clients.iter_mut().enumerate() {
        let address = client.local_addr().unwrap();
        let stream = by_peer.get_mut(&address).expect("each client has its connection");
        let text = format!("client {index:05}");
        client.write_all(text.as_bytes()).unwrap();
        let mut buffer = vec![0; text.len()];
        read_exactly(stream, &mut buffer);
        assert_eq!(buffer, text.as_bytes());
        stream.write_all(&buffer).unwrap();
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(buffer, text.as_bytes());
    }
}

/// Reads from a non-blocking socket, without changing the flag that others share.
fn read_exactly(stream: &mut TcpStream, buffer: &mut [u8]) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut at = 0;
    while at < buffer.len() {
        let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(10_000_u16)).unwrap(), 1, "nothing came");
        match stream.read(&mut buffer[at..]).unwrap() {
            0 => panic!("end of file"),
            count => at += count,
        }
    }
}

#[test]
fn thousands_of_connections_move_and_work() {
    const CLIENTS: usize = 4000;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Both ends and both sides of each are in this process.
    ensure_descriptor_limit(CLIENTS as u64 * 4 + 500).unwrap();
    let (mut server, listener) = server();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (client, accepted) = connect(&listener);
        server.accept(accepted);
        clients.push(client);
    }
    let (server, summary) = upgrade(server, |_, _| {});
    println!("freeze {:?}, total {:?}", summary.freeze, summary.total);
    assert_eq!(server.sockets.len(), CLIENTS);
    assert_eq!(server.owner(), Owner::Serving(Generation::new(2).unwrap()));
    check_traffic(&server, &mut clients);
    // The listener that moved accepts what waits in its queue.
    let late = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let moved = TcpListener::from(server.listeners[0].1.try_clone().unwrap());
    let (accepted, peer) = moved.accept().unwrap();
    assert_eq!(peer, late.local_addr().unwrap());
    drop(accepted);
    // A close by the new owner is seen by the client: no duplicate is left that keeps it open.
    let mut first = clients.swap_remove(0);
    drop(server);
    first.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0);
}

/// Clients come and go at random in every tick of the pre-copy; slots are used again at once.
#[test]
fn a_server_that_accepts_and_closes_meanwhile_hands_over_exactly_what_it_holds() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for seed in 0..12 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (mut server, _listener) = server();
        let mut clients = Vec::new();
        for _ in 0..random.random_range(0..700) {
            clients.push(accept_unix(&mut server).1);
        }
        let (mut came, mut went) = (0, 0);
        let (server, _) = upgrade(server, |server, machine| {
            for _ in 0..random.random_range(0..12) {
                if random.random_bool(0.5) && !server.sockets.is_empty() {
                    let at = random.random_range(0..server.sockets.len());
                    let slot = *server.sockets.keys().nth(at).unwrap();
                    machine.closed(server.close(slot));
                    went += 1;
                } else {
                    let (ticket, client) = accept_unix(server);
                    machine.accepted(ticket);
                    clients.push(client);
                    came += 1;
                }
            }
        });
        println!("{came} came, {went} went");
        // Every client either has its connection or sees the end: nothing in between.
        let open: usize = clients
            .iter()
            .map(|client| {
                client.set_nonblocking(true).unwrap();
                let mut client = client;
                usize::from(client.read(&mut [0; 1]).is_err())
            })
            .sum();
        assert_eq!(open, server.sockets.len(), "seed {seed}");
    }
}

fn accept_unix(server: &mut Server) -> (Ticket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (server.accept(ours.into()), theirs)
}

#[test]
fn a_chain_of_upgrades_leaves_no_descriptor_behind() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut server, listener) = server();
    let mut clients = Vec::new();
    for _ in 0..300 {
        let (client, accepted) = connect(&listener);
        server.accept(accepted);
        clients.push(client);
    }
    let mut counts = BTreeSet::new();
    for generation in 2..=6 {
        (server, _) = upgrade(server, |_, _| {});
        assert_eq!(server.generation.get(), generation);
        counts.insert(open_descriptors().unwrap());
        check_traffic(&server, &mut clients);
    }
    assert_eq!(counts.len(), 1, "descriptors after each upgrade: {counts:?}");
}

#[test]
fn nothing_moves_that_the_manifest_does_not_cover() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut server, _listener) = server();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    // A server that lost track: this socket blocks.
    server.accept(ours.into());
    let (link, theirs) = Link::pair().unwrap();
    let heir = thread::spawn(move || succeed_and_serve(theirs).map(|_| ()).unwrap_err());
    let process = Box::new(ThreadProcess::default());
    let mut machine = predecessor(link, process, &server, PredecessorLimits::default());
    let status = drive(&mut machine, &mut server, |_, _| {});
    let Status::Failed(failure) = status else { panic!("{status:?}") };
    assert!(failure.reason.to_string().contains("blocking"), "{}", failure.reason);
    assert!(heir.join().unwrap().to_string().contains("blocking"));
    let fd = &server.sockets[&0].1;
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap());
    assert!(!flags.contains(OFlag::O_NONBLOCK), "shared flags are never changed");
}
