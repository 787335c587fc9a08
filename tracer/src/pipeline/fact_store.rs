//! The findings of userspace so far, and the parts of them that reports may show.

use bytes::Bytes;
use jiff::Timestamp;

use super::decode::decode;
use crate::{
    enrich::privacy::Privacy,
    model::{
        events::Event,
        facts::{Fact, Findings},
        host::Host,
    },
};

/// Findings for reports, kept as the user's privacy settings allow.
#[derive(Default)]
pub(super) struct FactStore {
    pub(super) findings: Findings,
    pub(super) privacy: Privacy,
}

impl FactStore {
    pub(super) fn new(privacy: Privacy) -> Self {
        Self { findings: Findings::default(), privacy }
    }

    /// Whether a recording may keep this record as it is.
    pub(super) fn admits(&self, record: &Bytes) -> bool {
        !self.privacy.no_cmdline
            || decode(record).is_ok_and(|mut event| self.privacy.passes(&mut event))
    }

    /// Whether reports may use this event; removes the parts that they may not.
    pub(super) fn passes(&self, event: &mut Event) -> bool {
        self.privacy.passes(event)
    }

    /// Adds a fact; returns it if it is none that reports look up. `is_open`: whether a report on
    /// this invocation may still be made. An answer that comes too late for it would stay for ever.
    pub(super) fn add(&mut self, fact: Fact, is_open: impl Fn(u64) -> bool) -> Option<Fact> {
        let findings = &mut self.findings;
        match fact {
            Fact::Symbol { ip, symbol } => {
                findings.symbols.insert(ip, symbol);
            }
            Fact::CgroupPath { id, path } => {
                findings.cgroup_paths.insert(id, path);
            }
            Fact::User { uid, name } => {
                findings.users.insert(uid, name);
            }
            Fact::Container { key, names } => {
                findings.containers.insert(key, *names);
            }
            Fact::CgroupMaker { path, uid } => {
                findings.cgroup_makers.insert(path, uid);
            }
            Fact::Process { seq, .. }
            | Fact::LookupsRefused { seq, .. }
            | Fact::UserNames { seq, .. }
            | Fact::NamesAwaited { seq }
                if !is_open(seq) => {}
            Fact::LookupsRefused { seq, kinds } => findings.refuse(seq, &kinds),
            Fact::Process { seq, pid, files } => {
                findings.processes.insert((seq, pid), self.privacy.clean(files));
            }
            Fact::UserNames { seq, pid, names } => {
                findings.user_names.change((seq, pid), |known| {
                    known.offsets.extend(names.offsets);
                    known.addresses.extend(names.addresses);
                });
            }
            Fact::RealtimeOffset(offset) => findings.realtime_offset_ns = Some(offset),
            other => return Some(other),
        }
        None
    }

    /// The wall clock at this `CLOCK_BOOTTIME`, ns.
    pub(super) fn time(&self, host: &Host, boottime_ns: u64) -> Timestamp {
        let offset = self.findings.realtime_offset_ns.unwrap_or(host.realtime_offset_ns);
        let ns = i128::from(boottime_ns) + i128::from(offset);
        // Out of range only with a wall clock beyond the year 9999.
        Timestamp::from_nanosecond(ns).unwrap_or(Timestamp::MAX)
    }
}
