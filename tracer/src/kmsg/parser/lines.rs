//! The lines around a choice, one function per kind. A task's name can be any 15 bytes and a
//! cgroup's any 255. So each line is split at fixed words from the end that has no name.

use super::{bytes, record::digits};

/// `TASK_COMM_LEN` less its NUL: a longer text is not the name of a task.
const COMM: usize = 15;

/// `hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=100`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) comm: String,
    pub(crate) gfp_mask: u32,
    pub(crate) gfp_names: Vec<String>,
    /// Up to 4.20; "(null)" if the allocation was not bound to nodes.
    pub(crate) nodemask: Option<String>,
    pub(crate) order: i32,
    pub(crate) oom_score_adj: i32,
}

pub(crate) fn header(line: &str) -> Option<Header> {
    let (comm, request) = line.rsplit_once(" invoked oom-killer: gfp_mask=0x")?;
    let end = request.find(|c: char| !c.is_ascii_hexdigit())?;
    let (mask, rest) = request.split_at_checked(end)?;
    let (names, rest) = match rest.strip_prefix('(') {
        Some(rest) => rest.split_once(')')?,
        None => ("", rest),
    };
    let (rest, oom_score_adj) = rest.rsplit_once(", oom_score_adj=")?;
    let (rest, order) = rest.rsplit_once(", order=")?;
    let nodemask = rest.strip_prefix(", nodemask=").map(str::to_owned);
    Some(Header {
        comm: comm_of(comm)?,
        gfp_mask: u32::from_str_radix(mask, 16).ok()?,
        gfp_names: names.split('|').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        nodemask,
        order: order.parse().ok()?,
        oom_score_adj: adj(oom_score_adj)?,
    })
}

/// `CPU: 0 UID: 0 PID: 118 Comm: hog Not tainted 7.3.4+deb13-cloud-amd64 #1 ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) tid: i32,
    /// Absent if a newline in the name broke the line.
    pub(crate) comm: Option<String>,
    pub(crate) release: Option<String>,
}

pub(crate) fn cpu(line: &str) -> Option<Cpu> {
    let (before, rest) = line.strip_prefix("CPU: ")?.split_once("PID: ")?;
    // Only "0 " or "0 UID: 0 " may stand there.
    let known = before.split_whitespace().all(|word| word == "UID:" || digits(word).is_some());
    let (tid, rest) = rest.split_once(" Comm: ").filter(|_| known)?;
    let tid = pid(tid)?;
    let behind_name = [" Not tainted ", " Tainted: ", " Kdump: loaded "];
    let cut = behind_name.iter().filter_map(|words| rest.rfind(words)).min();
    let (comm, behind) = match cut.and_then(|at| rest.split_at_checked(at)) {
        Some((comm, behind)) => (comm_of(comm), behind),
        None => (None, ""),
    };
    let words = behind.split_once(" #").and_then(|(words, _)| words.split_whitespace().last());
    Some(Cpu { tid, comm, release: words.map(str::to_owned) })
}

/// A frame of a call trace: ` try_charge_memcg+0x3ec/0x710 [module]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceFrame {
    pub(crate) symbol: String,
    pub(crate) offset: u64,
    pub(crate) module: Option<String>,
    /// The unwinder found the address on the stack, but not as part of the call chain.
    pub(crate) is_guess: bool,
}

pub(crate) fn frame(line: &str) -> Option<TraceFrame> {
    let trimmed = line.trim_start();
    // Before 4.11, `[<ffffffff81...>]` or `[<0>]` comes first.
    let address = trimmed.strip_prefix("[<").and_then(|rest| rest.split_once(">] "));
    let words = address.map_or(trimmed, |(_, words)| words);
    let guess = words.strip_prefix("? ");
    let (symbol, rest) = guess.unwrap_or(words).split_once("+0x")?;
    let (offset, rest) = rest.split_once("/0x")?;
    let (size, module) = rest.trim_end().split_once(' ').unwrap_or((rest.trim_end(), ""));
    let is_name = !symbol.is_empty() && !symbol.contains(char::is_whitespace);
    let is_hex = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
    let module_name = module.strip_prefix('[').and_then(|name| name.split([']', ' ']).next());
    (is_name && is_hex).then_some(())?;
    Some(TraceFrame {
        symbol: symbol.to_owned(),
        offset: u64::from_str_radix(offset, 16).ok()?,
        module: module_name.map(str::to_owned),
        is_guess: guess.is_some(),
    })
}

/// Whether a line shows registers of the kernel (`__KERNEL_CS`, `__KERNEL_DS`): `show_regs` of
/// x86-64 begins each line with one of these
/// (<https://github.com/torvalds/linux/blob/v6.12/arch/x86/kernel/process_64.c>).
pub(crate) fn is_kernel_registers(line: &str) -> bool {
    const BEGINNINGS: [&str; 8] =
        ["RIP: 0010:", "Code: ", "RSP: 0018:", "RAX: ", "RDX: ", "RBP: ", "R10: ", "R13: "];
    BEGINNINGS.iter().any(|beginning| line.trim_start().starts_with(beginning))
}

