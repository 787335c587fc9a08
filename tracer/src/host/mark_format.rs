//! Parses the format of the tracepoint `oom:mark_victim` in tracefs: the fields of its record, and
//! where they are.

use oomwhy_common::{offsets::ABSENT, settings::MarkLayout};

use super::files::Root;

/// tracefs was mounted in debugfs before 4.1, and still is on many hosts.
const FILES: [&str; 2] = [
    "/sys/kernel/tracing/events/oom/mark_victim/format",
    "/sys/kernel/debug/tracing/events/oom/mark_victim/format",
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct MarkFormat {
    pub layout: MarkLayout,
}

impl MarkFormat {
    /// Whether the record has more than a thread id: since 6.9, and on stable kernels of 2025.
    pub(crate) fn has_fields(&self) -> bool {
        self.layout.comm != ABSENT
    }
}

/// `None` if tracefs is not mounted or not readable.
pub(super) fn read(root: &Root) -> Option<MarkFormat> {
    FILES.iter().find_map(|path| parse(&root.line(path)?))
}

/// `None` without a thread id.
fn parse(text: &str) -> Option<MarkFormat> {
    let find = |name: &str, size: u32| field(text, name, size).unwrap_or(ABSENT);
    let pid = field(text, "pid", 4)?;
    let mut layout = MarkLayout {
        pid,
        comm: find("comm", 4),
        total_vm: find("total_vm", 8),
        anon_rss: find("anon_rss", 8),
        file_rss: find("file_rss", 8),
        shmem_rss: find("shmem_rss", 8),
        uid: find("uid", 4),
        pgtables: find("pgtables", 8),
        oom_score_adj: find("oom_score_adj", 2),
        reserved: 0,
    };
    // All or none, because one validity bit covers them.
    let others = [
        layout.comm,
        layout.total_vm,
        layout.anon_rss,
        layout.file_rss,
        layout.shmem_rss,
        layout.uid,
        layout.pgtables,
        layout.oom_score_adj,
    ];
    if others.contains(&ABSENT) {
        layout = MarkLayout { pid, ..MarkLayout::NONE };
    }
    Some(MarkFormat { layout })
}

/// The offset of a field with this size, in a line `field:int pid; offset:8; size:4; signed:1;`.
fn field(text: &str, name: &str, size: u32) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut parts = line.trim().strip_prefix("field:")?.split(';').map(str::trim);
        let is_it = parts.next()?.rsplit([' ', '*']).next()? == name;
        let offset = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
        let has_size = parts.next()?.strip_prefix("size:")?.parse() == Ok(size);
        (is_it && has_size).then_some(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::write_below;

    const OLD: &str = "name: mark_victim\nID: 1\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;\n";
    const NEW: &str = "\
        \tfield:__data_loc char[] comm;\toffset:12;\tsize:4;\tsigned:0;\n\
        \tfield:unsigned long total_vm;\toffset:16;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long anon_rss;\toffset:24;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long file_rss;\toffset:32;\tsize:8;\tsigned:0;\n\
        \tfield:unsigned long shmem_rss;\toffset:40;\tsize:8;\tsigned:0;\n\
        \tfield:uid_t uid;\toffset:48;\tsize:4;\tsigned:0;\n\
        \tfield:unsigned long pgtables;\toffset:56;\tsize:8;\tsigned:0;\n\
        \tfield:short oom_score_adj;\toffset:64;\tsize:2;\tsigned:1;\n";

    #[test]
    fn both_layouts_are_parsed() {
        let old = parse(OLD).expect("a thread id");
        assert_eq!(old.layout, MarkLayout { pid: 8, ..MarkLayout::NONE });
        assert!(!old.has_fields());
        let new = parse(&[OLD, NEW].concat()).expect("nine fields");
        assert!(new.has_fields());
        assert_eq!((new.layout.pid, new.layout.comm, new.layout.oom_score_adj), (8, 12, 64));
    }

    #[test]
    fn fields_of_another_size_are_ignored() {
        let text = [OLD, NEW]
            .concat()
            .replace("oom_score_adj;\toffset:64;\tsize:2", "oom_score_adj;\toffset:64;\tsize:4");
        assert!(!parse(&text).expect("a thread id").has_fields());
        assert_eq!(parse(&OLD.replace("size:4;\tsigned:1;\n", "size:8;\tsigned:1;\n")), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn format_is_found_in_both_mount_points() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(folder.path());
        assert_eq!(read(&root), None);
        for path in FILES.iter().rev() {
            write_below(folder.path(), path, OLD);
            assert!(read(&root).is_some(), "{path}");
        }
    }
}
