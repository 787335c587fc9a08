//! Which task of a memcg the OOM killer would choose. Pure; `compose/badness.rs` defines points.

use serde::Serialize;

use super::processes::Process;
use crate::compose::badness::{self, OOM_SCORE_ADJ_MIN};

/// The process with the most points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Choice {
    pub pid: i32,
    /// The task's name; untrusted.
    pub comm: String,
    /// Real user id.
    pub uid: u32,
    /// As `oom_badness()` computes them, pages.
    pub points: i64,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    pub rss_bytes: u64,
    /// How many other processes have as many points. The kernel chooses the last one it sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<usize>,
    /// The cgroup whose memory.oom.group kills all processes below it as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kills_group: Option<String>,
    /// The path of its cgroup, relative to the one that has the limit.
    #[serde(skip)]
    pub cgroup: String,
}

/// Points of a process, pages; `None` where it may not be killed.
pub(crate) fn points(process: &Process, totalpages: u64) -> Option<i64> {
    if process.pid == 1 || process.oom_score_adj == i64::from(OOM_SCORE_ADJ_MIN) {
        return None;
    }
    process.memory?.counted()?.points(badness::adj_pages(process.oom_score_adj, totalpages)?)
}

/// The kernel's choice: the most points, and the last of several with equal points.
pub(crate) fn choose(processes: &[Process], totalpages: u64) -> Option<Choice> {
    let evaluated: Vec<(i64, &Process)> = processes
        .iter()
        .filter_map(|process| Some((points(process, totalpages)?, process)))
        .collect();
    let &(max_points, chosen) = evaluated.iter().max_by_key(|(points, _)| *points)?;
    let equals = evaluated.iter().filter(|(points, _)| *points == max_points).count() - 1;
    Some(Choice {
        pid: chosen.pid,
        comm: chosen.comm.clone(),
        uid: chosen.uid,
        points: max_points,
        oom_score_adj: chosen.oom_score_adj,
        rss_bytes: chosen.memory.map_or(0, |memory| memory.rss_bytes),
        equals: (equals > 0).then_some(equals),
        kills_group: None,
        cgroup: chosen.cgroup.clone(),
    })
}

impl Choice {
    /// Sets `kills_group` to the highest cgroup with memory.oom.group between the process and the
    /// limit (`mem_cgroup_get_oom_group`).
    pub(super) fn with_group(mut self, limit: &str, oom_groups: &[String]) -> Self {
        let cgroup = format!("{}{}", limit.trim_end_matches('/'), self.cgroup);
        let is_between = |path: &&String| is_below(&cgroup, path) && is_below(path, limit);
        let highest = oom_groups.iter().filter(is_between).min_by_key(|path| path.len());
        self.kills_group = highest.cloned();
        self
    }
}

/// Whether a cgroup is `ancestor` or below it.
pub(super) fn is_below(path: &str, ancestor: &str) -> bool {
    ancestor == "/"
        || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::processes::Memory;

    fn process(pid: i32, mib: u64, oom_score_adj: i64) -> Process {
        let memory = Memory { rss_bytes: mib << 20, swap_bytes: 4096, pgtables_bytes: 8192 };
        Process {
            pid,
            comm: format!("p{pid}"),
            uid: 7,
            oom_score_adj,
            memory: Some(memory),
            cgroup: "/a/b".into(),
        }
    }

    #[test]
    fn points_equal_oom_badness() {
        // 48 MiB of limit: 12,288 pages, 12 a point of oom_score_adj.
        assert_eq!(points(&process(2, 10, 100), 12_288), Some(2560 + 1 + 2 + 1200));
        assert_eq!(points(&process(2, 10, -500), 12_288), Some(2563 - 6000));
    }

    #[test]
    fn unkillable_process_is_not_chosen() {
        let kernel_thread = Process { memory: None, ..process(2, 0, 0) };
        for untouchable in [process(1, 90, 0), process(5, 90, -1000), kernel_thread] {
            assert_eq!(points(&untouchable, 1000), None);
            assert_eq!(choose(&[untouchable], 1000), None);
        }
    }

    #[test]
    fn last_process_with_most_points_is_chosen() {
        let choice =
            choose(&[process(2, 10, 0), process(3, 10, 0), process(4, 5, 0)], 12_288).unwrap();
        assert_eq!((choice.pid, choice.equals, choice.rss_bytes), (3, Some(1), 10 << 20));
        let choice = choose(&[process(2, 40, 0), process(3, 5, 1000)], 12_288).unwrap();
        assert_eq!((choice.pid, choice.equals), (3, None));
    }

    #[test]
    fn highest_oom_group_below_limit_is_killed() {
        let choice = choose(&[process(2, 10, 0)], 12_288).unwrap();
        let groups = ["/x", "/x/a", "/x/a/b/c", "/x/z"].map(str::to_owned);
        let kills = |limit: &str| choice.clone().with_group(limit, &groups).kills_group;
        assert_eq!(kills("/x").as_deref(), Some("/x"));
        assert_eq!(kills("/y"), None);
    }

    #[test]
    fn is_below_compares_whole_names() {
        assert!(is_below("/a/b", "/a") && is_below("/a", "/a") && is_below("/a", "/"));
        assert!(!is_below("/ab", "/a") && !is_below("/a", "/a/b"));
    }
}
