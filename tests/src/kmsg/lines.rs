//! One function per kind of line. Names in a line can contain any character, so each function
//! splits its line at the fixed words nearest to the end.

use std::str::FromStr;

use super::{Counter, Kill, Reaped, Summary, TaskRow, Trigger};

/// `hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=100`
pub(super) fn trigger(line: &str) -> Option<Trigger> {
    let (comm, request) = line.rsplit_once(" invoked oom-killer: gfp_mask=0x")?;
    let (gfp_mask, rest) = request.split_once('(')?;
    let (names, rest) = rest.split_once("), order=")?;
    let (order, oom_score_adj) = rest.split_once(", oom_score_adj=")?;
    Some(Trigger {
        comm: comm.to_owned(),
        tid: None,
        gfp_mask: u64::from_str_radix(gfp_mask, 16).ok()?,
        gfp_names: names.split('|').map(str::to_owned).collect(),
        order: order.parse().ok()?,
        oom_score_adj: oom_score_adj.parse().ok()?,
    })
}

/// `CPU: 0 UID: 0 PID: 118 Comm: hog Not tainted ...`
pub(super) fn trigger_tid(line: &str) -> Option<u32> {
    let rest = line.strip_prefix("CPU: ")?;
    between(rest, "PID: ", " Comm:")
}

/// `memory: usage 49152kB, limit 49152kB, failcnt 19`
pub(super) fn counter(line: &str) -> Option<(String, Counter)> {
    let (name, rest) = line.split_once(": usage ")?;
    let (usage, rest) = rest.split_once("kB, limit ")?;
    let (limit, failcnt) = rest.split_once("kB, failcnt ")?;
    let counter = Counter {
        usage_kib: usage.parse().ok()?,
        limit_kib: limit.parse().ok()?,
        failcnt: failcnt.parse().ok()?,
    };
    Some((name.to_owned(), counter))
}

/// `196478 pages RAM`
pub(super) fn pages(line: &str, what: &str) -> Option<u64> {
    number(line.strip_suffix(what)?.strip_suffix(" pages ")?)
}

/// `Memory cgroup stats for /kubepods/pod1234:`
pub(super) fn stat_header(line: &str) -> Option<String> {
    let path = line.strip_prefix("Memory cgroup stats for ")?;
    Some(path.strip_suffix(':').unwrap_or(path).to_owned())
}

/// Splits a line of memory.stat, for example `anon 50012160`.
pub(super) fn stat(line: &str) -> Option<(String, u64)> {
    let (name, value) = line.split_once(' ')?;
    Some((name.to_owned(), value.parse().ok()?))
}

/// `[  pid  ]   uid  tgid total_vm      rss ... name`: the columns after the first.
pub(super) fn tasks_header(line: &str) -> Option<Vec<String>> {
    let (pid, columns) = line.strip_prefix('[')?.split_once(']')?;
    (pid.trim() == "pid").then(|| columns.split_whitespace().map(str::to_owned).collect())
}

/// `[    115]     0   115      567      361 ... sleep`
pub(super) fn task(header: &[String], line: &str) -> Option<TaskRow> {
    let (tid, mut rest) = line.strip_prefix('[')?.split_once(']')?;
    let mut row = TaskRow { tid: number(tid)?, ..TaskRow::default() };
    let mut parts = [None; 3];
    for column in header {
        if column == "name" {
            rest.clone_into(&mut row.comm);
            break;
        }
        let (value, behind) = rest.trim_start().split_once(' ')?;
        rest = behind;
        match column.as_str() {
            "uid" => row.uid = number(value)?,
            "tgid" => row.tgid = number(value)?,
            "total_vm" => row.total_vm = number(value)?,
            "rss" => row.rss = number(value)?,
            "rss_anon" => parts[0] = number(value),
            "rss_file" => parts[1] = number(value),
            "rss_shmem" => parts[2] = number(value),
            "pgtables_bytes" => row.pgtables_bytes = number(value)?,
            "swapents" => row.swapents = number(value)?,
            "oom_score_adj" => row.oom_score_adj = number(value)?,
            _ => {}
        }
    }
    if let [Some(anon), Some(file), Some(shmem)] = parts {
        row.rss_parts = Some([anon, file, shmem]);
    }
    Some(row)
}

