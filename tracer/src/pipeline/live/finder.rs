//! What a live run finds out on this host besides the records, for its reports and its recording.

use std::collections::btree_map::Entry;

use crate::{
    enrich::{finder::Enrichment, privacy::Privacy, stack_finder::StackFinder},
    growth::{self},
    host::{cgroupfs::paths::CgroupPaths, clock, procfs::system::SystemFiles},
    model::{
        account::{Account, Stage},
        events::{Body, Event},
        facts::{Fact, Findings},
        recorded_growth::{Chosen, Recorded},
        report::System,
    },
    pipeline::FactSource,
    symbolize::kernel::KernelSymbols,
};

/// Finds facts on this host and notes them in the recording.
pub(super) struct Finder {
    pub(super) symbols: KernelSymbols,
    pub(super) enrichment: Enrichment,
    pub(super) stacks: StackFinder,
    pub(super) cgroup_paths: Option<CgroupPaths>,
    pub(super) system: Option<SystemFiles>,
    pub(super) growth: Option<growth::Recorder>,
    pub(super) found: Vec<Fact>,
}

impl FactSource for Finder {
    fn find(&mut self, account: &Account, findings: &mut Findings) {
        let stack = account.invocation.as_ref().and_then(|it| it.kernel_stack.as_deref());
        for (ip, symbol) in self.symbols.resolve(stack.unwrap_or_default()) {
            if let Entry::Vacant(entry) = findings.symbols.entry(ip) {
                self.found.push(Fact::Symbol { ip, symbol: symbol.clone() });
                entry.insert(symbol);
            }
        }
        let Some(paths) = &mut self.cgroup_paths else {
            return;
        };
        for id in account.cgroup_ids() {
            if account.paths.contains_key(&id) || findings.cgroup_paths.contains_key(&id) {
                continue;
            }
            if let Some(path) = paths.get(id) {
                self.found.push(Fact::CgroupPath { id, path: path.clone() });
                findings.cgroup_paths.insert(id, path);
            }
        }
    }

    fn system(&mut self, seq: u64) -> Option<(u64, System)> {
        // Files that were there at the start and cannot be read now: the report goes without.
        let memory = self.system.as_mut()?.read().ok()?;
        let at_ns = clock::boottime_ns();
        self.found.push(Fact::System { seq, at_ns, memory: Box::new(memory.clone()) });
        Some((at_ns, memory))
    }

    fn note(&mut self, event: &Event) {
        if let (Body::CgroupMade(made), Some(paths)) = (&event.body, &mut self.cgroup_paths) {
            paths.made(made.id, made.parent_id);
        }
        self.enrichment.note(event);
        self.stacks.note(event);
    }

    fn enrich(&mut self, account: &Account, privacy: &Privacy, findings: &mut Findings) {
        self.found.extend(self.enrichment.find(account, privacy, findings));
        if account.stage != Stage::Provisional {
            self.enrichment.forget(account.seq);
            self.stacks.forget(account.seq);
        }
    }

    fn growth(&mut self, seq: u64, oom_memcg: u64, chosen: Chosen) -> Option<Box<Recorded>> {
        let growth::Read { recorded, growers } = self.growth.as_ref()?.read(oom_memcg, chosen)?;
        self.stacks.grown(seq, &growers);
        self.stacks.stacks.ask_kernel(seq, recorded.kernel_ips().into_iter().collect());
        let recorded = Box::new(recorded);
        self.found.push(Fact::Growth { seq, recorded: recorded.clone() });
        Some(recorded)
    }

    fn grows(&mut self, tgid: i32) {
        if let Ok(pid) = u32::try_from(tgid) {
            self.stacks.stacks.grows(pid);
        }
    }
}
