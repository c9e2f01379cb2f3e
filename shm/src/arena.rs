//! Creating, opening and reading an arena.

use std::marker::PhantomData;
use std::ops::Deref;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::alloc;
use crate::error::{OpenError, OutOfMemory};
use crate::grow::Grower;
use crate::header::{self, FORMAT, Header, MAGIC};
use crate::layout;
use crate::logged::Logged;
use crate::mapping::Mapping;
use crate::off::Off;
use crate::record::{Hint, Record, Slot, U32, U64};
use crate::tx::Tx;
use crate::undo::State;

/// Read access to a mapped arena. Every access is checked to stay within the mapping.
///
/// The references that it gives borrow the view, and whoever writes needs it mutably: so no
/// reference into the arena can be held across a write.
pub struct View {
    base: NonNull<u8>,
    len: u64,
    /// [`NEAR`] bytes less.
    far: u64,
    /// The bytes behind `base` are shared with other processes.
    _not_sync: PhantomData<*mut u8>,
}

/// Ranges of so many bytes that begin so far from the arena's end lie within it. No arena is as small.
const NEAR: u64 = layout::SPAN;

// SAFETY: a view is an address and a length; which thread uses it does not matter.
unsafe impl Send for View {}

impl View {
    /// The address of byte 0.
    #[inline(always)]
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes of address space.
    #[inline(always)]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The address of a range, after checking that it lies within the mapping.
    #[inline(always)]
    pub(crate) fn place(&self, start: u64, bytes: u64) -> *mut u8 {
        // One comparison where the length is a constant, which does for all but the arena's end.
        if bytes > NEAR || start > self.far {
            self.place_exactly(start, bytes);
        }
        // SAFETY: just checked.
        unsafe { self.base().add(start as usize) }
    }

    #[cold]
    #[inline(never)]
    fn place_exactly(&self, start: u64, bytes: u64) {
        if start > self.len || bytes > self.len - start {
            panic!("offset {start:#x} (+{bytes}) lies outside the arena: it is damaged")
        }
    }

    /// The record at an offset.
    ///
    /// # Panics
    ///
    /// If the offset leads outside of the mapping, which only a damaged arena or a bug can cause.
    #[inline(always)]
    pub fn get<T: Record>(&self, off: Off<T>) -> &T {
        let place = self.place(off.raw(), size_of::<T>() as u64);
        // SAFETY: within the mapping; `T: Record` has alignment 1 and is valid for every bit
        // pattern; the owner writes only through `&mut`, so nothing changes while this borrow
        // lives.
        unsafe { &*place.cast() }
    }

    /// A copy of the record at an offset.
    #[inline(always)]
    pub fn read<T: Record>(&self, off: Off<T>) -> T {
        *self.get(off)
    }

    /// `length` bytes from an offset on.
    #[inline(always)]
    pub fn bytes(&self, off: Off<u8>, length: usize) -> &[u8] {
        let place = self.place(off.raw(), length as u64);
        // SAFETY: as in `get`.
        unsafe { std::slice::from_raw_parts(place, length) }
    }

    /// `count` records from an offset on.
    #[inline(always)]
    pub fn array<T: Record>(&self, off: Off<T>, count: usize) -> &[T] {
        let place = self.place(off.raw(), count.saturating_mul(size_of::<T>()) as u64);
        // SAFETY: as in `get`.
        unsafe { std::slice::from_raw_parts(place.cast(), count) }
    }

