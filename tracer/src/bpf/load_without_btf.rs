//! Makes aya's loader without the copy of the kernel's BTF that it would come with.

use aya::EbpfLoader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A loader that read nothing. Its constructor parses all of the kernel's BTF, 15 MB in memory,
/// for relocations that our object does not have (<https://github.com/aya-rs/aya/issues/1172>);
/// where that file cannot be opened, it goes without. So no descriptor is to be had meanwhile: the
/// one way to tell it, and nothing else of ours runs yet that would need one.
pub(super) fn ebpf_loader() -> EbpfLoader<'static> {
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(0), ..limit };
    let is_lowered = setrlimit(Resource::Nofile, none).is_ok();
    let loader = EbpfLoader::new();
    if is_lowered {
        // Up to the hard limit, which stayed, anyone may raise it.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    loader
}
