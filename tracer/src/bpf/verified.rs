//! The number of instructions that the kernel's verifier walks for each program, for `--verbose`. A
//! program of many such instructions takes long to load, and the kernel refuses a program of more
//! than a million.

use aya::{Btf, Ebpf, Endianness, VerifierLogLevel, programs::Program};
use oomwhy_common::offsets::KernelOffsets;

use super::{
    load::{self, LoadError, Probes},
    load_without_btf::without_descriptors,
    plan::{Plan, Planned},
    programs,
};

/// The number of instructions that the verifier walked, for each program.
pub(crate) type Verified = Vec<(String, u32)>;

/// Reads the numbers that the kernel keeps for loaded programs (`verified_insns`, since 5.16).
pub(super) fn by_info(ebpf: &Ebpf) -> Verified {
    let verified = |(name, program): (&str, &Program)| {
        let walked = program.info().ok()?.verified_instruction_count()?;
        Some((name.to_owned(), walked))
    };
    ebpf.programs().filter_map(verified).collect()
}

/// Asks the verifier once more on kernels that do not keep the number: its log ends with it. aya
/// asks for the log only if a program cannot be loaded. So each program is loaded once more without
/// a descriptor for it, which the kernel notices after it has verified it (`bpf_prog_new_fd`).
pub(crate) fn by_log(
    plan: &Plan,
    probes: &Probes,
    offsets: &KernelOffsets,
    hooks: &[u8],
) -> Verified {
    let Ok(btf) = Btf::parse(hooks, Endianness::default()) else {
        return Verified::new();
    };
    let stats = VerifierLogLevel::STATS;
    let Ok(mut ebpf) = load::load(plan, &probes.settings, offsets, None, stats) else {
        return Verified::new();
    };
    let walked = |planned: &Planned| {
        let program = ebpf.program_mut(planned.program)?;
        let symbol = plan.symbol(planned.hook);
        let loaded = without_descriptors(|| programs::load(program, &btf, *planned, symbol));
        match loaded {
            Err(LoadError::Verifier { log, .. }) => {
                Some((planned.program.to_owned(), count(&log)?))
            }
            _ => None,
        }
    };
    plan.programs.iter().filter_map(walked).collect()
}

/// The number in `processed 658 insns (limit 1000000) max_states_per_insn 0 ...`.
fn count(log: &str) -> Option<u32> {
    let (_, behind) = log.rsplit_once("processed ")?;
    behind.split_once(" insns")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn count_is_that_of_the_last_line_of_the_log() {
        let log = "verification time 93 usec\nstack depth 0\n\
                   processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0\n";
        assert_eq!(count(log), Some(2));
        assert_eq!(count("func 'oom_badness' arg0 has btf_id"), None);
    }
}