    /// Asks the processor to fetch the cache line at an offset. Any offset is allowed.
    #[inline(always)]
    pub fn prefetch<T>(&self, off: Off<T>) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch of any address has no effect that a program could observe.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.base().wrapping_add(off.raw() as usize).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = off;
    }

    /// Changes a hint, without a log.
    #[inline(always)]
    pub fn hint<T: Record>(&mut self, off: Off<Hint<T>>, value: T) {
        let place = self.place(off.raw(), size_of::<T>() as u64);
        // SAFETY: within the mapping, alignment 1, and `&mut self` rules out references into it.
        unsafe { place.cast::<T>().write_unaligned(value) }
    }

    /// Bytes of a block that stay readable while the arena is written.
    ///
    /// # Safety
    ///
    /// Until the last use of the slice, nobody writes these bytes, and the block is not freed by a
    /// transaction that has committed. The arena outlives the slice.
    pub unsafe fn pinned<'b>(&self, block: Off<u8>, length: u64) -> &'b [u8] {
        let place = self.place(block.raw(), length);
        // SAFETY: within the mapping; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(place, length as usize) }
    }

    /// The header's record.
    pub fn header(&self) -> &Header {
        self.get(Off::new(0))
    }

    /// Bytes of the heap that the system has backed by huge pages while it grew; what was given back since is not
    /// deducted.
    pub fn huge_page_bytes(&self) -> u64 {
        self.word(header::HUGE_PAGES).load(Ordering::Relaxed)
    }

    /// The user's root record, as set by [`Tx::set_root`].
    pub fn root(&self) -> Off<u8> {
        self.header().root.get()
    }
}

/// How to make an arena.
#[derive(Debug, Clone)]
pub struct Options {
    /// A named file instead of a memfd.
    pub file: Option<PathBuf>,
    /// Address space and (sparse) file size in bytes; rounded up to whole regions.
    pub reserve: u64,
    /// The most bytes that may be backed by memory.
    pub cap: u64,
    /// The user's part of the fingerprint.
    pub fingerprint: u64,
    /// Whether a thread allocates memory ahead of need; without it every growth waits.
    pub grow_ahead: bool,
    /// Whether the system is asked for huge pages in the heap. It may know of none, or grant none: see
    /// [`View::huge_page_bytes`].
    pub huge_pages: bool,
    /// Named files only: keep what is there if it is a whole arena of the same fingerprint.
    pub reopen: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            file: None,
            reserve: layout::DEFAULT_RESERVE,
            cap: u64::MAX,
            fingerprint: 0,
            grow_ahead: false,
            huge_pages: false,
            reopen: false,
        }
    }
}

/// The owner's handle on an arena: reads, and begins transactions.
pub struct Arena {
    view: View,
    mapping: Arc<Mapping>,
    grower: Option<Grower>,
    /// Bytes of the executor's areas that are known to be backed.
    pub(crate) backed: Areas,
    /// Counts transactions of this process, to tell fresh blocks of this one from older ones.
    pub(crate) serial: u64,
    /// Where to look first for a free span; a cache.
    pub(crate) span_hint: u64,
    /// The points to which the open transaction was taken back, as lengths of its log and of its
    /// list of frees.
    pub(crate) rollbacks: Vec<(u64, u64)>,
    /// What the open transaction has logged already.
    pub(crate) logged: Logged,
    /// Large blocks that this process has made.
    pub(crate) large_made: u64,
    /// A block that a walk goes on with, for as long as it is not freed: see [`crate::deque::relocate_step`].
    pub(crate) watched: Off<u8>,
    /// Whether blocks had to be allocated in spans that were to be emptied.
    pub(crate) is_short: bool,
    /// Which of the executor's buffers were taken.
    pub(crate) buffers_taken: [bool; 2],
    /// What is to fail on purpose.
    #[cfg(debug_assertions)]
    pub(crate) faults: crate::fault::Faults,
}

/// Backed bytes of the log's areas; private, since backing again is harmless.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Areas {
    pub undo: u64,
    pub frees: u64,
    /// Up to where an owner before this one may have left the log and the list of frees backed.
    pub unknown: [u64; 2],
}

impl Default for Areas {
    fn default() -> Areas {
        Areas { undo: 0, frees: 0, unknown: [layout::UNDO_SIZE, layout::FREES_SIZE] }
    }
}

impl Deref for Arena {
    type Target = View;
    fn deref(&self) -> &View {
        &self.view
    }
}

