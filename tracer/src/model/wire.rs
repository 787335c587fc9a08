//! Reads the structs of `oomwhy_common` from the bytes of a record.

use zerocopy::{FromBytes, IntoBytes};

/// The struct at the start of a record, and the bytes that follow it.
///
/// A record of an older wire version may end before the struct does. The missing fields are 0, and
/// their validity bits are clear.
pub(crate) fn head<T: FromBytes + IntoBytes>(bytes: &[u8]) -> (T, &[u8]) {
    let (known, rest) = bytes.split_at(bytes.len().min(size_of::<T>()));
    let mut value = T::new_zeroed();
    value.as_mut_bytes().iter_mut().zip(known).for_each(|(byte, &known)| *byte = known);
    (value, rest)
}
