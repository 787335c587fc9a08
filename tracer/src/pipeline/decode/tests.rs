//! Records as the probes write them; whole, cut off, lying and random.

mod random;
mod validity;
mod whole;
mod wire;

use oomwhy_common::event::{CandidatesHead, EventHeader, LevelsHead, PathHead, kind};

use self::wire::{candidates, header, levels, path, records};
use super::{Malformed, decode};

#[test]
fn a_record_cut_off_anywhere_is_malformed_and_not_half_an_event() {
    for (name, record) in records() {
        for length in 0..record.len() {
            let error = decode(&record[..length]).unwrap_err();
            let expected = match (error.clone(), name) {
                // The head is whole, its entries are not.
                (
                    Malformed::Count { announced },
                    "candidates" | "levels" | "path" | "cmdline" | "exe" | "parents" | "stack",
                ) => Malformed::Count { announced },
                _ => Malformed::Short { length },
            };
            assert_eq!(error, expected, "{name}, {length} bytes");
        }
        assert!(decode(&record).is_ok(), "{name}");
    }
}

#[test]
fn a_record_longer_than_known_is_read_as_far_as_it_is_known() {
    for (name, record) in records() {
        let longer = [record.as_slice(), &[0xa5; 24]].concat();
        assert_eq!(decode(&longer), decode(&record), "{name}");
    }
}

#[test]
fn an_unknown_kind_is_named_whatever_follows_the_header() {
    for unknown in [0, kind::LAST + 1, u32::MAX] {
        for body in [0, 8, 5000] {
            let mut record = header(unknown, 0);
            record.extend(vec![0xff; body]);
            assert_eq!(decode(&record), Err(Malformed::UnknownKind(unknown)));
        }
    }
}

#[test]
fn a_count_that_points_past_the_record_is_refused() {
    let heads = [
        (candidates(2), size_of::<EventHeader>()),
        (levels(2), size_of::<LevelsHead>() - 8),
        (path(b"app\0"), size_of::<PathHead>() - 8),
    ];
    for (record, position) in heads {
        let honest = u32::from_le_bytes(record[position..position + 4].try_into().unwrap());
        for announced in [honest + 1, 4097, i32::MAX.unsigned_abs(), u32::MAX] {
            let mut lying = record.clone();
            lying[position..position + 4].copy_from_slice(&announced.to_le_bytes());
            assert_eq!(decode(&lying), Err(Malformed::Count { announced }));
        }
        // A count below what is there only hides the rest.
        let mut modest = record.clone();
        modest[position..position + 4].copy_from_slice(&[0; 4]);
        assert!(decode(&modest).is_ok());
    }
    assert_eq!(size_of::<CandidatesHead>(), size_of::<EventHeader>() + 8);
}
