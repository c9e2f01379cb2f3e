//! Typed offsets: what a pointer would be if an arena were mapped at one address only.

use std::fmt;
use std::marker::PhantomData;

use rkyv::Portable;
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Fallible;

use crate::record::{FieldLayout, Record, TypeLayout, U64};

/// The distance in bytes from the start of the arena to a `T`; zero is the null offset.
///
/// An offset is a plain number: it can be stored in the arena, copied and compared, and means the
/// same in every process. Whether it leads to a `T` is the business of whoever made it; reading
/// through a wrong one gives wrong bytes but never leaves the mapping.
#[repr(transparent)]
pub struct Off<T> {
    raw: U64,
    to: PhantomData<fn() -> T>,
}

impl<T> Off<T> {
    /// The offset that leads nowhere.
    pub const NULL: Self = Off::new(0);

    /// The offset of the byte number `raw`.
    pub const fn new(raw: u64) -> Self {
        Off { raw: U64::from_native(raw), to: PhantomData }
    }

    /// The number of the first byte.
    #[inline(always)]
    pub const fn raw(self) -> u64 {
        self.raw.to_native()
    }

    /// Whether this is the null offset.
    #[inline(always)]
    pub const fn is_null(self) -> bool {
        self.raw() == 0
    }

    /// The same place, seen as another type.
    #[inline(always)]
    pub const fn cast<U>(self) -> Off<U> {
        Off::new(self.raw())
    }

    /// The place `bytes` bytes further on, seen as another type.
    #[inline(always)]
    pub const fn byte_add<U>(self, bytes: u64) -> Off<U> {
        Off::new(self.raw() + bytes)
    }

    /// The `index`th element of an array of `T` that starts here.
    #[inline(always)]
    pub const fn nth(self, index: u64) -> Off<T> {
        Off::new(self.raw() + index * size_of::<T>() as u64)
    }

    /// A field of the record; use the [`field!`](crate::field) macro, which fills in the distance.
    #[inline(always)]
    pub fn project<F>(self, distance: usize, _which: fn(&T) -> &F) -> Off<F> {
        Off::new(self.raw() + distance as u64)
    }
}

/// The typed offset of a field: `field!(off, Record.name)`.
#[macro_export]
macro_rules! field {
    ($off:expr, $record:ident . $field:ident) => {
        $off.project(::core::mem::offset_of!($record, $field), |r: &$record| &r.$field)
    };
}

impl<T> Clone for Off<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Off<T> {}
impl<T> PartialEq for Off<T> {
    fn eq(&self, other: &Self) -> bool {
        self.raw() == other.raw()
    }
}
impl<T> Eq for Off<T> {}
impl<T> PartialOrd for Off<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Off<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.raw().cmp(&other.raw())
    }
}
impl<T> std::hash::Hash for Off<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.raw().hash(state);
    }
}
impl<T> Default for Off<T> {
    fn default() -> Self {
        Off::NULL
    }
}
impl<T> fmt::Debug for Off<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:#x}", self.raw())
    }
}

// SAFETY: a transparent wrapper of a little-endian integer; `PhantomData` has no bytes.
unsafe impl<T> Portable for Off<T> {}

// SAFETY: every bit pattern is an offset; what it leads to is checked by whoever follows it.
unsafe impl<T, C: Fallible + ?Sized> CheckBytes<C> for Off<T> {
    unsafe fn check_bytes(_: *const Self, _: &mut C) -> Result<(), C::Error> {
        Ok(())
    }
}

// SAFETY: as above: a plain integer without padding.
unsafe impl<T: 'static> Record for Off<T> {
    const LAYOUT: TypeLayout = TypeLayout::new(
        "Off",
        8,
        1,
        &[FieldLayout { name: "raw", ty: "u64", offset: 0, size: 8, hash: 0 }],
    );
}
