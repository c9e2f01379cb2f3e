//! One file behind one mapping: creating, sealing, locking, backing and releasing ranges.

use std::fs::{File, TryLockError};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::error::OpenError;
use crate::layout::{DEFAULT_RESERVE, HEADER_SIZE, HEAP, HUGE_PAGE, PAGE, REGION};

/// How long a lock is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Locks a file. Of processes that were killed the kernel may close descriptors, above all those under way in a
/// socket, some milliseconds after they have gone: a server that is started again at once is not to fail for that.
fn lock(file: &File) -> Result<(), TryLockError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// The address space that a new arena may have: [`DEFAULT_RESERVE`], or the half of it, or of that, that the
/// system grants to a process (`ulimit -v`).
///
/// [`DEFAULT_RESERVE`]: crate::layout::DEFAULT_RESERVE
pub fn reserve_granted() -> u64 {
    let mut beyond = DEFAULT_RESERVE - HEAP;
    while beyond > REGION && !is_granted(HEAP + beyond) {
        beyond /= 2;
    }
    HEAP + beyond
}

fn is_granted(bytes: u64) -> bool {
    let Some(length) = NonZeroUsize::new(bytes as usize) else { return true };
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: nothing is mapped over, and what is mapped cannot be accessed.
    let Ok(place) = (unsafe { mmap_anonymous(None, length, ProtFlags::PROT_NONE, flags) }) else {
        return false;
    };
    // SAFETY: just mapped, and nobody knows of it.
    unsafe { munmap(place, length.get()) }.is_ok()
}

/// A mapped arena file. Unmapped and closed when dropped.
pub struct Mapping {
    map: MmapRaw,
    /// A memfd is sealed; a named file cannot be (tmpfs and disks refuse seals), so it is locked.
    /// The lock belongs to the open file description, which a successor shares: it must never be
    /// released, only closed.
    file: File,
    /// What is written to it stays in this process.
    is_copy: bool,
    /// The heap is to have huge pages, if the system grants them.
    huge_pages: AtomicBool,
}