/// The fingerprint of this crate's layouts combined with the user's.
///
/// A build without [crash safety](crate::CRASH_SAFE) has another: it must not take up what others made, nor
/// they what it has made.
pub const fn combined_fingerprint(user: u64) -> u64 {
    let ours = crate::record::fingerprint(
        &[
            Header::LAYOUT,
            crate::undo::LogHeader::LAYOUT,
            alloc::ClassHeader::LAYOUT,
            alloc::HeapHeader::LAYOUT,
            alloc::RegionHeader::LAYOUT,
            alloc::SpanHeader::LAYOUT,
            crate::table::Table::LAYOUT,
            crate::table::SegmentHeader::LAYOUT,
            crate::table::Bucket::LAYOUT,
            crate::tree::Tree::LAYOUT,
            crate::tree::Node::LAYOUT,
            crate::tree::Pair::LAYOUT,
            crate::tree::Branch::LAYOUT,
            crate::blob::Blob::LAYOUT,
            crate::deque::Deque::LAYOUT,
            crate::deque::Bounds::LAYOUT,
            crate::deque::Chunk::LAYOUT,
        ],
        &[
            ("format", FORMAT as u64),
            ("executor area", layout::EXECUTOR),
            ("heap", layout::HEAP),
            ("region", layout::REGION),
            ("span", layout::SPAN),
            ("classes", alloc::CLASSES_VERSION),
            ("class sizes", alloc::classes_hash()),
            ("hash", crate::table::HASH_VERSION),
            ("buckets", crate::table::BUCKETS),
            ("tag bits", crate::table::TAG_BITS as u64),
            ("displacement", crate::table::MAX_DISPLACEMENT),
            ("part", crate::blob::PART),
            ("node", crate::tree::ROOM as u64),
            ("user", user),
        ],
    );
    if crate::CRASH_SAFE { ours } else { !ours }
}

impl Arena {
    /// Makes a new arena, or takes up the one in the named file if `options.reopen` says so; an
    /// unfinished transaction in it is rolled back. The flag says whether it was taken up.
    pub fn create(options: &Options) -> Result<(Arena, bool), OpenError> {
        let reserve = round_reserve(options.reserve);
        let Some(path) = &options.file else {
            let mapping = Mapping::create_memfd(reserve)?;
            return Ok((Arena::initialise(mapping, options)?, false));
        };
        let (mapping, content) = Mapping::open_file(path, reserve)?;
        if !content {
            let whole = Arena::initialise(mapping, options);
            if whole.is_err() {
                // Half an arena would be refused ever after. It was empty before.
                let _ = std::fs::File::options().write(true).open(path).map(|f| f.set_len(0));
            }
            return Ok((whole?, false));
        }
        if !options.reopen {
            return Err(OpenError::Damaged {
                why: format!("{} exists already and is not empty", path.display()),
            });
        }
        let mut arena = Arena::attach(mapping, options.fingerprint)?;
        arena.check_log().map_err(|why| OpenError::Damaged { why })?;
        arena.recover();
        if options.huge_pages {
            // What is there already has the pages that it has.
            let _ = arena.mapping.advise_huge_pages();
        }
        arena.set_cap(options.cap);
        arena.start_grower(options.grow_ahead);
        Ok((arena, true))
    }

    /// Maps an arena whose descriptor was received. Nothing in it is read but its header, so this
    /// takes the same time at any size, and may happen while another process owns it.
    pub fn from_fd(fd: std::os::fd::OwnedFd, fingerprint: u64) -> Result<Arena, OpenError> {
        Arena::attach(Mapping::from_fd(fd)?, fingerprint)
    }

    /// Opens a named file that is there already, to be looked at: an unfinished transaction is rolled back in
    /// a copy, and the file stays as it is.
    pub fn open_file(path: &std::path::Path, fingerprint: u64) -> Result<Arena, OpenError> {
        let mut arena = Arena::attach(Mapping::open_copy(path)?, fingerprint)?;
        arena.check_log().map_err(|why| OpenError::Damaged { why })?;
        arena.recover();
        Ok(arena)
    }

    fn wrap(mapping: Mapping) -> Arena {
        let base = NonNull::new(mapping.base()).expect("a mapping is never at address 0");
        let len = mapping.len();
        let view = View { base, len, far: len - NEAR, _not_sync: PhantomData };
        Arena {
            view,
            mapping: Arc::new(mapping),
            grower: None,
            backed: Areas::default(),
            serial: 0,
            span_hint: 0,
            rollbacks: Vec::new(),
            logged: Logged::new(),
            large_made: 0,
            watched: Off::NULL,
            is_short: false,
            buffers_taken: [false; 2],
            #[cfg(debug_assertions)]
            faults: Default::default(),
        }
    }

