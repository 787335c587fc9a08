//! Composes the records about what was lost and what was not seen. Pure.

use super::{fact_store::FactStore, gaps::Gap};
use crate::{
    host::cgroupfs::kill_counter::CountedCgroup,
    model::{
        host::Host,
        record_id,
        report::{
            Cgroup, GapReport, LossReason, LossReport, LossStage, Record, RecordId, SCHEMA, Tier,
        },
    },
};

/// Records that were lost for one reason.
#[derive(Default)]
pub(super) struct LostRecords {
    pub stage: Option<LossStage>,
    pub name: Option<String>,
    pub reason: Option<LossReason>,
    pub count: u64,
}

impl LostRecords {
    /// The record of this loss, which was first and last detected at these times, `CLOCK_BOOTTIME`
    /// ns.
    pub(super) fn record(self, host: &Host, facts: &FactStore, detected_ns: [u64; 2]) -> Record {
        let Self { stage, name, reason, count } = self;
        let [_, last_ns] = detected_ns;
        let what = (stage, reason, name.as_deref());
        let id = record_id::loss(host.boot_id.as_deref(), last_ns, what);
        let [first, last] = detected_ns.map(|ns| facts.time(host, ns));
        Record::Loss(LossReport {
            schema: SCHEMA,
            number: RecordId::new(id),
            tier: (host.tier == Tier::Kmsg).then_some(Tier::Kmsg),
            host: host.hostname.clone(),
            boot_id: host.boot_id.clone(),
            stage,
            name,
            reason,
            count,
            first,
            last,
        })
    }
}

/// The record of a gap, in the counter of the host or of a cgroup.
pub(super) fn gap(
    host: &Host,
    facts: &FactStore,
    gap: Gap,
    cgroup: Option<CountedCgroup>,
) -> Record {
    let Gap { expected, seen, drops, since_ns, at_ns } = gap;
    let cgroup_id = cgroup.as_ref().map(|cgroup| cgroup.id);
    let id = record_id::gap(host.boot_id.as_deref(), at_ns, cgroup_id);
    Record::Gap(GapReport {
        schema: SCHEMA,
        number: RecordId::new(id),
        time: Some(facts.time(host, at_ns)),
        host: host.hostname.clone(),
        boot_id: host.boot_id.clone(),
        cgroup: cgroup.map(|CountedCgroup { id, path }| Cgroup {
            id: Some(id.to_string()),
            path: Some(path),
            ..Cgroup::default()
        }),
        expected,
        seen,
        drops: Some(drops),
        since: facts.time(host, since_ns),
    })
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet, fs, rc::Rc};

    use bytes::Bytes;
    use serde::Serialize;

    use crate::{
        model::{
            account::Account,
            facts::{Fact, Findings},
            host::Host,
            report::{LossReason, LossReport, LossStage, Record, Tier},
        },
        pipeline::{
            FactSource, Pipeline, PipelineConfig,
            sink::{Outputs, Sink, SinkError},
        },
    };

    struct Losses(Rc<RefCell<Vec<LossReport>>>);

    impl Sink for Losses {
        fn write(&mut self, record: &Record) -> Result<(), SinkError> {
            let Record::Loss(loss) = record else { panic!("{record:?}") };
            self.0.borrow_mut().push(loss.clone());
            Ok(())
        }
    }

    struct NoSource;

    impl FactSource for NoSource {
        fn find(&mut self, _: &Account, _: &mut Findings) {}
    }

    fn pipeline() -> (Pipeline, Rc<RefCell<Vec<LossReport>>>) {
        let losses = Rc::default();
        let mut outputs = Outputs::default();
        outputs.add(Losses(Rc::clone(&losses)));
        let config = PipelineConfig::new(Host::of_tier(Tier::Fentry), outputs);
        (Pipeline::new(config), losses)
    }

    #[test]
    fn undecodable_records_are_reported_with_the_next_tick() {
        let (mut pipeline, losses) = pipeline();
        for _ in 0..3 {
            let record = Bytes::from_static(b"no record");
            pipeline.handle_record(&record, &mut NoSource).unwrap();
        }
        for now_ns in [7, 8] {
            pipeline.learn(Fact::Tick(now_ns)).unwrap();
        }
        let losses = losses.borrow();
        let [loss] = losses.as_slice() else { panic!("{losses:?}") };
        assert_eq!((loss.stage, loss.count), (Some(LossStage::Decode), 3));
    }

    #[test]
    fn dropped_look_ups_are_reported_with_their_reason() {
        let (mut pipeline, losses) = pipeline();
        let (stage, reason) = (LossStage::Helper, Some(LossReason::HelpersHang));
        let dropped = Fact::Dropped { stage, reason, count: 2, since_ns: 1, at_ns: 9 };
        pipeline.learn(dropped).unwrap();
        let losses = losses.borrow();
        let [loss] = losses.as_slice() else { panic!("{losses:?}") };
        assert_eq!((loss.stage, loss.reason, loss.count), (Some(stage), reason, 2));
    }

    /// Words in code type in a column of the table of losses.
    fn column(index: usize) -> BTreeSet<String> {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reliability.md");
        let page = fs::read_to_string(page).unwrap();
        let rows = page.lines().skip_while(|line| !line.starts_with("| place ")).skip(2);
        let cells = rows
            .take_while(|line| line.starts_with('|'))
            .map(|row| row.split('|').nth(index).unwrap());
        let words = cells.filter(|cell| !cell.contains("absent"));
        words.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
    }

    fn words(all: &[impl Serialize]) -> BTreeSet<String> {
        let word = |it| serde_json::to_value(it).unwrap().as_str().unwrap().to_owned();
        all.iter().map(word).collect()
    }

    #[test]
    fn page_lists_every_stage_and_reason() {
        assert_eq!(column(2), words(&LossStage::ALL));
        assert_eq!(column(3), words(&LossReason::ALL));
    }

    /// A row names a scenario of tests/src/scenarios, or a test of this crate.
    #[test]
    fn page_names_tests_that_exist() {
        let crate_dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = String::new();
        let mut folders =
            ["src", "tests", "../tests/src/scenarios"].map(|it| crate_dir.join(it)).to_vec();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    sources.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
                }
            }
        }
        for name in column(6) {
            let is_test = sources.contains(&format!("fn {name}()"));
            assert!(is_test || sources.contains(&format!("name: \"{name}\"")), "{name}");
        }
    }
}