/// The line `oom-kill:`, since 5.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The text after "constraint=CONSTRAINT_".
    pub(crate) constraint: String,
    /// "(null)" if the allocation was not bound to nodes.
    pub(crate) nodemask: String,
    /// The text between "cpuset=" and ",pid=", with the names of three cgroups and of a task.
    names: String,
    pub(crate) pid: i32,
    pub(crate) uid: u32,
}

/// The middle of a [`Summary`]; names that are not certain are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SummaryNames {
    pub(crate) mems_allowed: Option<String>,
    pub(crate) is_global: Option<bool>,
    pub(crate) oom_memcg: Option<String>,
    pub(crate) task_memcg: Option<String>,
    pub(crate) comm: Option<String>,
}

/// Parses the line
/// `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,\
/// task_memcg=/a/b,task=hog,pid=1,uid=0`
pub(crate) fn summary(line: &str) -> Option<Summary> {
    let rest = line.strip_prefix("oom-kill:constraint=CONSTRAINT_")?;
    let (constraint, rest) = rest.split_once(",nodemask=")?;
    let (nodemask, rest) = rest.split_once(",cpuset=")?;
    let (rest, uid) = rest.rsplit_once(",uid=")?;
    let (names, number) = rest.rsplit_once(",pid=")?;
    Some(Summary {
        constraint: constraint.to_owned(),
        nodemask: nodemask.to_owned(),
        names: names.to_owned(),
        pid: pid(number)?,
        uid: number32(uid)?,
    })
}

impl Summary {
    /// Splits the names. `comm` is the task's name by another line, `memcg` the path of the
    /// statistics: they help if a name contains the words that stand between names.
    pub(crate) fn names(&self, comm: Option<&str>, memcg: Option<&str>) -> SummaryNames {
        let known = comm.and_then(|comm| {
            let before = self.names.strip_suffix(comm)?.strip_suffix(",task=")?;
            Some((before, comm))
        });
        let Some((paths, comm)) = known.or_else(|| split_at_only(&self.names, ",task=")) else {
            return SummaryNames::default();
        };
        let comm = comm_of(comm);
        let by_memcg = memcg.and_then(|path| {
            let words = format!(",oom_memcg={path},task_memcg=");
            split_at_only(paths, &words)
                .map(|(before, task_memcg)| (before, Some(path), task_memcg))
        });
        let global = || split_at_only(paths, ",global_oom,task_memcg=").map(|(a, b)| (a, None, b));
        let hit = || {
            let (before, rest) = split_at_only(paths, ",oom_memcg=")?;
            let (oom_memcg, task_memcg) = split_at_only(rest, ",task_memcg=")?;
            Some((before, Some(oom_memcg), task_memcg))
        };
        let is_ambiguous = paths.contains(",global_oom,") && paths.contains(",oom_memcg=");
        let by_words = || if is_ambiguous { None } else { global().or_else(hit) };
        let Some((before, oom_memcg, task_memcg)) = by_memcg.or_else(by_words) else {
            return SummaryNames { comm, ..SummaryNames::default() };
        };
        SummaryNames {
            mems_allowed: split_at_only(before, ",mems_allowed=")
                .map(|(_, nodes)| nodes.to_owned()),
            is_global: Some(oom_memcg.is_none()),
            oom_memcg: oom_memcg.map(str::to_owned),
            task_memcg: Some(task_memcg.to_owned()),
            comm,
        }
    }
}

/// Splits at words that occur exactly once.
fn split_at_only<'a>(text: &'a str, words: &str) -> Option<(&'a str, &'a str)> {
    let (before, behind) = text.split_once(words)?;
    (!behind.contains(words)).then_some((before, behind))
}

/// `Task in /a/b killed as a result of limit of /a`, up to 4.20: the cgroup of the
/// task, and the one whose limit was hit.
pub(crate) fn limit_of(line: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix("Task in ")?;
    let (task_memcg, oom_memcg) = split_at_only(rest, " killed as a result of limit of ")?;
    Some((task_memcg.to_owned(), oom_memcg.to_owned()))
}

/// `Tasks in /a are going to be killed due to memory.oom.group set`
pub(crate) fn group(line: &str) -> Option<String> {
    let rest = line.strip_prefix("Tasks in ")?;
    let path = rest.strip_suffix(" are going to be killed due to memory.oom.group set")?;
    Some(path.to_owned())
}

/// The name of a task; `None` if the text is too long for one.
pub(crate) fn comm_of(text: &str) -> Option<String> {
    (bytes::bytes(text).len() <= COMM).then(|| text.to_owned())
}

pub(crate) fn pid(text: &str) -> Option<i32> {
    i32::try_from(digits(text)?).ok().filter(|pid| *pid > 0)
}

pub(crate) fn number32(text: &str) -> Option<u32> {
    u32::try_from(digits(text)?).ok()
}

pub(crate) fn adj(text: &str) -> Option<i32> {
    text.parse().ok().filter(|adj| (-1000..=1000).contains(adj))
}
