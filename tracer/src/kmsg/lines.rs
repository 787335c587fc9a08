//! The lines around a choice, one function per kind. A task's name can be any 15 bytes and a
//! cgroup's any 255: each line is cut at the fixed words nearest to where no name stands.

use super::{bytes, record::digits};

/// `TASK_COMM_LEN` less its NUL: what is longer is no name of a task.
const COMM: usize = 15;

/// `hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=100`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) comm: String,
    pub(super) gfp_mask: u32,
    pub(super) gfp_names: Vec<String>,
    /// Up to 4.20; "(null)" where the allocation was not bound.
    pub(super) nodemask: Option<String>,
    pub(super) order: i32,
    pub(super) oom_score_adj: i32,
}

pub(super) fn header(line: &str) -> Option<Header> {
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
pub(super) struct Cpu {
    pub(super) tid: i32,
    /// Name of the task, where the line was not broken by it.
    pub(super) comm: Option<String>,
    pub(super) release: Option<String>,
}

pub(super) fn cpu(line: &str) -> Option<Cpu> {
    let (before, rest) = line.strip_prefix("CPU: ")?.split_once("PID: ")?;
    // Nothing but "0 " or "0 UID: 0 " may stand there.
    let known = before.split_whitespace().all(|word| word == "UID:" || digits(word).is_some());
    let (tid, rest) = rest.split_once(" Comm: ").filter(|_| known)?;
    let tid = pid(tid)?;
    let words = [" Not tainted ", " Tainted: ", " Kdump: loaded "];
    let cut = words.iter().filter_map(|words| rest.rfind(words)).min();
    let (comm, behind) = match cut.and_then(|at| rest.split_at_checked(at)) {
        Some((comm, behind)) => (comm_of(comm), behind),
        None => (None, ""),
    };
    let release = behind.split(" #").next().filter(|_| behind.contains(" #"));
    let release = release.and_then(|words| words.split_whitespace().last()).map(str::to_owned);
    Some(Cpu { tid, comm, release })
}

/// A frame of a call trace: ` try_charge_memcg+0x3ec/0x710 [module]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceFrame {
    pub(super) symbol: String,
    pub(super) offset: u64,
    pub(super) module: Option<String>,
    /// The unwinder only found it lying there.
    pub(super) is_guess: bool,
}

pub(super) fn frame(line: &str) -> Option<TraceFrame> {
    // Before 4.11, `[<ffffffff81...>]` or `[<0>]` comes first.
    let line = line.trim_start();
    let line =
        line.strip_prefix("[<").and_then(|rest| rest.split_once(">] ")).map_or(line, |it| it.1);
    let guess = line.strip_prefix("? ");
    let (symbol, rest) = guess.unwrap_or(line).split_once("+0x")?;
    let (offset, rest) = rest.split_once("/0x")?;
    let (size, module) = rest.trim_end().split_once(' ').unwrap_or((rest.trim_end(), ""));
    let is_name = !symbol.is_empty() && !symbol.contains(char::is_whitespace);
    let is_hex = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
    let module = module.strip_prefix('[').and_then(|module| module.split([']', ' ']).next());
    (is_name && is_hex).then_some(())?;
    Some(TraceFrame {
        symbol: symbol.to_owned(),
        offset: u64::from_str_radix(offset, 16).ok()?,
        module: module.map(str::to_owned),
        is_guess: guess.is_some(),
    })
}

/// Registers as they were in the kernel (`__KERNEL_CS` and `__KERNEL_DS` on x86-64), whose `show_regs`
/// names one of each line first: <https://github.com/torvalds/linux/blob/v6.12/arch/x86/kernel/process_64.c>.
pub(super) fn is_kernel_registers(line: &str) -> bool {
    const BEGINNINGS: [&str; 8] =
        ["RIP: 0010:", "Code: ", "RSP: 0018:", "RAX: ", "RDX: ", "RBP: ", "R10: ", "R13: "];
    BEGINNINGS.iter().any(|beginning| line.trim_start().starts_with(beginning))
}

