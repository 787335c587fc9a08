//! Reads small files of /proc and /sys. A file that is absent or cannot be parsed is `None`, never
//! a default.

use std::{
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// The folder that /proc and /sys are in: `/`, or one that a test made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self("/".into())
    }
}

impl Root {
    #[cfg(test)]
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// `path` is absolute, e.g. `/proc/kallsyms`.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// A small file, trimmed; `None` if it is absent or empty.
    pub(crate) fn line(&self, path: &str) -> Option<String> {
        let text = self.text(path).ok()?;
        let line = text.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    fn text(&self, path: &str) -> io::Result<String> {
        let bytes = fs::read(self.path(path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The kernel's lockdown mode, which protects it from root.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lockdown {
    None,
    /// Root may not change the kernel. BPF works as usual.
    Integrity,
    /// Root may not read its memory either: BPF may not call bpf_probe_read_kernel.
    Confidentiality,
    /// This kernel has no lockdown, or securityfs is not mounted.
    Unknown,
}

/// The current mode is in brackets: `none [integrity] confidentiality`.
pub(super) fn lockdown(root: &Root) -> Lockdown {
    let line = root.line("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = line.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    match mode {
        Some("none") => Lockdown::None,
        Some("integrity") => Lockdown::Integrity,
        Some("confidentiality") => Lockdown::Confidentiality,
        _ => Lockdown::Unknown,
    }
}

/// The highest possible CPU id plus one: the used entries of per-CPU tables.
pub(super) fn possible_cpus(root: &Root) -> Option<u32> {
    possible(root, "cpu")
}

/// The same for memory nodes; also `None` on a kernel without NUMA.
pub(super) fn possible_nodes(root: &Root) -> Option<u32> {
    possible(root, "node")
}

fn possible(root: &Root, what: &str) -> Option<u32> {
    let line = root.line(&format!("/sys/devices/system/{what}/possible"))?;
    line.split([',', '-']).filter_map(|id| id.parse::<u32>().ok()).max()?.checked_add(1)
}

/// The effective user and capabilities of this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Privileges {
    pub uid: u32,
    /// Bit N is capability N.
    pub capabilities: u64,
}

impl Privileges {
    /// Reads files of other users.
    pub(crate) const DAC_READ_SEARCH: u32 = 2;
    /// Reads everything that /proc shows of other users' processes.
    pub(crate) const SYS_PTRACE: u32 = 19;
    pub(crate) const SYS_ADMIN: u32 = 21;
    /// Locks memory, lowers oom_score_adj.
    pub(crate) const SYS_RESOURCE: u32 = 24;
    /// Shows kernel addresses, reads /dev/kmsg.
    pub(crate) const SYSLOG: u32 = 34;
    pub(crate) const PERFMON: u32 = 38;
    pub(crate) const BPF: u32 = 39;
    /// Since 5.9, allows reading /proc/PID/map_files.
    pub(crate) const CHECKPOINT_RESTORE: u32 = 40;

    /// Whether the capability of this number is effective.
    pub(crate) fn has(self, capability: u32) -> bool {
        self.capabilities.checked_shr(capability).is_some_and(|bits| bits & 1 == 1)
    }
}

pub(super) fn privileges(root: &Root) -> Option<Privileges> {
    let status = root.text("/proc/self/status").ok()?;
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
    // Real, effective, saved, file system.
    let uid = value("Uid:")?.split_whitespace().nth(1)?.parse().ok()?;
    let capabilities = u64::from_str_radix(value("CapEff:")?.trim(), 16).ok()?;
    Some(Privileges { uid, capabilities })
}

/// Mount points of cgroups.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct CgroupMounts {
    pub v2: Option<PathBuf>,
    /// The v1 hierarchy of the memory controller.
    pub v1_memory: Option<PathBuf>,
}

/// Finds them among the mounts of this process.
pub(crate) fn cgroup_mounts(root: &Root) -> CgroupMounts {
    let mut mounts = CgroupMounts::default();
    for line in root.text("/proc/self/mountinfo").unwrap_or_default().lines() {
        let Some((mount, file_system)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = mount.split(' ').nth(4) else {
            continue;
        };
        let mut words = file_system.split(' ');
        let kind = words.next();
        let options = words.nth(1).unwrap_or_default();
        if kind == Some("cgroup2") {
            mounts.v2.get_or_insert_with(|| unescape(point));
        } else if kind == Some("cgroup") && options.split(',').any(|option| option == "memory") {
            mounts.v1_memory.get_or_insert_with(|| unescape(point));
        }
    }
    mounts
}

/// The kernel writes blanks and backslashes in paths in octal, as `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let octal = escaped.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(octal.unwrap_or(b'\\'));
        rest = if octal.is_some() { escaped.get(3..).unwrap_or_default() } else { escaped };
    }
    bytes.extend_from_slice(rest.as_bytes());
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// From 3 on (Debian, Ubuntu) only `CAP_SYS_ADMIN` opens perf events.
pub(super) fn perf_event_paranoid(root: &Root) -> Option<i32> {
    root.line("/proc/sys/kernel/perf_event_paranoid")?.parse().ok()
}

/// Whether a kprobe can be attached as a perf event, which needs no tracefs.
pub(super) fn has_kprobes(root: &Root) -> bool {
    root.line("/sys/bus/event_source/devices/kprobe/type").is_some()
}

/// Whether sysfs is mounted on /sys: every kernel has this directory there.
pub(super) fn has_sysfs(root: &Root) -> bool {
    root.path("/sys/bus").is_dir()
}

/// Whether the kernel has BTF of its own.
pub(super) fn has_btf(root: &Root) -> bool {
    root.path(super::btf::KERNEL_BTF).is_file()
}

/// The file that BTF is read from: the given one, or the kernel's own.
pub(crate) fn btf_path(root: &Root, given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| root.path(super::btf::KERNEL_BTF), Path::to_owned)
}

/// Writes a file below a directory, and makes the directories in between.
#[cfg(test)]
pub(crate) fn write_below(root: &Path, path: &str, text: &str) {
    let file = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().expect("a parent")).expect("the folders");
    fs::write(file, text).expect("the file");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(path: &str, text: &str) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().expect("a folder");
        write_below(folder.path(), path, text);
        let root = Root::new(folder.path());
        (folder, root)
    }

    #[test]
    fn lockdown_mode_is_the_one_in_brackets() {
        for (text, mode) in [
            ("[none] integrity confidentiality\n", Lockdown::None),
            ("none [integrity] confidentiality\n", Lockdown::Integrity),
            ("none integrity [confidentiality]\n", Lockdown::Confidentiality),
            ("gibberish\n", Lockdown::Unknown),
        ] {
            let (_folder, root) = root_with("/sys/kernel/security/lockdown", text);
            assert_eq!(lockdown(&root), mode, "{text}");
        }
        assert_eq!(lockdown(&Root::new("/nonexistent")), Lockdown::Unknown);
    }

    #[test]
    fn settings_for_kprobes_are_read() {
        let (_folder, root) = root_with("/proc/sys/kernel/perf_event_paranoid", "-1\n");
        assert_eq!(perf_event_paranoid(&root), Some(-1));
        assert_eq!((has_kprobes(&root), has_btf(&root)), (false, false));
        assert!(!has_sysfs(&root));
        let (_folder, root) = root_with("/sys/bus/event_source/devices/kprobe/type", "6\n");
        assert_eq!((perf_event_paranoid(&root), has_kprobes(&root)), (None, true));
        assert!(has_sysfs(&root));
        let (_folder, root) = root_with(super::super::btf::KERNEL_BTF, "BTF");
        assert!(has_btf(&root));
    }

    #[test]
    fn possible_cpus_count_up_to_the_highest_id() {
        for (text, count) in
            [("0\n", Some(1)), ("0-3\n", Some(4)), ("0-3,8-11\n", Some(12)), ("\n", None)]
        {
            let (_folder, root) = root_with("/sys/devices/system/cpu/possible", text);
            assert_eq!(possible_cpus(&root), count, "{text}");
        }
    }

    #[test]
    fn privileges_are_the_effective_ones() {
        let text = "Name:\tx\nUid:\t1000\t0\t1000\t0\nCapEff:\t000000c000000000\n";
        let (_folder, root) = root_with("/proc/self/status", text);
        let privileges = privileges(&root).expect("both lines");
        assert_eq!(privileges.uid, 0);
        assert!(privileges.has(Privileges::BPF) && privileges.has(Privileges::PERFMON));
        assert!(!privileges.has(Privileges::SYSLOG) && !privileges.has(200));
    }

    #[test]
    fn cgroup_mounts_are_found_by_type_and_controller() {
        let text = "\
            25 1 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - tmpfs tmpfs ro,mode=755\n\
            26 25 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
            27 25 0:24 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            28 25 0:25 / /mnt/my\\040memory rw - cgroup cgroup rw,memory\n\
            broken line\n";
        let (_folder, root) = root_with("/proc/self/mountinfo", text);
        let mounts = cgroup_mounts(&root);
        assert_eq!(mounts.v2, Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mounts.v1_memory, Some("/mnt/my memory".into()));
    }
}
