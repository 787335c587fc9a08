//! Finds the facts on this host that reports need besides the records.

use crate::{
    enrich::{
        enrichment::{Enrichment, new_refusals},
        kernel_lookup::KernelLookup,
        privacy::Privacy,
        stack_symbolizer::StackSymbolizer,
    },
    growth,
    host::{cgroupfs::paths::CgroupPaths, clock, procfs::system::SystemFiles},
    model::{
        account::{Account, Stage},
        events::{Body, Event},
        facts::{Fact, Findings},
        recorded_growth::{Chosen, Recorded},
        report::System,
    },
    pipeline::FactSource,
};

/// Finds facts on this host.
pub(super) struct LiveFacts {
    pub(super) symbols: KernelLookup,
    pub(super) enrichment: Enrichment,
    pub(super) stacks: StackSymbolizer,
    pub(super) cgroup_paths: Option<CgroupPaths>,
    pub(super) system: Option<SystemFiles>,
    pub(super) growth: Option<growth::Recorder>,
    /// New facts, for the recording.
    pub(super) found: Vec<Fact>,
}

impl LiveFacts {
    /// Number of look-ups' results that had to make room so far.
    pub(super) fn n_evicted(&self) -> u64 {
        let paths = self.cgroup_paths.as_ref().map_or(0, CgroupPaths::n_evicted);
        paths + self.symbols.n_evicted() + self.enrichment.n_evicted() + self.stacks.n_evicted()
    }
}

impl FactSource for LiveFacts {
    fn find(&mut self, account: &Account, findings: &mut Findings) {
        let invocation = account.invocation();
        let record = invocation.and_then(|it| it.invocation.as_ref());
        let stack = record.and_then(|it| it.kernel_stack.as_deref()).unwrap_or_default();
        let (symbols, late) = self.symbols.resolve(stack);
        // The final report waits for them.
        self.stacks.requests.ask_kernel(account.seq(), late);
        for (ip, symbol) in symbols {
            if !findings.symbols.contains_key(&ip) {
                self.found.push(Fact::Symbol { ip, symbol: symbol.clone() });
                findings.symbols.insert(ip, symbol);
            }
        }
        let Some(paths) = &mut self.cgroup_paths else {
            return;
        };
        for id in account.cgroup_ids() {
            let is_known = invocation.is_some_and(|it| it.paths.contains_key(&id));
            if is_known || findings.cgroup_paths.contains_key(&id) {
                continue;
            }
            if let Some(path) = paths.get(id) {
                self.found.push(Fact::CgroupPath { id, path: path.clone() });
                findings.cgroup_paths.insert(id, path);
            }
        }
    }

    fn system(&mut self, seq: u64) -> Option<(u64, System)> {
        // If files that were there at the start cannot be read now, the report goes without them.
        let memory = self.system.as_mut()?.read().ok()?;
        let at_ns = clock::boottime_ns();
        self.found.push(Fact::System { seq, at_ns, memory: Box::new(memory.clone()) });
        Some((at_ns, memory))
    }

    fn note(&mut self, event: &Event) {
        if let (Body::CgroupMade(made), Some(paths)) = (&event.body, &mut self.cgroup_paths) {
            paths.made(made.id, made.parent_id);
        }
        if let Body::Invocation(invocation) = &event.body {
            self.symbols.ask(invocation.kernel_stack.as_deref().unwrap_or_default());
        }
        self.enrichment.note(event);
        self.stacks.note(event);
    }

    fn enrich(&mut self, account: &Account, privacy: &Privacy, findings: &mut Findings) {
        self.found.extend(self.enrichment.find(account, privacy, findings));
        let refused = self.stacks.requests.refused(account.seq());
        self.found.extend(new_refusals(account.seq(), refused, findings));
        if account.stage() != Stage::Provisional {
            self.enrichment.forget(account.seq());
            self.stacks.forget(account.seq());
        }
    }

    fn growth(&mut self, seq: u64, oom_memcg: u64, chosen: Chosen) -> Option<Box<Recorded>> {
        let growth::Read { recorded, growing } = self.growth.as_ref()?.read(oom_memcg, chosen)?;
        self.stacks.ask_growing(seq, oom_memcg, &growing);
        self.stacks.requests.ask_kernel(seq, recorded.kernel_ips().into_iter().collect());
        let recorded = Box::new(recorded);
        self.found.push(Fact::Growth { seq, recorded: recorded.clone() });
        Some(recorded)
    }

    fn growing_process(&mut self, tgid: i32) {
        if let Ok(pid) = u32::try_from(tgid) {
            self.stacks.requests.open_growing(pid);
        }
    }
}
