//! The names that the containers of `tests/containers.sh` must have in the reports of their kills,
//! and the functions that allocated the memory.

use serde_json::Value;

use crate::report;

/// The reports, among the results of the boot.
pub const REPORTS: &str = "reports.jsonl";
/// The stderr of oomwhy, among the results of the boot.
pub const STDERR: &str = "stderr.txt";

/// A container that exceeds its limit.
#[derive(Debug)]
pub struct Expected {
    /// The name of its program.
    comm: &'static str,
    runtime: &'static str,
    name: &'static str,
    image: Option<&'static str>,
    /// The Kubernetes namespace and the pod.
    pod: Option<(&'static str, &'static str)>,
    /// The limit that it exceeds, MiB.
    limit_mib: u64,
    /// Functions of the trigger's user stack, innermost first, as their names begin.
    allocates_in: &'static [&'static str],
    /// The file of the innermost frame, if the frame is in a file.
    file: Option<&'static str>,
    /// Whether the process has one thread, so the victim's stack is that of the allocating thread.
    has_one_thread: bool,
}

/// The pod's uid in the script.
const POD_UID: &str = "0b1d7a8e-5c3f-4e2a-9d64-7f80a1b2c3d4";

/// Every container that the script starts.
pub const EXPECTED: &[Expected] = &[
    Expected {
        comm: "go",
        runtime: "podman",
        name: "hungry-go",
        image: Some("localhost/hog:1"),
        pod: None,
        limit_mib: 256,
        allocates_in: &["main.growInGo", "main.outerInGo", "main.main"],
        file: Some("/bin/go"),
        has_one_thread: false,
    },
    // Debian's interpreter has no frame pointers, so the innermost function is known, but not its
    // caller.
    Expected {
        comm: "python3",
        runtime: "podman",
        name: "hungry-python",
        image: Some("localhost/hog:1"),
        pod: None,
        limit_mib: 64,
        allocates_in: &[],
        file: Some("/usr/bin/python3.13"),
        has_one_thread: true,
    },
    // This container runs without root.
    Expected {
        comm: "cpp",
        runtime: "podman",
        name: "hungry-user",
        image: Some("localhost/hog:1"),
        pod: None,
        limit_mib: 64,
        allocates_in: &[
            "leaking::Leak<int>::grow(unsigned long)",
            "leaking::outer(void*, unsigned long)",
            "main",
        ],
        file: Some("/bin/cpp"),
        has_one_thread: true,
    },
    Expected {
        comm: "node",
        runtime: "containerd",
        name: "web",
        image: Some("registry.local/web:7"),
        pod: Some(("shop", "shop-0")),
        limit_mib: 128,
        allocates_in: &["JS:*growInNode"],
        file: None,
        has_one_thread: false,
    },
    Expected {
        comm: "rust",
        runtime: "containerd",
        name: "worker",
        image: None,
        pod: Some(("shop", "queue-1")),
        limit_mib: 64,
        allocates_in: &["leak::grow_in_rust", "leak::main"],
        file: Some("/bin/rust"),
        has_one_thread: true,
    },
    Expected {
        comm: "c-static-pie",
        runtime: "docker",
        name: "hungry-docker",
        image: Some("hog:1"),
        pod: None,
        limit_mib: 512,
        allocates_in: &["grow_in_c", "outer_in_c", "grow", "main"],
        file: Some("/bin/c-static-pie"),
        has_one_thread: true,
    },
];

/// The differences between the reports and [`EXPECTED`].
pub fn compare(reports: &str) -> Vec<String> {
    let kills: Vec<Value> = report::objects(reports).filter(report::is_kill).collect();
    let mut problems: Vec<String> = EXPECTED.iter().flat_map(|it| it.compare(&kills)).collect();
    if kills.len() != EXPECTED.len() {
        problems.push(format!("{} kills are reported, not {}", kills.len(), EXPECTED.len()));
    }
    problems
}

