//! Records that are complete, cut off, inconsistent or random.

mod random;
mod validity;
mod whole;
mod wire;

use std::mem::offset_of;

use oomwhy_common::event::{CandidatesHead, ContextHead, EventHeader, LevelsHead, PathHead, kind};

use self::wire::{candidates, header, levels, path, records};
use super::{Malformed, decode};

#[test]
fn record_cut_off_anywhere_is_malformed() {
    for (name, record) in records() {
        for length in 0..record.len() {
            let error = decode(&record[..length]).unwrap_err();
            assert_eq!(error, Malformed::Short { length }, "{name}, {length} bytes");
        }
        assert!(decode(&record).is_ok(), "{name}");
    }
}

/// The record as a version wrote it whose struct was `length` bytes long. It knew none of the
/// optional groups.
fn older(record: &[u8], length: usize) -> Vec<u8> {
    let mut older = record[..length].to_vec();
    let (valid, size) = (offset_of!(EventHeader, valid), offset_of!(EventHeader, size));
    older[valid..valid + 8].fill(0);
    older[size..size + 4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    older
}

#[test]
fn record_of_older_version_is_filled_with_zeros() {
    for (name, record) in records() {
        // Bytes after the head of a list are counted by the head.
        let fixed = match name {
            "candidates" => offset_of!(CandidatesHead, recorded),
            "levels" => offset_of!(LevelsHead, recorded),
            "path" => offset_of!(PathHead, len),
            "cmdline" | "exe" | "parents" | "stack" => offset_of!(ContextHead, len),
            _ => record.len(),
        };
        for length in size_of::<EventHeader>()..=fixed {
            let older = older(&record, length);
            let padded = [older.as_slice(), &[0; 4096]].concat();
            assert!(decode(&older).is_ok(), "{name}, {length} bytes");
            assert_eq!(decode(&older), decode(&padded), "{name}, {length} bytes");
        }
    }
}

#[test]
fn record_shorter_than_a_header_is_malformed() {
    for (name, record) in records() {
        for length in 0..size_of::<EventHeader>() {
            let error = decode(&record[..length]).unwrap_err();
            assert_eq!(error, Malformed::Short { length }, "{name}");
        }
    }
}

#[test]
fn record_of_newer_version_is_read_as_far_as_known() {
    for (name, record) in records() {
        let longer = [record.as_slice(), &[0xa5; 24]].concat();
        assert_eq!(decode(&longer), decode(&record), "{name}");
    }
}

#[test]
fn unknown_kind_is_named_whatever_its_body() {
    for unknown in [0, kind::LAST + 1, u32::MAX] {
        for body in [0, 8, 5000] {
            let mut record = header(unknown, 0);
            record.extend(vec![0xff; body]);
            assert_eq!(decode(&record), Err(Malformed::UnknownKind(unknown)));
        }
    }
}

#[test]
fn count_past_the_end_of_the_record_is_malformed() {
    let heads = [
        (candidates(2), size_of::<EventHeader>()),
        (levels(2), size_of::<LevelsHead>() - 8),
        (path(b"app\0"), size_of::<PathHead>() - 8),
    ];
    for (record, position) in heads {
        let actual = u32::from_le_bytes(record[position..position + 4].try_into().unwrap());
        for announced in [actual + 1, 4097, i32::MAX.unsigned_abs(), u32::MAX] {
            let mut too_large = record.clone();
            too_large[position..position + 4].copy_from_slice(&announced.to_le_bytes());
            assert_eq!(decode(&too_large), Err(Malformed::Count { announced }));
        }
        // A smaller count only hides the rest.
        let mut too_small = record.clone();
        too_small[position..position + 4].copy_from_slice(&[0; 4]);
        assert!(decode(&too_small).is_ok());
    }
    assert_eq!(size_of::<CandidatesHead>(), size_of::<EventHeader>() + 8);
}