    fn attach(mapping: Mapping, user: u64) -> Result<Arena, OpenError> {
        // A copy: another process may own the arena and change its root.
        let mut bytes = [0; size_of::<Header>()];
        mapping.read_at(0, &mut bytes).map_err(|e| OpenError::system("read", e))?;
        // SAFETY: a record is valid for every bit pattern and has alignment 1.
        let header: Header = unsafe { bytes.as_ptr().cast::<Header>().read_unaligned() };
        let arena = Arena::wrap(mapping);
        let damaged = |why: String| Err(OpenError::Damaged { why });
        if header.magic != MAGIC {
            return damaged(format!("it begins with {:016x}", header.magic.to_native()));
        }
        if header.format != FORMAT {
            return damaged(format!(
                "its format is {}, this build reads {FORMAT}",
                header.format.to_native()
            ));
        }
        if header.complete != 1 {
            return damaged("its creation was never completed".into());
        }
        let (found, expected) = (header.fingerprint.to_native(), combined_fingerprint(user));
        if found != expected {
            return Err(OpenError::Fingerprint { found, expected });
        }
        if header.reserve.to_native() != arena.len() {
            return damaged(format!(
                "it was made with {} bytes and has {}: it was cut or extended",
                header.reserve.to_native(),
                arena.len()
            ));
        }
        Ok(arena)
    }

    fn initialise(mapping: Mapping, options: &Options) -> Result<Arena, OpenError> {
        let mut arena = Arena::wrap(mapping);
        let back = |start, length| {
            arena.mapping.back(start, length).map_err(|e| OpenError::system("fallocate", e))
        };
        back(0, layout::HEADER_SIZE)?;
        let header = Header {
            magic: U64::from_native(0),
            format: U32::from_native(FORMAT),
            complete: U32::from_native(0),
            fingerprint: U64::from_native(combined_fingerprint(options.fingerprint)),
            id: random(),
            reserve: U64::from_native(arena.len()),
            created_ns: U64::from_native(
                std::time::UNIX_EPOCH.elapsed().map(|d| d.as_nanos() as u64).unwrap_or(0),
            ),
            hash_key: random(),
            root: Slot::new(Off::NULL),
        };
        // SAFETY: the header page is mapped and backed, and nobody else knows this arena yet.
        unsafe { arena.base().cast::<Header>().write(header) };
        arena.word(header::READY_END).store(layout::HEAP, Ordering::Relaxed);
        arena.word(header::FRONTIER).store(layout::HEAP, Ordering::Relaxed);
        arena.set_cap(options.cap);
        if options.huge_pages && arena.mapping.advise_huge_pages().is_ok() {
            // The first one before anything of it is backed in another way.
            let granted = options.cap >= layout::HUGE_PAGE && arena.mapping.back_huge(layout::HEAP);
            arena
                .word(header::HUGE_PAGES)
                .store(u64::from(granted) * layout::HUGE_PAGE, Ordering::Relaxed);
        }
        alloc::initialise(&mut arena)
            .map_err(|_| OpenError::system("fallocate", nix::errno::Errno::ENOMEM))?;
        crate::undo::order();
        // SAFETY: as above.
        unsafe {
            let header = arena.base().cast::<Header>();
            (&raw mut (*header).complete).write(U32::from_native(1));
            crate::undo::order();
            (&raw mut (*header).magic).write(U64::from_native(MAGIC));
        }
        arena.start_grower(options.grow_ahead);
        Ok(arena)
    }

    /// Starts (or not) the thread that allocates memory ahead of need. Only an owner does.
    pub fn start_grower(&mut self, wanted: bool) {
        if wanted && self.grower.is_none() {
            self.grower = Grower::start(self.mapping.clone());
            self.wake_grower();
        }
    }

