//! The arena and the operating system: seals, locks, files that are none, full file systems, growth.

#[path = "common/world.rs"]
mod world;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, ftruncate};
use shm::layout::{HEAP, SPAN, UNDO};
use shm::{Arena, OpenError, Options, header};
use world::{Model, Op, Random};

/// A path that is removed at the end.
struct Path(PathBuf);

impl Path {
    fn new(name: &str) -> Path {
        let shared = PathBuf::from("/dev/shm");
        let folder = if shared.is_dir() { shared } else { env!("CARGO_TARGET_TMPDIR").into() };
        let path = folder.join(format!("hotredis-test-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Path(path)
    }

    fn options(&self) -> Options {
        Options { file: Some(self.0.clone()), reserve: 0, reopen: true, ..Options::default() }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs `work` in a child process; gives how it ended.
fn in_child(work: impl FnOnce() -> i32) -> nix::unistd::Pid {
    // SAFETY: the child takes no lock that another thread of the parent may have held, and never
    // returns.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(101);
            // SAFETY: ends the process without the parent's exit handlers.
            unsafe { libc::_exit(code) }
        }
    }
}

#[test]
fn a_memfd_is_sealed() {
    let arena = Arena::create(&Options { reserve: 0, ..Options::default() }).unwrap().0;
    let fd = arena.mapping().fd();
    for size in [arena.len() - 4096, arena.len() + 4096, 0] {
        assert_eq!(ftruncate(fd, size as i64), Err(nix::errno::Errno::EPERM));
    }
}

#[test]
fn a_named_file_is_locked_until_its_last_holder_is_gone() {
    let path = Path::new("lock");
    let (arena, taken_up) = Arena::create(&path.options()).unwrap();
    assert!(!taken_up);
    let locked = || matches!(Arena::create(&path.options()), Err(OpenError::Locked { .. }));
    assert!(locked());
    assert!(matches!(Arena::open_file(&path.0, 0), Err(OpenError::Locked { .. })));
    // A successor's descriptor is a duplicate: the lock must outlive the predecessor.
    let successor = Arena::from_fd(arena.mapping().fd().try_clone_to_owned().unwrap(), 0).unwrap();
    drop(arena);
    assert!(locked());
    drop(successor);
    assert!(Arena::create(&path.options()).unwrap().1);
}

#[test]
fn opening_for_the_checker_makes_no_file() {
    let path = Path::new("missing");
    assert!(matches!(Arena::open_file(&path.0, 0), Err(OpenError::System { .. })));
    assert!(!path.0.exists());
    File::create(&path.0).unwrap();
    assert!(matches!(Arena::open_file(&path.0, 0), Err(OpenError::Damaged { .. })));
    assert_eq!(path.0.metadata().unwrap().len(), 0);
}

/// Spoils a whole arena in one way, and expects it to be refused with this reason and left as it is.
fn refused(spoil: impl FnOnce(&File), reason: &str) {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let path = Path::new(&format!("spoilt-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    drop(world::new_world(&path.options()));
    let file = File::options().read(true).write(true).open(&path.0).unwrap();
    spoil(&file);
    let look = || {
        use std::os::unix::fs::MetadataExt;
        let mut bytes = vec![0; 64 << 10];
        let read = file.read_at(&mut bytes, 0).unwrap();
        bytes.truncate(read);
        (bytes, file.metadata().unwrap().len(), file.metadata().unwrap().blocks())
    };
    let before = look();
    for error in [
        Arena::create(&path.options()).map(|_| ()).unwrap_err(),
        Arena::open_file(&path.0, 0).map(|_| ()).unwrap_err(),
    ] {
        assert!(error.to_string().contains(reason), "{error} instead of {reason}");
    }
    assert!(look() == before, "the file was changed ({reason})");
}

#[test]
fn what_is_no_whole_arena_is_refused_and_left_untouched() {
    let write = |file: &File, at: u64, bytes: &[u8]| file.write_all_at(bytes, at).unwrap();
    let number = |n: u64| n.to_le_bytes();
    refused(|f| write(f, 0, b"not one!"), "it begins with");
    refused(|f| write(f, 0, &[0; 8]), "it begins with");
    refused(|f| write(f, 8, &[9, 0, 0, 0]), "its format is 9");
    refused(|f| write(f, 12, &[0; 4]), "never completed");
    refused(|f| write(f, 16, &[1; 8]), "has fingerprint 0101010101010101");
    refused(|f| f.set_len(HEAP + SPAN).unwrap(), "it was cut or extended");
    refused(|f| f.set_len(f.metadata().unwrap().len() * 2).unwrap(), "it was cut or extended");
    refused(|f| f.set_len(4096).unwrap(), "has 4096 bytes, which no arena has");
    refused(|f| f.set_len(HEAP - 1).unwrap(), "which no arena has");
    // The log: longer than there is room for, without entries, leading outside or to itself.
    let log = header::LOG.raw();
    refused(|f| write(f, log, &number(0x7fff_ffff)), "undo log claims");
    refused(|f| write(f, log, &number(1 << 63 | 0x3fff_ffff << 31)), "it claims");
    refused(|f| write(f, log, &number(400)), "undo log makes no sense");
    for entry in [u64::MAX, (1 << 62) | 8, UNDO << 20 | 8, HEAP << 20, HEAP << 20 | 80] {
        let spoil = |f: &File| {
            write(f, log, &number(2));
            write(f, UNDO, &number(entry));
        };
        refused(spoil, "undo log makes no sense");
    }
}

#[test]
fn an_unsealed_memfd_is_refused() {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let fd = memfd_create(c"plain", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    ftruncate(&fd, (HEAP + (1 << 30)) as i64).unwrap();
    let error = Arena::from_fd(fd, 0).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("not sealed"), "{error}");
    let pipe = File::open("/dev/null").unwrap().as_fd().try_clone_to_owned().unwrap();
    assert!(Arena::from_fd(pipe, 0).is_err());
}

#[test]
fn a_named_file_is_taken_up_after_a_kill() {
    let path = Path::new("kill");
    let ops = |number: u64| world::random_op(&mut Random(number), 5_000, 0);
    drop(world::new_world(&path.options()));
    let mut reference = world::new_world(&Options { reserve: 0, ..Options::default() });
    let (mut model, mut done) = (Model::default(), 0);
    for round in 0..20 {
        let child = in_child(|| {
            let mut arena = Arena::create(&path.options()).expect("open").0;
            for number in arena.payload()[0] + 1.. {
                let _ = world::run(&mut arena, &ops(number), number, None);
            }
            0
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(3 + round) {
            std::hint::spin_loop();
        }
        kill(child, Signal::SIGKILL).unwrap();
        waitpid(child, None).unwrap();
        let (arena, taken_up) = Arena::create(&path.options()).unwrap();
        assert!(taken_up);
        for number in done + 1..=arena.payload()[0] {
            let _ = world::run(&mut reference, &ops(number), number, Some(&mut model));
        }
        done = arena.payload()[0];
        assert!(world::read(&arena).unwrap() == model, "round {round}");
    }
    assert!(done > 0);
}

/// Fills a table until memory is refused, makes room, and goes on; three times.
fn fill_and_empty(arena: &mut Arena) -> u64 {
    let mut refusals = 0;
    for _ in 0..3 {
        let mut key = 0;
        while world::run(arena, &Op::Put { key, value: vec![5; 100], room: 90_000 }, 1, None)
            .is_ok()
        {
            key += 1;
            assert!(key < world::KEYS * 2, "memory never ran out");
        }
        refusals += 1;
        assert!(key > 3, "only {key} fitted");
        world::check(arena).unwrap();
        (0..key).for_each(|key| world::run(arena, &Op::Remove { key }, 1, None).unwrap());
        arena.maintain(0, u64::MAX);
        world::check(arena).unwrap();
    }
    refusals
}

#[test]
fn the_cap_is_kept_with_the_grower_running() {
    let cap = 8 << 20;
    let options = Options { reserve: 0, cap, grow_ahead: true, ..Options::default() };
    let mut arena = world::new_world(&options);
    assert_eq!(fill_and_empty(&mut arena), 3);
    assert!(arena.heap_bytes() <= cap);
    assert!(arena.mapping().backed_bytes() <= cap + (3 << 20));
}

/// Mounts a tmpfs of 6 MiB for this process's own mount namespace.
fn mount_small_tmpfs(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let folder = std::ffi::CString::new(folder.as_os_str().as_bytes()).unwrap();
    let mount = |target: &std::ffi::CStr, kind: &std::ffi::CStr, flags, data: &std::ffi::CStr| {
        // SAFETY: all strings are terminated and outlive the call.
        let done = unsafe {
            libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
        };
        if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    mount(c"/", c"none", libc::MS_REC | libc::MS_PRIVATE, c"")?;
    mount(&folder, c"tmpfs", 0, c"size=6m")
}

#[test]
fn a_full_file_system_is_out_of_memory_and_no_signal() {
    use nix::sched::{CloneFlags, unshare};
    const SKIPPED: i32 = 77;
    let folder = Path::new("full");
    std::fs::create_dir(&folder.0).unwrap();
    let child = in_child(|| {
        if unshare(CloneFlags::CLONE_NEWNS).is_err() || mount_small_tmpfs(&folder.0).is_err() {
            return SKIPPED;
        }
        for grow_ahead in [false, true] {
            let path = folder.0.join(format!("arena-{grow_ahead}"));
            let file = Some(path.clone());
            let options = Options { file, reserve: 0, grow_ahead, ..Options::default() };
            let mut arena = world::new_world(&options);
            assert_eq!(fill_and_empty(&mut arena), 3);
            drop(arena);
            std::fs::remove_file(path).unwrap();
        }
        0
    });
    let status = waitpid(child, None).unwrap();
    std::fs::remove_dir(&folder.0).unwrap();
    match status {
        WaitStatus::Exited(_, SKIPPED) => println!("skipped: mounting a tmpfs is not allowed here"),
        other => assert!(matches!(other, WaitStatus::Exited(_, 0)), "{other:?}"),
    }
}

#[test]
fn a_failed_creation_leaves_an_empty_file() {
    let path = Path::new("no-room");
    File::create(&path.0).unwrap();
    let child = in_child(|| {
        use nix::sys::resource::{Resource, setrlimit};
        // The header cannot be allocated; the sparse size is refused as well, which is an error too.
        // SAFETY: only changes how the signal is taken.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        setrlimit(Resource::RLIMIT_FSIZE, 1 << 20, 1 << 20).unwrap();
        i32::from(Arena::create(&path.options()).is_ok())
    });
    assert!(matches!(waitpid(child, None).unwrap(), WaitStatus::Exited(_, 0)));
    assert_eq!(path.0.metadata().unwrap().len(), 0);
    assert!(Arena::create(&path.options()).is_ok());
}

/// The thread gets ahead of the executor, stays there, and what both count is what is backed.
#[test]
fn the_grower_keeps_ahead() {
    let options = Options { grow_ahead: true, ..Options::default() };
    let mut arena = world::new_world(&options);
    let ahead = |arena: &Arena| {
        let word = |index| arena.word(index).load(Ordering::Relaxed);
        word(header::READY_END).saturating_sub(word(header::FRONTIER))
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    // Half of what it aims at: the world's first blocks may have come after its first look.
    while ahead(&arena) < 2 << 20 {
        assert!(Instant::now() < deadline, "the thread did not begin");
        std::thread::yield_now();
    }
    let mut random = Random(3);
    let mut blocks = Vec::new();
    for i in 0..3_000u64 {
        let size = random.below(120_000);
        blocks.push(arena.transact(|tx| tx.alloc(size).map(|fresh| fresh.off())).unwrap());
        if i % 500 == 499 {
            // Free, punch, and use again while the thread runs.
            blocks.drain(..200).for_each(|b| arena.transact(|tx| tx.free(b)).unwrap());
            arena.maintain(8, 2_000);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while ahead(&arena) < 2 << 20 {
        assert!(Instant::now() < deadline, "the thread fell behind: {} bytes", ahead(&arena));
        std::thread::yield_now();
    }
    arena.stop_grower();
    let (counted, backed) = (arena.heap_bytes(), arena.mapping().backed_bytes());
    assert!(
        backed >= counted && backed <= counted + (4 << 20),
        "{counted} counted, {backed} backed"
    );
}

/// A buffer that a successor made smaller is whole again for the predecessor that serves on.
#[test]
fn a_buffer_is_restored_after_another_owner() {
    use shm::io::Area;
    let mut arena = Arena::create(&Options { reserve: 0, ..Options::default() }).unwrap().0;
    let mut ours = arena.io_buffer(Area::Input, 1 << 20).unwrap();
    ours.bytes_mut().fill(1);
    let full = arena.mapping().backed_bytes();
    let fd = arena.mapping().fd().try_clone_to_owned().unwrap();
    let mut successor = Arena::from_fd(fd, 0).unwrap();
    let mut theirs = successor.io_buffer(Area::Input, 1 << 20).unwrap();
    theirs.shrink(0);
    assert!(arena.mapping().backed_bytes() < full);
    drop((theirs, successor));
    ours.restore().unwrap();
    assert_eq!(arena.mapping().backed_bytes(), full);
    assert_eq!(ours.bytes()[0], 1);
}
