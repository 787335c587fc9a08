use serde_json::json;

use super::*;

fn test_kill() -> TestKill {
    let cgroup = "/slice/oomwhy-self-test-7".to_owned();
    TestKill { pid: 8, uid: 0, cgroup, cgroup_version: 2 }
}

fn report() -> Value {
    json!({
        "outcome": "killed",
        "constraint": "memcg",
        "oom_memcg": { "path": "/host/slice/oomwhy-self-test-7", "max_bytes": LIMIT_BYTES },
        "victims": [{
            "pid": 8, "comm": COMM, "uid": 0, "anon_rss_bytes": 15 << 20,
            "cgroup": { "path": "/slice/oomwhy-self-test-7" },
        }],
        "source": { "tier": "fentry" },
    })
}

fn disagreements(report: &Value) -> Vec<&'static str> {
    let findings = compare(&test_kill(), report).into_iter();
    findings.filter(|finding| !finding.agrees()).map(|finding| finding.field).collect()
}

#[test]
fn correct_report_agrees() {
    assert_eq!(disagreements(&report()), [""; 0]);
    let mut inside = report();
    inside["victims"][0]["pid"] = json!(4711);
    inside["victims"][0]["vpid"] = json!(8);
    assert_eq!(disagreements(&inside), [""; 0]);
}

#[test]
fn wrong_field_disagrees() {
    for (pointer, value, field) in [
        ("/outcome", json!("no_victim"), "outcome"),
        ("/victims/0/pid", json!(9), "victims.pid"),
        ("/victims/0/comm", json!("hog"), "victims.comm"),
        ("/victims/0/uid", json!(1), "victims.uid"),
        ("/victims/0/cgroup/path", json!("/"), "victims.cgroup.path"),
        ("/victims/0/anon_rss_bytes", json!(4096), "victims.anon_rss_bytes"),
        ("/constraint", json!("none"), "constraint"),
        ("/oom_memcg/path", json!("/other"), "oom_memcg.path"),
        ("/oom_memcg/max_bytes", json!(LIMIT_BYTES + 1), "oom_memcg.max_bytes"),
    ] {
        let mut wrong = report();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert_eq!(disagreements(&wrong), [field], "{pointer}");
    }
}

#[test]
fn absent_field_must_be_listed_as_missing() {
    let mut bare = report();
    bare.as_object_mut().unwrap().remove("oom_memcg");
    assert_eq!(disagreements(&bare), ["oom_memcg.path", "oom_memcg.max_bytes"]);
    bare["source"]["missing"] = json!([{ "field": "oom_memcg", "why": "mark_victim alone" }]);
    assert_eq!(disagreements(&bare), [""; 0]);
    bare["source"]["missing"] = json!([{ "field": "victims", "why": "no" }]);
    bare["victims"] = json!([]);
    assert!(disagreements(&bare).contains(&"victims.pid"));
}
