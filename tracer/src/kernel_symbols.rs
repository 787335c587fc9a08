//! Names for addresses of the kernel, by blazesym over /proc/kallsyms.
//!
//! blazesym keeps the whole symbol table once it has read it (several MB). OOM stacks are much
//! alike, so answers are kept instead: the table is read again only for an address never seen.

use std::collections::BTreeMap;

use blazesym::{
    MaybeDefault,
    symbolize::{Input, Symbolized, Symbolizer, source},
};

use crate::compose::Symbol;

/// Known addresses; bounded, the kernel has few ways into the OOM killer.
const MAX_KNOWN: usize = 4096;

/// Resolves addresses of the running kernel.
#[derive(Debug, Default)]
pub struct KernelSymbols {
    known: BTreeMap<u64, Option<Symbol>>,
}

impl KernelSymbols {
    /// The symbols of `ips`; those without one are left out.
    pub fn resolve(&mut self, ips: &[u64]) -> BTreeMap<u64, Symbol> {
        let unknown: Vec<u64> =
            ips.iter().copied().filter(|ip| !self.known.contains_key(ip)).collect();
        if !unknown.is_empty() {
            if self.known.len() + unknown.len() > MAX_KNOWN {
                self.known.clear();
            }
            let symbols = look_up(&unknown);
            self.known.extend(unknown.into_iter().zip(symbols));
        }
        let known = |&ip: &u64| Some((ip, self.known.get(&ip)?.clone()?));
        ips.iter().filter_map(known).collect()
    }
}

/// One symbol per address. Without readable kallsyms (kptr_restrict, no CAP_SYSLOG): none.
fn look_up(ips: &[u64]) -> Vec<Option<Symbol>> {
    let mut kernel = source::Kernel::from(source::Kernel {
        // Addresses and names are enough; vmlinux with DWARF is rarely there and costs memory.
        vmlinux: MaybeDefault::None,
        ..source::Kernel::default()
    });
    kernel.debug_syms = false;
    let source = source::Source::Kernel(kernel);
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