/// `Node 1 Normal free:1144kB ... present:262144kB managed:...`: the node and its present memory.
pub(super) fn zone(line: &str) -> Option<(u32, u64)> {
    let rest = line.strip_prefix("Node ")?;
    let (node, _) = rest.split_once(' ')?;
    Some((node.parse().ok()?, between(rest, " present:", "kB")?))
}

/// Parses the line
/// `oom-kill:constraint=CONSTRAINT_MEMCG,...,oom_memcg=/a,task_memcg=/a/b,task=hog,pid=1,uid=0`
pub(super) fn summary(line: &str) -> Option<Summary> {
    let rest = line.strip_prefix("oom-kill:constraint=CONSTRAINT_")?;
    let (constraint, rest) = rest.split_once(',')?;
    let nodes = |name: &str| {
        let (_, nodes) = rest.split_once(name)?;
        // A list contains commas. The next key starts with a letter.
        let end = nodes.find(|c: char| !c.is_ascii_digit() && c != '-' && c != ',')?;
        node_list(nodes[..end].trim_end_matches(','))
    };
    let (nodemask, mems_allowed) = (nodes("nodemask="), nodes(",mems_allowed="));
    let (rest, uid) = rest.rsplit_once(",uid=")?;
    let (rest, pid) = rest.rsplit_once(",pid=")?;
    let (rest, comm) = rest.rsplit_once(",task=")?;
    let (rest, task_memcg) = rest.rsplit_once(",task_memcg=")?;
    Some(Summary {
        constraint: constraint.to_owned(),
        nodemask,
        mems_allowed: mems_allowed.unwrap_or_default(),
        oom_memcg: rest.rsplit_once(",oom_memcg=").map(|(_, path)| path.to_owned()),
        task_memcg: task_memcg.to_owned(),
        comm: comm.to_owned(),
        pid: number(pid)?,
        uid: number(uid)?,
    })
}

/// `0-1,3`; `None` for "(null)".
fn node_list(text: &str) -> Option<Vec<u32>> {
    let mut nodes = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        nodes.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(nodes)
}

/// `Tasks in /kubepods/pod1234 are going to be killed due to memory.oom.group set`
pub(super) fn is_group(line: &str) -> bool {
    line.starts_with("Tasks in ") && line.contains("memory.oom.group set")
}

/// `Out of memory: Killed process 126 (hog) total-vm:3074108kB, anon-rss:618100kB, ...`
pub(super) fn kill(line: &str) -> Option<Kill> {
    let (message, rest) = line.split_once(": Killed process ")?;
    let (tid, rest) = rest.split_once(" (")?;
    let (comm, sizes) = rest.rsplit_once(") total-vm:")?;
    let (total_vm, _) = sizes.split_once("kB")?;
    Some(Kill {
        message: message.to_owned(),
        tid: number(tid)?,
        comm: comm.to_owned(),
        uid: between(sizes, "UID:", " pgtables:")?,
        total_vm_kib: number(total_vm)?,
        rss_kib: [
            between(sizes, "anon-rss:", "kB")?,
            between(sizes, "file-rss:", "kB")?,
            between(sizes, "shmem-rss:", "kB")?,
        ],
        pgtables_kib: between(sizes, "pgtables:", "kB")?,
        oom_score_adj: number(sizes.rsplit_once("oom_score_adj:")?.1)?,
    })
}

/// `oom_reaper: reaped process 126 (hog), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB`
pub(super) fn reaped(line: &str) -> Option<Reaped> {
    let rest = line.strip_prefix("oom_reaper: reaped process ")?;
    let (tid, rest) = rest.split_once(" (")?;
    let (comm, _) = rest.rsplit_once("), now anon-rss:")?;
    Some(Reaped { tid: number(tid)?, comm: comm.to_owned() })
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

fn between<T: FromStr>(text: &str, before: &str, behind: &str) -> Option<T> {
    let (_, rest) = text.split_once(before)?;
    number(rest.split_once(behind)?.0)
}
