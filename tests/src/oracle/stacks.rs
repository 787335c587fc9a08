//! Compares user stacks with the functions of the test programs.

use serde_json::Value;

use super::check::Check;
use crate::programs::{PROGRAMS, Program};

/// Compares the stacks of the trigger and of a victim of a kill.
pub(super) fn compare(check: &mut Check, report: &Value, victim: &Value) {
    let trigger = &report["trigger"];
    if let Some(program) = program(trigger) {
        names(check, "trigger", trigger, program, program.allocates_in);
    }
    if let Some(program) = program(victim) {
        let is_trigger = victim["pid"] == trigger["pid"];
        let functions = if is_trigger { program.allocates_in } else { program.rests_in };
        names(check, "victim", victim, program, functions);
    }
}

fn program(task: &Value) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| task["comm"] == program.name)
}

/// Checks that the innermost frames are in these functions. A hash may follow a name.
fn names(check: &mut Check, whose: &str, task: &Value, program: &Program, functions: &[&str]) {
    let frames = task["user_stack"].as_array().map(Vec::as_slice).unwrap_or_default();
    if program.is_interpreted() {
        return among_others(check, whose, frames, functions);
    }
    for (index, function) in functions.iter().enumerate() {
        let frame = frames.get(index).unwrap_or(&Value::Null);
        let is_in = frame["symbol"].as_str().is_some_and(|symbol| is_name(symbol, function));
        let is_made = frame["ip"].is_string() && frame["build_id"].is_null();
        let file = format!("/bin/{}", program.name);
        let is_whole = is_made || (frame["file"] == file.as_str() && frame["file_offset"].is_u64());
        if !is_in || !is_whole || !frame["offset"].is_u64() {
            check.disagree(format!(
                "{whose} {}: frame {index} is {frame}, not in {function} of {file}",
                program.name
            ));
        }
    }
}

/// Checks that the functions are in the stack in this order, with frames of the interpreter
/// between.
fn among_others(check: &mut Check, whose: &str, frames: &[Value], functions: &[&str]) {
    let symbols: Vec<&str> = frames.iter().filter_map(|it| it["symbol"].as_str()).collect();
    let mut rest = symbols.iter();
    let is_next = |function: &&str| rest.any(|symbol| symbol.starts_with(function));
    if !functions.iter().all(is_next) {
        check.disagree(format!("{whose}: {symbols:?} does not have {functions:?} in this order"));
    }
}

fn is_name(symbol: &str, function: &str) -> bool {
    symbol.strip_prefix(function).is_some_and(|rest| rest.is_empty() || rest.starts_with("::h"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn verdict(report: &Value) -> usize {
        let mut check = Check::default();
        compare(&mut check, report, &report["victims"][0]);
        check.disagreements.len()
    }

    #[test]
    fn wrong_function_or_file_is_found() {
        let frame = |symbol: &str, file: &str| {
            json!({ "symbol": symbol, "offset": 1, "file": file, "build_id": "00",
                "file_offset": 4096 })
        };
        let right = json!({
            "trigger": { "comm": "rust", "pid": 1, "user_stack":
                [frame("leak::grow_in_rust::h00", "/bin/rust"), frame("leak::main", "/bin/rust")] },
            "victims": [{ "comm": "c-static", "pid": 2, "user_stack":
                [frame("rest_in_c", "/bin/c-static")] }],
        });
        assert_eq!(verdict(&right), 0);
        for (path, wrong) in [
            ("/trigger/user_stack/0", frame("rest_in_c", "/bin/c-static")),
            ("/trigger/user_stack/0/symbol", json!("_ZN4leak12grow_in_rust17h00E")),
            ("/trigger/user_stack/1/offset", Value::Null),
            ("/victims/0/user_stack/0/file", json!("/bin/rust")),
            ("/victims/0/user_stack/0/file_offset", Value::Null),
            ("/victims/0/user_stack", json!([])),
        ] {
            let mut report = right.clone();
            *report.pointer_mut(path).unwrap() = wrong;
            assert_eq!(verdict(&report), 1, "{path}");
        }
        let mut own = right;
        own["victims"][0]["pid"] = json!(1);
        let grown = program(&own["victims"][0]).unwrap().allocates_in.len();
        assert_eq!(verdict(&own), grown, "it grew");
    }

    #[test]
    fn interpreted_functions_are_found_in_order() {
        let verdict = |functions: [&str; 2]| {
            let [inner, outer] =
                functions.map(|it| json!({ "symbol": format!("py::{it}:/x.py"), "ip": "0x1" }));
            let (memset, eval) = (json!({ "file": "/lib/libc" }), json!({ "symbol": "eval" }));
            let task = json!({ "comm": "py-alloc", "pid": 1,
                "user_stack": [memset, inner, eval, outer] });
            verdict(&json!({ "trigger": task, "victims": [task] }))
        };
        assert_eq!(verdict(["until_killed", "main"]), 0);
        assert_eq!(verdict(["main", "until_killed"]), 2);
        assert_eq!(verdict(["by_large", "main"]), 2);
    }
}