impl Expected {
    fn compare(&self, kills: &[Value]) -> Vec<String> {
        let Some(kill) = kills.iter().find(|kill| kill["victims"][0]["comm"] == self.comm) else {
            return vec![format!("no report of {} in a container of {}", self.comm, self.runtime)];
        };
        let mut problems = Vec::new();
        for whose in ["/victims/0", "/trigger", "/oom_memcg"] {
            let container = kill.pointer(&format!("{whose}/container")).unwrap_or(&Value::Null);
            if !self.is(container) {
                problems.push(format!("{}: {whose} is in {container}, not in {self:?}", self.comm));
            }
        }
        let limit = &kill["oom_memcg"]["max_bytes"];
        if limit.as_u64() != Some(self.limit_mib << 20) {
            problems
                .push(format!("{}: its limit is {limit}, not {} MiB", self.comm, self.limit_mib));
        }
        let stacks = [&kill["trigger"]["user_stack"], &kill["victims"][0]["user_stack"]];
        let n_checked = if self.has_one_thread { 2 } else { 1 };
        for stack in stacks.into_iter().take(n_checked) {
            if self.grew_in(stack) || self.is_too_late(kill, stack) {
                continue;
            }
            problems.push(format!("{}: a stack is {stack}, not in {self:?}", self.comm));
        }
        problems
    }

    fn is(&self, container: &Value) -> bool {
        let has = |key: &str, value: Option<&str>| container[key].as_str() == value;
        let (namespace, pod) = self.pod.unzip();
        let is_id = |id: &str| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        has("name", Some(self.name))
            && has("image", self.image)
            && has("runtime", Some(self.runtime))
            && has("namespace", namespace)
            && has("pod", pod)
            && has("pod_uid", self.pod.map(|_| POD_UID))
            && container["id"].as_str().is_some_and(is_id)
    }

    /// Go's addresses get names only if oomwhy looks them up before the process is gone. If it is
    /// too late, which happens in some runs, no frame has a name and the report has the reason.
    fn is_too_late(&self, kill: &Value, stack: &Value) -> bool {
        let frames = stack.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_bare = |frame: &Value| frame["ip"].is_string() && frame["symbol"].is_null();
        let missing = kill["source"]["missing"].as_array().map(Vec::as_slice).unwrap_or_default();
        let says_so = missing.iter().any(|it| it["field"] == "trigger.user_stack.build_id");
        self.comm == "go" && !frames.is_empty() && frames.iter().all(is_bare) && says_so
    }

    fn grew_in(&self, stack: &Value) -> bool {
        let named = self.allocates_in.iter().enumerate().all(|(index, function)| {
            let symbol = stack[index]["symbol"].as_str().unwrap_or_default();
            symbol.starts_with(function)
        });
        named && self.file.is_none_or(|file| stack[0]["file"] == file)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{EXPECTED, Expected, POD_UID, compare};

    fn report(of: &Expected) -> Value {
        let mut container = json!({
            "runtime": of.runtime, "name": of.name, "id": "0".repeat(64),
        });
        if let Some(image) = of.image {
            container["image"] = json!(image);
        }
        if let Some((namespace, pod)) = of.pod {
            for (key, value) in [("namespace", namespace), ("pod", pod), ("pod_uid", POD_UID)] {
                container[key] = json!(value);
            }
        }
        let frame = |symbol: &&str| json!({ "symbol": symbol, "file": of.file });
        let functions = if of.allocates_in.is_empty() { &[""] } else { of.allocates_in };
        let stack: Vec<Value> = functions.iter().map(frame).collect();
        let task = json!({ "comm": of.comm, "container": container, "user_stack": stack });
        json!({
            "type": "oom", "outcome": "killed", "trigger": task, "victims": [task],
            "oom_memcg": { "container": container, "max_bytes": of.limit_mib << 20 },
        })
    }

    fn problems(reports: &[Value]) -> usize {
        let lines: Vec<String> = reports.iter().map(Value::to_string).collect();
        compare(&lines.join("\n")).len()
    }

    #[test]
    fn container_without_name_or_function_is_found() {
        let right: Vec<Value> = EXPECTED.iter().map(report).collect();
        assert_eq!(problems(&right), 0);
        for (path, wrong) in [
            ("/trigger/container/name", json!("another")),
            ("/victims/0/container/id", json!("c7")),
            ("/victims/0/container/runtime", Value::Null),
            ("/victims/0/container/pod_uid", json!("0")),
            ("/oom_memcg/container", Value::Null),
            ("/oom_memcg/max_bytes", Value::Null),
            ("/trigger/user_stack/0/file", json!("/bin/hog")),
            ("/victims/0/user_stack/0/symbol", Value::Null),
            ("/victims/0/user_stack", json!([])),
        ] {
            let mut reports = right.clone();
            let value = reports.iter_mut().rev().find_map(|report| report.pointer_mut(path));
            *value.unwrap() = wrong;
            assert_eq!(problems(&reports), 1, "{path}");
        }
        let (_, rest) = right.split_first().unwrap();
        assert_eq!(problems(rest), 2, "it is missing, and one report too few");
    }
}
