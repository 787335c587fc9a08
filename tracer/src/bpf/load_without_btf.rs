//! Creates aya's loader without its copy of the kernel's BTF.

use aya::EbpfLoader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The constructor of the loader parses all of the kernel's BTF, 15 MB in memory, for relocations
/// that our object does not have (<https://github.com/aya-rs/aya/issues/1172>). If it cannot open
/// that file, it continues without. There is no option for it, so no descriptor can be opened
/// meanwhile.
pub(super) fn ebpf_loader() -> EbpfLoader<'static> {
    without_descriptors(EbpfLoader::new)
}

/// Runs `work` while the process cannot open descriptors. Only for the start, when no other thread
/// needs to open one.
pub(super) fn without_descriptors<T>(work: impl FnOnce() -> T) -> T {
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(0), ..limit };
    let is_lowered = setrlimit(Resource::Nofile, none).is_ok();
    let done = work();
    if is_lowered {
        // The hard limit is unchanged, so the soft limit may be raised again.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    done
}