impl Mapping {
    /// Makes a memfd of `reserve` (sparse) bytes and maps it.
    pub fn create_memfd(reserve: u64) -> Result<Mapping, OpenError> {
        let fd =
            memfd_create(c"hotredis-arena", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)
                .map_err(|e| OpenError::system("memfd_create", e))?;
        let file = File::from(fd);
        file.set_len(reserve).map_err(|e| OpenError::system("ftruncate", e))?;
        // The size never changes again, so neither a peer nor a bug can turn an access into SIGBUS
        // by cutting the file.
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))
            .map_err(|e| OpenError::system("sealing (F_ADD_SEALS)", e))?;
        Mapping::map(file, reserve)
    }

    /// Makes the named file of `reserve` (sparse) bytes if it is missing or empty, locks and maps
    /// it. The flag says whether the file had content.
    pub fn open_file(path: &Path, reserve: u64) -> Result<(Mapping, bool), OpenError> {
        Mapping::open(path, Some(reserve))
    }

    /// Locks a named file that holds an arena already and maps a copy of it: what is written to the mapping is
    /// this process's own, and the file stays as it is.
    pub fn open_copy(path: &Path) -> Result<Mapping, OpenError> {
        Ok(Mapping::open(path, None)?.0)
    }

    fn open(path: &Path, create: Option<u64>) -> Result<(Mapping, bool), OpenError> {
        let error = |what| {
            move |source: std::io::Error| OpenError::System {
                what,
                path: Some(path.to_owned()),
                source,
            }
        };
        let file = File::options()
            .read(true)
            .write(create.is_some())
            .create(create.is_some())
            .truncate(false)
            .open(path)
            .map_err(error("open"))?;
        lock(&file).map_err(|e| match e {
            TryLockError::WouldBlock => OpenError::Locked { path: path.to_owned() },
            TryLockError::Error(e) => error("flock")(e),
        })?;
        let size = file.metadata().map_err(error("fstat"))?.len();
        let length = match create {
            Some(reserve) if size == 0 => {
                file.set_len(reserve).map_err(error("ftruncate"))?;
                reserve
            }
            _ => size,
        };
        if !(crate::layout::HEAP..=crate::layout::MAX_RESERVE).contains(&length) {
            return Err(OpenError::Damaged {
                why: format!("{} has {size} bytes, which no arena has", path.display()),
            });
        }
        let mapping = match create {
            Some(_) => Mapping::map(file, length)?,
            None => Mapping::map_copy(file, length)?,
        };
        Ok((mapping, size != 0))
    }

    /// Maps an arena whose descriptor another process sent. A memfd must bear its seals.
    pub fn from_fd(fd: OwnedFd) -> Result<Mapping, OpenError> {
        let file = File::from(fd);
        let size = file.metadata().map_err(|e| OpenError::system("fstat", e))?.len();
        if !(crate::layout::HEAP..=crate::layout::MAX_RESERVE).contains(&size) {
            return Err(OpenError::Damaged { why: format!("the descriptor has {size} bytes") });
        }
        // A named file refuses the question with EINVAL; its lock is shared with the sender through
        // the one open file description.
        if let Ok(bits) = fcntl(&file, FcntlArg::F_GET_SEALS)
            && !SealFlag::from_bits_truncate(bits).contains(SealFlag::F_SEAL_SHRINK)
            && is_memfd(&file)
        {
            return Err(OpenError::Damaged {
                why: "the memfd is not sealed against shrinking".into(),
            });
        }
        Mapping::map(file, size)
    }

    fn map(file: File, length: u64) -> Result<Mapping, OpenError> {
        let map = MmapOptions::new()
            .len(length as usize)
            .no_reserve_swap()
            .map_raw(&file)
            .map_err(|e| OpenError::system("mmap", e))?;
        // A core dump of the arena would delay the death of a generation by seconds per GiB.
        map.advise(memmap2::Advice::DontDump).map_err(|e| OpenError::system("madvise", e))?;
        Ok(Mapping { map, file, is_copy: false, huge_pages: AtomicBool::new(false) })
    }

    fn map_copy(file: File, length: u64) -> Result<Mapping, OpenError> {
        let mut options = MmapOptions::new();
        options.len(length as usize).no_reserve_swap();
        // SAFETY: nobody who holds to the lock changes the file while it is mapped; it is read like every
        // arena, through copies of what stands in it, for which any bytes are valid.
        let map = unsafe { options.map_copy(&file) };
        let map = map.map_err(|e| OpenError::system("mmap", e))?;
        Ok(Mapping { map: map.into(), file, is_copy: true, huge_pages: AtomicBool::new(false) })
    }

    /// The address of byte 0 in this process.
    #[inline(always)]
    pub fn base(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// Bytes of address space, which is the (sparse) size of the file.
    pub fn len(&self) -> u64 {
        self.map.len() as u64
    }

    /// Never true: an arena has at least its header.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The descriptor, to be sent to a successor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reads bytes through the descriptor: unlike an access through the mapping this neither
    /// allocates a page nor dies where the file has been cut.
    pub fn read_at(&self, at: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.file.read_exact_at(bytes, at)
    }

    /// Allocates the pages of a range, so that no later access can fail.
    pub fn back(&self, start: u64, length: u64) -> std::io::Result<()> {
        if self.is_copy {
            return Ok(());
        }
        loop {
            match fallocate(self.fd(), FallocateFlags::empty(), start as i64, length as i64) {
                Err(nix::errno::Errno::EINTR) => continue,
                done => return done.map_err(Into::into),
            }
        }
    }

    /// Asks the system for huge pages in the heap, from here on and for this mapping only: each process does it for
    /// its own. The areas before the heap are used sparsely and keep ordinary pages.
    ///
    /// That the system knows of such advice does not mean that it follows it:
    /// [`back_huge`](Self::back_huge) tells.
    ///
    /// # Errors
    /// If it knows of no such advice.
    pub fn advise_huge_pages(&self) -> std::io::Result<()> {
        let length = self.map.len() - HEAP as usize;
        self.map.advise_range(memmap2::Advice::HugePage, HEAP as usize, length)?;
        self.huge_pages.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the heap is to have huge pages.
    pub fn wants_huge_pages(&self) -> bool {
        self.huge_pages.load(Ordering::Relaxed)
    }

    /// Has the system back [`HUGE_PAGE`] bytes from `start` on, of which nothing is backed, by one huge page. False if it
    /// does not grant one: then at most a page of the range is backed.
    ///
    /// Only a fault of a mapping with the [advice](Self::advise_huge_pages) gets one, [`back`](Self::back) does not.
    pub fn back_huge(&self, start: u64) -> bool {
        self.populate(start, PAGE);
        self.next_backed(start).is_some_and(|(from, to)| from == start && to >= start + HUGE_PAGE)
    }

    /// Enters the pages of a backed range into this process's page table for writing.
    ///
    /// Best effort: an old kernel refuses, and then the first touch costs a fault.
    pub fn populate(&self, start: u64, length: u64) {
        let _ =
            self.map.advise_range(memmap2::Advice::PopulateWrite, start as usize, length as usize);
    }

    /// Enters the pages of a backed range into this process's page table without changing any: those of
    /// shared memory can be written then, those of a file on a disk read.
    ///
    /// Best effort, as [`populate`](Self::populate).
    pub fn populate_unchanged(&self, start: u64, length: u64) {
        let _ =
            self.map.advise_range(memmap2::Advice::PopulateRead, start as usize, length as usize);
    }

    /// Gives the pages of a range back to the system; they read as zeros and must be backed again
    /// before they are used.
    pub fn punch(&self, start: u64, length: u64) -> std::io::Result<()> {
        if self.is_copy {
            return Ok(());
        }
        let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(self.fd(), how, start as i64, length as i64).map_err(Into::into)
    }

    /// The next backed range at or after `from`, as (start, end); `None` when there is none.
    pub fn next_backed(&self, from: u64) -> Option<(u64, u64)> {
        use nix::unistd::{Whence, lseek};
        let start = lseek(self.fd(), from as i64, Whence::SeekData).ok()?;
        let end = lseek(self.fd(), start, Whence::SeekHole).ok()?;
        Some((start as u64, end as u64))
    }

    /// Bytes of memory (or disk) that the file occupies.
    pub fn backed_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().map(|m| m.blocks() * 512).unwrap_or(0)
    }
}

/// Maps the start of an arena's file, as far as the header goes.
pub(crate) fn map_header(file: &File) -> Result<MmapRaw, OpenError> {
    let options = MmapOptions::new().len(HEADER_SIZE as usize).map_raw(file);
    options.map_err(|e| OpenError::system("mmap", e))
}

fn is_memfd(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().map(|m| m.nlink() == 0).unwrap_or(false)
}
