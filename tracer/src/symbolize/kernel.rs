//! Names for addresses of the kernel, by blazesym over /proc/kallsyms.
//!
//! blazesym keeps the whole symbol table once it has read it: 5 to 15 MB that a tracer must not
//! hold on a host that is short of memory. So a short-lived child of ours reads it, and answers are
//! kept: OOM stacks are much alike, and a child is needed only for an address never seen.

use std::{collections::BTreeMap, io};

use blazesym::{
    MaybeDefault,
    symbolize::{Input, Symbolized, Symbolizer, source},
};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{model::names::Symbol, symbolize::helper_process};

/// Known addresses; bounded, the kernel has few ways into the OOM killer.
const MAX_KNOWN: usize = 4096;
/// The hidden command by which the child is started.
pub(crate) const CHILD_COMMAND: &str = "kernel-symbols";
/// Seconds of CPU that the child may take: it must never hold up the next report for long.
const CHILD_SECONDS: u64 = 10;

/// Resolves addresses of the running kernel.
#[derive(Debug, Default)]
pub(crate) struct KernelSymbols {
    known: BTreeMap<u64, Option<Symbol>>,
}

impl KernelSymbols {
    /// The symbols of `ips`; those without one are left out.
    pub(crate) fn resolve(&mut self, ips: &[u64]) -> BTreeMap<u64, Symbol> {
        let unknown: Vec<u64> =
            ips.iter().copied().filter(|ip| !self.known.contains_key(ip)).collect();
        if !unknown.is_empty() {
            self.learn(&unknown);
        }
        let known = |&ip: &u64| Some((ip, self.known.get(&ip)?.clone()?));
        ips.iter().filter_map(known).collect()
    }

    /// Without a child (no memory for one) the report has addresses, and the next one tries again.
    fn learn(&mut self, ips: &[u64]) {
        if self.known.len() + ips.len() > MAX_KNOWN {
            self.known.clear();
        }
        if let Ok(symbols) = helper_process::ask::<Vec<Option<Symbol>>>(CHILD_COMMAND, &ips) {
            self.known.extend(ips.iter().copied().zip(symbols));
        }
    }
}

/// The child: addresses on stdin, symbols on stdout, both JSON lists.
pub(crate) fn answer(input: impl io::Read, mut output: impl io::Write) -> io::Result<()> {
    helper_process::take_name();
    let limit = Rlimit { current: Some(CHILD_SECONDS), maximum: Some(CHILD_SECONDS) };
    // A bound on damage, not a condition.
    let _ = setrlimit(Resource::Cpu, limit);
    let ips: Vec<u64> = serde_json::from_reader(input)?;
    serde_json::to_writer(&mut output, &look_up(&ips))?;
    output.flush()
}

/// One symbol per address. Without readable kallsyms (kptr_restrict, no CAP_SYSLOG): none.
fn look_up(ips: &[u64]) -> Vec<Option<Symbol>> {
    let source = source::Source::Kernel(source::Kernel {
        // Addresses and names are enough; vmlinux with DWARF is rarely there and costs memory.
        vmlinux: MaybeDefault::None,
        debug_syms: false,
        ..source::Kernel::default()
    });
    let symbolizer =
        Symbolizer::builder().enable_code_info(false).enable_inlined_fns(false).build();
    let Ok(symbolized) = symbolizer.symbolize(&source, Input::AbsAddr(ips)) else {
        return vec![None; ips.len()];
    };
    symbolized.into_iter().map(symbol).collect()
}

fn symbol(symbolized: Symbolized<'_>) -> Option<Symbol> {
    let symbol = symbolized.into_sym()?;
    Some(Symbol {
        name: symbol.name.into_owned(),
        offset: u64::try_from(symbol.offset).ok()?,
        module: symbol
            .module
            .map(|module| module.to_string_lossy().trim_matches(['[', ']']).to_owned())
            .filter(|module| module != "kernel" && !module.contains("vmlinux")),
    })
}
