//! Arbitrary bytes decode to an event or an error.

use oomwhy_common::event::kind;
use proptest::{
    collection::vec,
    prelude::{any, proptest},
};

use super::{
    super::decode,
    wire::{header, records},
};

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn arbitrary_bodies_of_every_kind_never_panic(
        kind in 0..kind::LAST + 2,
        valid in any::<u64>(),
        body in vec(any::<u8>(), 0..4500),
    ) {
        let mut record = header(kind, body.len());
        record[16..24].copy_from_slice(&valid.to_le_bytes());
        record.extend(body);
        let _ = decode(&record);
    }

    #[test]
    fn record_with_arbitrary_damage_never_panics(
        which in 0..records().len(),
        damage in vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        let (_, mut record) = records().swap_remove(which);
        for (position, byte) in damage {
            let length = record.len();
            record[position % length] = byte;
        }
        let _ = decode(&record);
    }
}
