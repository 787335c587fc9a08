//! Records that are complete, cut off, inconsistent or random.

mod random;
mod validity;
mod whole;
mod wire;

use std::mem::offset_of;

use oomwhy_common::event::{
    CandidateEntry, CandidatesHead, ContextHead, EventHeader, LevelsHead, PathHead, kind,
};
use zerocopy::IntoBytes as _;

use self::wire::{candidates, entry, header, levels, path, records};
use super::{Malformed, decode, head, list};

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

/// The record as written by a version with a struct of `length` bytes, without optional groups.
fn older(record: &[u8], length: usize) -> Vec<u8> {
    let mut older = resized(record, length);
    older[offset_of!(EventHeader, valid)..][..8].fill(0);
    older
}

/// The record cut off or filled with zeros, with a header that says so.
fn resized(record: &[u8], length: usize) -> Vec<u8> {
    let mut resized = record.to_vec();
    resized.resize(length, 0);
    let size = u32::try_from(length).unwrap();
    resized[offset_of!(EventHeader, size)..][..4].copy_from_slice(&size.to_le_bytes());
    resized
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
            let padded = resized(&older, record.len());
            assert!(decode(&older).is_ok(), "{name}, {length} bytes");
            assert_eq!(decode(&older), decode(&padded), "{name}, {length} bytes");
        }
    }
}

#[test]
fn entries_of_another_version_are_read_as_far_as_they_are_known() {
    let (entry, oldest) = (entry(3).as_bytes().to_vec(), 88);
    for size in [oldest, entry.len(), entry.len() + 8] {
        let mut bytes = entry.clone();
        bytes.resize(size, 0xa5);
        let (known, _) = head::<CandidateEntry>(&bytes);
        let entries = list::<CandidateEntry>(&bytes.repeat(3), 3, oldest).unwrap();
        assert_eq!(entries.len(), 3);
        assert!(entries.iter().all(|it| it.as_bytes() == known.as_bytes()), "{size}");
    }
    let older = list::<CandidateEntry>(&entry[..oldest], 1, oldest).unwrap();
    assert_eq!((older[0].order, &older[0].comm[8..]), (3, &[0; 8][..]));
    for (size, count) in [(oldest - 8, 1), (oldest * 2 - 1, 2), (oldest * 2, 3)] {
        let error = list::<CandidateEntry>(&vec![1; size], count, oldest).unwrap_err();
        assert_eq!(error, Malformed::Count { announced: count }, "{size}");
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
