//! Selects the reports that the user wants to see. Pure.

use globset::{GlobBuilder, GlobMatcher};

use crate::model::{
    account::InvocationAccount,
    names::cgroup_path,
    report::{Candidate, OomReport, lossy},
};

/// A report passes if all conditions hold. An empty filter passes every report.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Matches the cgroup of the oom_memcg, of a victim or of the trigger, or an ancestor of one.
    pub cgroup: Option<GlobMatcher>,
    /// Name of a victim, of the chosen process or of the trigger.
    pub comm: Option<String>,
    /// Process ids of victims, chosen processes or triggers; empty for any.
    pub pids: Vec<i32>,
}

/// Makes a matcher for cgroup paths. `*` does not match a `/`, `**` does.
pub(crate) fn cgroup_glob(pattern: &str) -> Result<GlobMatcher, String> {
    let trimmed = pattern.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(pattern);
    let rooted =
        if trimmed.starts_with(['/', '*']) { trimmed.to_owned() } else { format!("/{trimmed}") };
    let glob = GlobBuilder::new(&rooted).literal_separator(true).build();
    // The error quotes a pattern that the user did not write.
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| format!("error parsing glob '{pattern}': {}", error.kind()))
}

impl Filter {
    /// Whether the user wants to see this report. `account` has the victims that it does not list.
    pub fn passes(&self, report: &OomReport, account: Option<&InvocationAccount>) -> bool {
        let unlisted = account.filter(|it| it.victims.len() > report.victims.len());
        let unlisted = || {
            unlisted.into_iter().flat_map(|it| it.victims.iter().map(move |victim| (it, &victim.1)))
        };
        let has_cgroup = |glob: &GlobMatcher| {
            let mut paths = unlisted().filter_map(|(account, victim)| {
                Some(lossy(&cgroup_path(&account.paths.get(&victim.task.cgroup_id?)?.names)).0)
            });
            cgroups(report).any(|path| matches(glob, path))
                || paths.any(|path| matches(glob, &path))
        };
        let has_comm = |comm: &str| {
            comms(report).any(|it| it == comm)
                || unlisted().any(|(_, victim)| lossy(&victim.task.comm.0).0 == comm)
        };
        let has_pid = || {
            let mut pids = pids(report).chain(unlisted().map(|(_, victim)| victim.task.tgid));
            pids.any(|pid| self.pids.contains(&pid))
        };
        self.cgroup.as_ref().is_none_or(has_cgroup)
            && self.comm.as_deref().is_none_or(has_comm)
            && (self.pids.is_empty() || has_pid())
    }
}

/// Whether a cgroup or one of its ancestors matches.
pub(crate) fn matches(glob: &GlobMatcher, path: &str) -> bool {
    std::path::Path::new(path).ancestors().any(|ancestor| glob.is_match(ancestor))
}

fn cgroups(report: &OomReport) -> impl Iterator<Item = &str> {
    let oom_memcg = report.oom_memcg.as_ref().map(|memcg| &memcg.cgroup);
    let trigger = report.trigger.as_ref().and_then(|trigger| trigger.cgroup.as_ref());
    let victims = report.victims.iter().filter_map(|victim| victim.cgroup.as_ref());
    let all = oom_memcg.into_iter().chain(trigger).chain(victims);
    all.filter_map(|cgroup| cgroup.path.as_deref())
}

fn comms(report: &OomReport) -> impl Iterator<Item = &str> {
    let trigger = report.trigger.iter().filter_map(|trigger| trigger.comm.as_deref());
    let victims = report.victims.iter().filter_map(|victim| victim.comm.as_deref());
    trigger.chain(chosen(report).filter_map(|row| row.comm.as_deref())).chain(victims)
}

fn pids(report: &OomReport) -> impl Iterator<Item = i32> {
    let trigger = report.trigger.iter().map(|trigger| trigger.pid);
    let victims = report.victims.iter().map(|victim| victim.pid);
    trigger.chain(chosen(report).map(|row| row.pid)).chain(victims)
}

fn chosen(report: &OomReport) -> impl Iterator<Item = &Candidate> {
    let rows = report.candidates.iter().flat_map(|table| &table.list);
    rows.filter(|row| row.chosen)
}

#[cfg(test)]
mod tests {
    use super::{Filter, cgroup_glob};
    use crate::model::{
        account::InvocationAccount,
        events::{
            CgroupPath, Name,
            samples::{self, task},
        },
        report::{Cgroup, OomReport, Outcome, Source, Tier, Trigger, Victim},
    };

    fn report() -> OomReport {
        let mut report = OomReport::new("x".into(), Outcome::Killed, Source::new(Tier::Fentry));
        let path = Some("/kubepods/pod7/app".to_owned());
        report.trigger = Some(Trigger { pid: 7, comm: Some("sh".into()), ..Trigger::default() });
        report.victims.push(Victim {
            pid: 42,
            comm: Some("java".into()),
            cgroup: Some(Cgroup { path, ..Cgroup::default() }),
            ..Victim::default()
        });
        report
    }

    fn by_cgroup(pattern: &str) -> bool {
        Filter { cgroup: Some(cgroup_glob(pattern).unwrap()), ..Filter::default() }
            .passes(&report(), None)
    }

    #[test]
    fn cgroup_pattern_matches_children() {
        for pattern in ["/kubepods/pod7/app", "/kubepods", "kubepods/pod*", "/kubepods/", "**/app"]
        {
            assert!(by_cgroup(pattern), "{pattern}");
        }
        let error = cgroup_glob("[").unwrap_err();
        assert!(error.starts_with("error parsing glob '[': "), "{error}");
        for pattern in ["/kube", "/pod7", "/kubepods/pod8", "/*/app"] {
            assert!(!by_cgroup(pattern), "{pattern}");
        }
    }

    #[test]
    fn comm_and_pid_match_victims_and_trigger() {
        let comm = |comm: &str| Filter { comm: Some(comm.to_owned()), ..Filter::default() };
        let pid = |pid| Filter { pids: vec![pid], ..Filter::default() };
        assert!(comm("java").passes(&report(), None) && comm("sh").passes(&report(), None));
        assert!(!comm("jav").passes(&report(), None));
        assert!(pid(42).passes(&report(), None) && pid(7).passes(&report(), None));
        assert!(!pid(1).passes(&report(), None));
        assert!(Filter::default().passes(&report(), None));
    }

    #[test]
    fn victim_that_the_report_does_not_list_matches_too() {
        let mut account = InvocationAccount::default();
        for pid in 42..44 {
            let mut victim = samples::victim(task(pid));
            victim.task.cgroup_id = Some(5);
            victim.task.comm = Name(format!("java{pid}").into_bytes());
            account.victims.push((1, victim));
        }
        let names = ["other", "app"].map(|name| Name(name.as_bytes().to_vec())).to_vec();
        account.paths.insert(5, CgroupPath { id: 5, names, truncated: false });
        let passes = |filter: Filter| filter.passes(&report(), Some(&account));
        assert!(passes(Filter { pids: vec![43], ..Filter::default() }));
        assert!(!passes(Filter { pids: vec![44], ..Filter::default() }));
        assert!(passes(Filter { comm: Some("java43".to_owned()), ..Filter::default() }));
        let cgroup = |glob: &str| Some(cgroup_glob(glob).unwrap());
        assert!(passes(Filter { cgroup: cgroup("/other"), ..Filter::default() }));
        assert!(!passes(Filter { cgroup: cgroup("/another"), ..Filter::default() }));
    }
}
