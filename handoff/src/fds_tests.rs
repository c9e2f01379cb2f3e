use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use sendfd::SendWithFd;

use super::{ControlBuffer, MAX_FDS_PER_MESSAGE, receive_message, send_message};
use crate::error::FdError;
use crate::link::Link;

fn pair() -> (UnixDatagram, UnixDatagram) {
    let (one, two) = Link::pair().unwrap();
    (one.into(), two.into())
}

fn receive(socket: &UnixDatagram, bytes: usize) -> Result<(usize, Vec<OwnedFd>), FdError> {
    receive_message(socket, &mut vec![0; bytes], &mut ControlBuffer::default())
}

#[test]
fn descriptors_arrive_in_order_and_close_on_exec() {
    let (one, two) = pair();
    let files: Vec<File> =
        (0..MAX_FDS_PER_MESSAGE).map(|_| File::open("/dev/null").unwrap()).collect();
    let (socket, _other) = pair();
    let mut fds: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
    fds[77] = socket.as_fd();
    send_message(&one, b"x", &fds).unwrap();
    let (count, received) = receive(&two, 10).unwrap();
    assert_eq!((count, received.len()), (1, MAX_FDS_PER_MESSAGE));
    for (index, fd) in received.iter().enumerate() {
        let is_socket = crate::cookie::socket_cookie(fd.as_fd()).is_ok();
        assert_eq!(is_socket, index == 77, "descriptor {index}");
        let flags = fcntl(fd, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, FdFlag::FD_CLOEXEC.bits());
    }
}

#[test]
fn more_than_allowed_are_not_sent() {
    let (one, _two) = pair();
    let fds = vec![one.as_fd(); MAX_FDS_PER_MESSAGE + 1];
    assert!(matches!(send_message(&one, b"x", &fds), Err(FdError::TooManyFds { count: 129 })));
}

/// A peer that sends more than the protocol allows: nothing of it is kept.
#[test]
fn more_than_allowed_are_refused_and_closed() {
    let (one, two) = pair();
    let (kept, watched) = pair();
    let raw = vec![watched.as_raw_fd(); MAX_FDS_PER_MESSAGE + 50];
    one.send_with_fd(b"x", &raw).unwrap();
    drop(watched);
    let error = receive(&two, 10).unwrap_err();
    assert!(matches!(error, FdError::FdsTruncated { arrived: MAX_FDS_PER_MESSAGE }), "{error}");
    // End-of-file on the other end proves that no duplicate is left anywhere.
    assert!(matches!(receive(&kept, 10), Err(FdError::Closed)));
}

#[test]
fn a_longer_message_is_refused_and_its_descriptors_closed() {
    let (one, two) = pair();
    let (kept, watched) = pair();
    send_message(&one, &[1; 100], &[watched.as_fd()]).unwrap();
    drop(watched);
    assert!(matches!(receive(&two, 99), Err(FdError::BytesTruncated { limit: 99 })));
    assert!(matches!(receive(&kept, 10), Err(FdError::Closed)));
}

#[test]
fn other_control_messages_are_passed_over() {
    let (one, two) = pair();
    nix::sys::socket::setsockopt(&two, nix::sys::socket::sockopt::PassCred, &true).unwrap();
    let fds = [one.as_raw_fd()];
    sendmsg::<()>(
        one.as_raw_fd(),
        &[std::io::IoSlice::new(b"abc")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        None,
    )
    .unwrap();
    let (count, received) = receive(&two, 10).unwrap();
    assert_eq!((count, received.len()), (3, 1));
}

#[test]
fn a_full_link_and_an_empty_one_say_so() {
    let (one, two) = pair();
    assert!(matches!(receive(&two, 10), Err(FdError::WouldBlock)));
    let mut sent = 0;
    let error = loop {
        match send_message(&one, &[0; 4096], &[one.as_fd()]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000, "the link has no bound");
    };
    assert!(matches!(error, FdError::WouldBlock), "{error}");
    for _ in 0..sent {
        assert_eq!(receive(&two, 4096).unwrap().0, 4096);
    }
    send_message(&one, b"again", &[]).unwrap();
}

#[test]
fn the_end_of_the_other_side_is_seen_on_both_calls() {
    let (one, two) = pair();
    send_message(&one, b"last", &[]).unwrap();
    drop(one);
    assert_eq!(receive(&two, 10).unwrap().0, 4, "what was sent before still arrives");
    assert!(matches!(receive(&two, 10), Err(FdError::Closed)));
    assert!(matches!(send_message(&two, b"x", &[]), Err(FdError::Closed)));
    assert!(matches!(send_message(&two, b"x", &[two.as_fd()]), Err(FdError::Closed)));
}

#[test]
fn last_words_arrive_although_the_peer_has_left_something_unread() {
    let (one, two) = pair();
    send_message(&two, b"never read", &[]).unwrap();
    send_message(&one, b"last", &[]).unwrap();
    drop(one);
    assert_eq!(receive(&two, 10).unwrap().0, 4);
    assert!(matches!(receive(&two, 10), Err(FdError::Closed)));
}
