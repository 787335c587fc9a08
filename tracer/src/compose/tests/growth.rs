//! What the recorder had, in bytes and rates.

use super::{kill, report};
use crate::{
    assemble::Account,
    growth::{Place, Recorded, Usage},
};

const SECOND: u64 = 1_000_000_000;

fn recorded() -> Recorded {
    let usage = |second: u64, usage| Usage { t_ns: second * SECOND, usage, max: 1000 };
    Recorded {
        curve: vec![usage(10, 100), usage(70, 700), usage(100, 1000)],
        places: vec![
            Place { pages: 600, tgid: 100, comm: b"thread".to_vec(), ..Place::default() },
            Place { pages: 64, tgid: 0, comm: b"swapper".to_vec(), ..Place::default() },
        ],
        pages: 1000,
        unwound_pages: 250,
        pushed_out: 0,
        dropped: 0,
    }
}

fn grown(recorded: Recorded) -> Account {
    Account { growth: Some(Box::new(recorded)), ..kill() }
}

#[test]
fn pages_become_bytes_and_points_rates() {
    let growth = report(&grown(recorded())).growth.unwrap();
    let usages: Vec<u64> = growth.curve.iter().map(|point| point.usage_bytes).collect();
    assert_eq!(usages, [409_600, 2_867_200, 4_096_000]);
    let rate = growth.rate_bytes_per_s.unwrap();
    assert_eq!((rate.last_minute, rate.whole), (Some(40_960), Some(40_960)));
    assert_eq!(growth.unwound_share, Some(0.25));
    // Two thirds of it within an eighth of the time.
    assert_eq!(growth.kind.as_deref(), Some("burst"));
}

#[test]
fn a_process_has_its_own_name_and_what_is_nobodys_has_none() {
    let report = report(&grown(recorded()));
    let victim = report.victims.first().unwrap();
    let [own, behalf] = report.growth.unwrap().stacks.try_into().unwrap();
    assert_eq!((own.pid, &own.comm), (Some(100), &victim.comm));
    assert_eq!((behalf.pid, behalf.comm, behalf.bytes), (None, None, 262_144));
}

#[test]
fn what_found_no_room_is_said() {
    let missing = |recorded| {
        let missing = report(&grown(recorded)).source.missing;
        missing.into_iter().filter(|it| it.field == "growth.stacks").count()
    };
    assert_eq!(missing(recorded()), 0);
    assert_eq!(missing(Recorded { pushed_out: 3, ..recorded() }), 1);
    assert_eq!(missing(Recorded { dropped: 1, ..recorded() }), 1);
}

#[test]
fn without_a_recorder_there_is_no_key() {
    assert_eq!(report(&kill()).growth, None);
}
