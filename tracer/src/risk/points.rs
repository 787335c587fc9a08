//! Which task of a memcg the OOM killer would choose. Pure; `compose/badness.rs` says what a point
//! is.

use serde::Serialize;

use super::processes::Process;
use crate::compose::badness::{self, OOM_SCORE_ADJ_MIN};

/// The one with the most points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Choice {
    /// Process.
    pub pid: i32,
    /// Its name; untrusted.
    pub comm: String,
    /// Real user id.
    pub uid: u32,
    /// oom_badness, pages.
    pub points: i64,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Others with as many points: the kernel takes the one that it sees last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<usize>,
    /// memory.oom.group is set here: everything below dies with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kills_group: Option<String>,
    /// Where it lives, from the cgroup whose limit it is.
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

/// The kernel's choice among these; of equals the last.
pub(crate) fn choose(processes: &[Process], totalpages: u64) -> Option<Choice> {
    let weighed: Vec<(i64, &Process)> = processes
        .iter()
        .filter_map(|process| Some((points(process, totalpages)?, process)))
        .collect();
    let &(most, chosen) = weighed.iter().max_by_key(|(points, _)| *points)?;
    let equals = weighed.iter().filter(|(points, _)| *points == most).count() - 1;
    Some(Choice {
        pid: chosen.pid,
        comm: chosen.comm.clone(),
        uid: chosen.uid,
        points: most,
        oom_score_adj: chosen.oom_score_adj,
        rss_bytes: chosen.memory.map_or(0, |memory| memory.rss_bytes),
        equals: (equals > 0).then_some(equals),
        kills_group: None,
        cgroup: chosen.cgroup.clone(),
    })
}

impl Choice {
    /// Notes whether others die with it: the highest cgroup from the chosen one's up to the one whose
    /// limit is hit that has memory.oom.group (`mem_cgroup_get_oom_group`).
    pub(super) fn with_group(mut self, limit: &str, oom_groups: &[String]) -> Self {
        let cgroup = format!("{}{}", limit.trim_end_matches('/'), self.cgroup);
        let is_between = |path: &&String| is_below(&cgroup, path) && is_below(path, limit);
        let highest = oom_groups.iter().filter(is_between).min_by_key(|path| path.len());
        self.kills_group = highest.cloned();
        self
    }
}

/// Whether a cgroup is another one or below it.
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
    fn points_are_the_kernels_sum() {
        // 48 MiB of limit: 12,288 pages, 12 a point of oom_score_adj.
        assert_eq!(points(&process(2, 10, 100), 12_288), Some(2560 + 1 + 2 + 1200));
        assert_eq!(points(&process(2, 10, -500), 12_288), Some(2563 - 6000));
    }

    #[test]
    fn who_may_not_be_killed_is_not_chosen() {
        let kernel_thread = Process { memory: None, ..process(2, 0, 0) };
        for untouchable in [process(1, 90, 0), process(5, 90, -1000), kernel_thread] {
            assert_eq!(points(&untouchable, 1000), None);
            assert_eq!(choose(&[untouchable], 1000), None);
        }
    }

    #[test]
    fn the_most_points_are_chosen_and_of_equals_the_last() {
        let choice =
            choose(&[process(2, 10, 0), process(3, 10, 0), process(4, 5, 0)], 12_288).unwrap();
        assert_eq!((choice.pid, choice.equals, choice.rss_bytes), (3, Some(1), 10 << 20));
        let choice = choose(&[process(2, 40, 0), process(3, 5, 1000)], 12_288).unwrap();
        assert_eq!((choice.pid, choice.equals), (3, None));
    }

    #[test]
    fn the_highest_group_below_the_limit_dies_with_it() {
        let choice = choose(&[process(2, 10, 0)], 12_288).unwrap();
        let groups = ["/x", "/x/a", "/x/a/b/c", "/x/z"].map(str::to_owned);
        let kills = |limit: &str| choice.clone().with_group(limit, &groups).kills_group;
        assert_eq!(kills("/x").as_deref(), Some("/x"));
        assert_eq!(kills("/y"), None);
    }

    #[test]
    fn paths_are_compared_by_whole_names() {
        assert!(is_below("/a/b", "/a") && is_below("/a", "/a") && is_below("/a", "/"));
        assert!(!is_below("/ab", "/a") && !is_below("/a", "/a/b"));
    }
}
