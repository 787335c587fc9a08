//! A history for the examples in the help and for the tests of the commands.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use oomwhy::testing::{
    Cgroup, Constraint, Limits, Moment, OomMemcg, OomReport, Outcome, Record, Source, Store, Tier,
    Trigger, Victim, fingerprint, short_id,
};

/// Kills of java, one per hour until now, the latest with the short id "kxqz...", and one of
/// postgres.
pub(crate) fn today(path: &Path) {
    let moment = Moment::now();
    let now = moment.wall;
    let mut store = Store::open(path, Limits::default(), "", moment).unwrap();
    let mut add = |report: OomReport| {
        let mut line = serde_json::to_vec(&Record::Oom(Box::new(report))).unwrap();
        line.push(b'\n');
        store.append(&line, moment).unwrap();
    };
    for hours in (1..12).rev() {
        let time = now - SignedDuration::from_hours(hours);
        add(report(format!("boot-{hours:016x}-7"), time, "java", "/kubepods/pod7"));
    }
    add(report(
        "boot-00000000000000ff-7".to_owned(),
        now - SignedDuration::from_mins(30),
        "postgres",
        "/system.slice/postgresql.service",
    ));
    add(report(named("kxqz"), now, "java", "/kubepods/pod7"));
}

/// An id whose short id begins with `start`.
fn named(start: &str) -> String {
    let mut ids = (0_u64..).map(|number| format!("boot-{number:016x}-8"));
    ids.find(|id| short_id(id).starts_with(start)).unwrap()
}

fn report(id: String, time: Timestamp, comm: &str, path: &str) -> OomReport {
    let mut report = OomReport::new(id, Outcome::Killed, Source::new(Tier::Fentry));
    let cgroup = Cgroup { path: Some(path.to_owned()), ..Cgroup::default() };
    let limit = Some(512 << 20);
    report.time = Some(time);
    report.constraint = Some(Constraint::Memcg);
    report.trigger = Some(Trigger { pid: 4250, comm: Some(comm.to_owned()), ..Trigger::default() });
    report.oom_memcg = Some(OomMemcg {
        cgroup: cgroup.clone(),
        usage_bytes: limit,
        max_bytes: limit,
        ..OomMemcg::default()
    });
    report.victims = vec![Victim {
        pid: 4242,
        comm: Some(comm.to_owned()),
        cgroup: Some(cgroup),
        chosen: true,
        ..Victim::default()
    }];
    report.fingerprint = fingerprint(&report);
    report
}
