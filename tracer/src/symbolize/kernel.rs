//! Names for addresses of the kernel, from /proc/kallsyms, read by blazesym.
//!
//! blazesym keeps the whole symbol table in memory: 5 to 15 MB that a tracer must not hold on a
//! host that is short of memory. So a helper process reads it, and its responses are kept. OOM
//! stacks are much alike, so a helper is needed only for a new address.

use std::{collections::BTreeMap, io, os::fd::AsFd};

use blazesym::{
    MaybeDefault,
    symbolize::{Input, Symbolized, Symbolizer, source},
};

use crate::{
    host::{capabilities::drop::lend, confinement::KERNEL_SYMBOLS},
    model::{
        lru::Lru,
        names::{MAX_SYMBOL_BYTES, Symbol, cut},
    },
    symbolize::{demangle::demangled, helper_process},
};

/// Addresses that are kept. The kernel has few ways into the OOM killer.
const MAX_KNOWN: usize = 4096;
/// Bytes of these symbols: a hundred each.
const MAX_KNOWN_BYTES: usize = 512 << 10;
/// The hidden command of the helper process.
pub(crate) const HELPER_COMMAND: &str = "kernel-symbols";

/// The symbols of the running kernel that were asked for so far.
#[derive(Debug)]
pub(crate) struct KernelSymbols {
    known: Lru<u64, Option<Symbol>>,
}

impl Default for KernelSymbols {
    fn default() -> Self {
        Self { known: Lru::new(MAX_KNOWN, MAX_KNOWN_BYTES) }
    }
}

impl KernelSymbols {
    /// The symbols of `ips`. Addresses without one are left out.
    pub(crate) fn resolve(&mut self, ips: &[u64]) -> BTreeMap<u64, Symbol> {
        let unknown: Vec<u64> =
            ips.iter().copied().filter(|ip| !self.known.contains_key(ip)).collect();
        if !unknown.is_empty() {
            self.ask(&unknown);
        }
        let known = |&ip: &u64| Some((ip, self.known.get(&ip)?.clone()?));
        ips.iter().filter_map(known).collect()
    }

    /// Number of symbols that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.known.n_evicted()
    }

    /// Without a helper (no memory for one), the report has addresses, and the next report tries
    /// again.
    fn ask(&mut self, ips: &[u64]) {
        let ask = || helper_process::ask::<Vec<Option<Symbol>>>(HELPER_COMMAND, &ips, &[]);
        if let Ok(symbols) = lend(KERNEL_SYMBOLS, ask) {
            for (ip, symbol) in ips.iter().copied().zip(symbols) {
                self.known.insert(ip, symbol);
            }
        }
    }
}

/// The helper process: a list of addresses on stdin, a list of symbols on stdout.
pub(crate) fn answer(input: impl io::Read + AsFd, output: impl io::Write) -> io::Result<()> {
    // Without it, /proc/kallsyms has no addresses.
    helper_process::serve(input, output, KERNEL_SYMBOLS, |ips: &Vec<u64>, _| look_up(ips))
}

/// One symbol per address. If kallsyms shows no addresses (kptr_restrict, no CAP_SYSLOG), none.
fn look_up(ips: &[u64]) -> Vec<Option<Symbol>> {
    let source = source::Source::Kernel(source::Kernel {
        // Names are enough. A vmlinux with DWARF is rarely there and costs memory.
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
        name: demangled(&symbol.name),
        offset: u64::try_from(symbol.offset).ok()?,
        module: symbol
            .module
            .map(|module| cut(&module.to_string_lossy(), MAX_SYMBOL_BYTES).to_owned())
            .map(|module| module.trim_matches(['[', ']']).to_owned())
            .filter(|module| module != "kernel" && !module.contains("vmlinux")),
    })
}