    /// Stops that thread and waits for it.
    pub fn stop_grower(&mut self) {
        self.grower = None;
    }

    pub(crate) fn wake_grower(&self) {
        if let Some(grower) = &self.grower {
            grower.wake();
        }
    }

    /// The file and its mapping.
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// The most bytes that may be backed.
    pub fn cap(&self) -> u64 {
        self.word(header::CAP).load(Ordering::Relaxed)
    }

    /// Sets the most bytes that may be backed. What is backed already stays.
    pub fn set_cap(&self, bytes: u64) {
        self.word(header::CAP).store(bytes, Ordering::Relaxed);
        self.wake_grower();
    }

    /// Takes back the unfinished transaction of an owner that died, and finishes its frees; forgets
    /// what this handle knew of the arena from before another process owned it. Does nothing else
    /// after a clean stop.
    ///
    /// May itself be cut off at any point and repeated.
    ///
    /// # Panics
    ///
    /// If the log is damaged, which [`create`](Arena::create) finds out before it comes to this;
    /// then nothing was changed.
    pub fn recover(&mut self) {
        (self.backed, self.span_hint, self.watched) = (Areas::default(), 0, Off::NULL);
        let word = self.log_state().load(Ordering::Relaxed);
        let state = State::decode(word);
        let mut refilled = Vec::new();
        if state.undo > 0 {
            refilled = self.undo_back_to(0, state.undo);
            crate::undo::order();
        }
        let frees = if state.freeing { state.frees } else { 0 };
        let clean = State { undo: 0, frees, ..state };
        self.log_state().store(clean.encode(), Ordering::Relaxed);
        crate::undo::order();
        self.even_payloads(state.which);
        self.punch_again(&refilled);
        if state.freeing {
            self.finish_frees(clean, true);
        }
    }

    /// Begins a transaction.
    ///
    /// # Panics
    ///
    /// If one is unfinished: the arena was taken over without [`recover`](Arena::recover).
    #[inline]
    pub fn begin(&mut self) -> Tx<'_> {
        Tx::begin(self)
    }

    pub(crate) fn view_mut(&mut self) -> &mut View {
        &mut self.view
    }

    /// Changes a hint, without a log.
    #[inline(always)]
    pub fn hint<T: Record>(&mut self, off: Off<Hint<T>>, value: T) {
        self.view.hint(off, value)
    }

    /// The bytes of a block from `from` to `to`, to be written from outside (read from a socket,
    /// say): bytes that are in use to nobody yet, so they are not logged.
    ///
    /// # Panics
    ///
    /// If the range leads outside of the mapping.
    pub fn spare_bytes(&mut self, block: Off<u8>, from: u64, to: u64) -> &mut [u8] {
        let place = self.place(block.raw() + from, to - from);
        // SAFETY: within the mapping; `&mut self` rules out other references into it.
        unsafe { std::slice::from_raw_parts_mut(place, (to - from) as usize) }
    }

    /// Runs `change` as one transaction and commits it with the current payload.
    pub fn transact<R>(
        &mut self,
        change: impl FnOnce(&mut Tx<'_>) -> Result<R, OutOfMemory>,
    ) -> Result<R, OutOfMemory> {
        let payload = self.payload();
        let mut tx = self.begin();
        let result = change(&mut tx)?;
        tx.commit(&payload);
        Ok(result)
    }

    /// Backs a range of an executor area.
    pub(crate) fn back_area(&self, start: u64, length: u64) -> Result<(), OutOfMemory> {
        self.mapping.back(start, length).map_err(|_| OutOfMemory)
    }
}

fn round_reserve(reserve: u64) -> u64 {
    let reserve = reserve.clamp(layout::HEAP + layout::REGION, layout::MAX_RESERVE);
    layout::HEAP + (reserve - layout::HEAP).div_ceil(layout::REGION) * layout::REGION
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        // SAFETY: the destination is valid for the remaining length.
        let got = unsafe { libc::getrandom(bytes[filled..].as_mut_ptr().cast(), N - filled, 0) };
        assert!(
            got >= 0 || std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        );
        filled += got.max(0) as usize;
    }
    bytes
}