/// The end of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Without "CONSTRAINT_".
    pub(super) constraint: String,
    /// "(null)" where the allocation was not bound.
    pub(super) nodemask: String,
    /// From behind "cpuset=" to before ",pid=": names of three cgroups and of a task are in it.
    names: String,
    pub(super) pid: i32,
    pub(super) uid: u32,
}

/// What stands in the middle of a [`Summary`]; what cannot be told for certain is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) mems_allowed: Option<String>,
    pub(super) is_global: Option<bool>,
    pub(super) oom_memcg: Option<String>,
    pub(super) task_memcg: Option<String>,
    pub(super) comm: Option<String>,
}

/// `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,\
/// task_memcg=/a/b,task=hog,pid=1,uid=0`
pub(super) fn summary(line: &str) -> Option<Summary> {
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
    /// The names. `comm` is the task's by another line, `memcg` the path of the statistics: they
    /// help where a name has the words that stand between names.
    pub(super) fn names(&self, comm: Option<&str>, memcg: Option<&str>) -> Names {
        let known = comm.and_then(|comm| {
            let before = self.names.strip_suffix(comm)?.strip_suffix(",task=")?;
            Some((before, comm))
        });
        let Some((paths, comm)) = known.or_else(|| once(&self.names, ",task=")) else {
            return Names::default();
        };
        let comm = comm_of(comm);
        let domain = memcg.and_then(|path| {
            let words = format!(",oom_memcg={path},task_memcg=");
            once(paths, &words).map(|(before, task_memcg)| (before, Some(path), task_memcg))
        });
        let global = || once(paths, ",global_oom,task_memcg=").map(|(a, b)| (a, None, b));
        let hit = || {
            let (before, rest) = once(paths, ",oom_memcg=")?;
            let (oom_memcg, task_memcg) = once(rest, ",task_memcg=")?;
            Some((before, Some(oom_memcg), task_memcg))
        };
        let both = paths.contains(",global_oom,") && paths.contains(",oom_memcg=");
        let domain = domain.or_else(|| (!both).then(|| global().or_else(hit))?);
        let Some((before, oom_memcg, task_memcg)) = domain else {
            return Names { comm, ..Names::default() };
        };
        Names {
            mems_allowed: once(before, ",mems_allowed=").map(|(_, nodes)| nodes.to_owned()),
            is_global: Some(oom_memcg.is_none()),
            oom_memcg: oom_memcg.map(str::to_owned),
            task_memcg: Some(task_memcg.to_owned()),
            comm,
        }
    }
}

/// Cuts at words that are there once, and only once.
fn once<'a>(text: &'a str, words: &str) -> Option<(&'a str, &'a str)> {
    let (before, behind) = text.split_once(words)?;
    (!behind.contains(words)).then_some((before, behind))
}

/// `Task in /a/b killed as a result of limit of /a`, up to 4.20: whose limit.
pub(super) fn limit_of(line: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix("Task in ")?;
    let (task_memcg, oom_memcg) = once(rest, " killed as a result of limit of ")?;
    Some((task_memcg.to_owned(), oom_memcg.to_owned()))
}

/// `Tasks in /a are going to be killed due to memory.oom.group set`
pub(super) fn group(line: &str) -> Option<String> {
    let rest = line.strip_prefix("Tasks in ")?;
    let path = rest.strip_suffix(" are going to be killed due to memory.oom.group set")?;
    Some(path.to_owned())
}

/// A name of a task; `None` for what cannot be one.
pub(super) fn comm_of(text: &str) -> Option<String> {
    (bytes::bytes(text).len() <= COMM).then(|| text.to_owned())
}

pub(super) fn pid(text: &str) -> Option<i32> {
    i32::try_from(digits(text)?).ok().filter(|pid| *pid > 0)
}

pub(super) fn number32(text: &str) -> Option<u32> {
    u32::try_from(digits(text)?).ok()
}

pub(super) fn adj(text: &str) -> Option<i32> {
    text.parse().ok().filter(|adj| (-1000..=1000).contains(adj))
}
