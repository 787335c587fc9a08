//! The offsets of real kernels, against numbers that pahole and bpftool give for the same BTF.

use std::fs;

use oomwhy_common::offsets::{ABSENT, KernelOffsets};

use super::*;
use crate::host::fixtures;

/// The rows of `offsets.txt`: a field and its offset on each of [`fixtures::SERIES`].
fn expected() -> Vec<(String, Vec<u32>)> {
    let table = fs::read_to_string(fixtures::folder().join("offsets.txt")).expect("a fixture");
    let offset = |word: &str| match word {
        "-" => ABSENT,
        number => number.parse().expect("an offset"),
    };
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let field = words.next().expect("a field").to_owned();
        (field, words.map(offset).collect())
    };
    table.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

fn fixture(series: &str) -> Resolved {
    resolve(&fixtures::btf(series))
}

fn offset_of(resolved: &Resolved, field: &str) -> u32 {
    resolved.matched.iter().find(|found| found.field == field).map_or(ABSENT, |found| found.offset)
}

#[test]
fn table_has_every_field_once() {
    let names: Vec<_> = TABLE.iter().map(|field| field.name).collect();
    assert_eq!(names, KernelOffsets::NAMES);
    let expected: Vec<_> = expected().into_iter().map(|(field, _)| field).collect();
    assert_eq!(expected, KernelOffsets::NAMES);
}

#[test]
fn offsets_are_those_of_pahole() {
    let expected = expected();
    for (column, series) in fixtures::SERIES.into_iter().enumerate() {
        let resolved = fixture(series);
        for (field, expected) in &expected {
            assert_eq!(expected.len(), fixtures::SERIES.len(), "{field}");
            assert_eq!(offset_of(&resolved, field), expected[column], "{series}: {field}");
        }
    }
}

#[test]
fn matched_fields_have_an_offset_and_missing_ones_have_none() {
    for series in fixtures::SERIES {
        let mut resolved = fixture(series);
        assert_eq!(resolved.matched.len() + resolved.missing.len(), TABLE.len());
        for field in TABLE {
            let expected = offset_of(&resolved, field.name);
            assert_eq!(*(field.slot)(&mut resolved.offsets), expected, "{series}: {}", field.name);
        }
    }
}

#[test]
fn only_fields_that_the_kernel_does_not_have_are_missing() {
    let plain = ["per_cpu_counters"].as_slice();
    let with_v1_in_memcg = [plain, &["memcg_vmstats", "vmstats_state"]].concat();
    let expected = |series: &str| match series {
        "5.10-pid" | "5.10" => with_v1_in_memcg.clone(),
        "6.1" => vec!["per_cpu_counters", "memcg_vmstats_array"],
        _ => vec![
            "task_memcg_in_oom",
            "memcg_kmem",
            "memcg_vmstats_array",
            "task_memcg_oom_gfp_mask",
            "task_memcg_oom_order",
        ],
    };
    for series in fixtures::SERIES {
        let missing = fixture(series).missing;
        let fields: Vec<_> = missing.iter().map(|missing| missing.field).collect();
        assert_eq!(fields, expected(series), "{series}");
    }
}

#[test]
fn matched_path_is_named() {
    for (series, alternative) in [("6.12", "kernfs_node.parent"), ("7.3", "kernfs_node.__parent")] {
        let resolved = fixture(series);
        let found = resolved.matched.iter().find(|found| found.field == "kernfs_parent");
        assert_eq!(found.map(|found| found.alternative), Some(alternative), "{series}");
    }
}

#[test]
fn file_and_its_bytes_resolve_alike() {
    for series in fixtures::SERIES {
        let opened =
            KernelBtf::open(&fixtures::path(series), fixtures::HOOKS).expect("BTF in a file");
        assert_eq!(resolve(&opened), fixture(series), "{series}");
    }
}

#[test]
fn running_kernel_resolves_if_it_has_btf() {
    let Ok(btf) = KernelBtf::open(super::super::btf::KERNEL_BTF.as_ref(), &[]) else {
        return;
    };
    assert!(resolve(&btf).has("task_tgid"));
}

#[test]
fn impossible_path_has_an_error_with_its_end() {
    let btf = fixtures::btf("6.12");
    for (path, why) in [
        ("no_such.thing", "no struct no_such"),
        ("upid.ns", "no member ns in upid"),
        ("task_struct.pid.pid", "task_struct.pid is not a struct"),
        ("task_struct.pid[0]", "task_struct.pid is not an array"),
        ("css_set.subsys[nobody_id]", "no enumerator nobody_id"),
        ("css_set.subsys[14]", "index 14 is behind the end of css_set.subsys"),
        ("css_set", "no member  in css_set"),
    ] {
        assert_eq!(find(&btf, path, Load::None).map_err(|why| why.to_string()), Err(why.into()));
    }
}

#[test]
fn field_of_another_size_is_not_loaded() {
    let btf = fixtures::btf("6.12");
    let why = |load| find(&btf, "task_struct.comm", load).map_err(|why| why.to_string());
    assert_eq!(why(Load::Bytes(8)), Err("task_struct.comm has 16 bytes, not 8".into()));
    assert_eq!(why(Load::First(17)), Err("task_struct.comm has 16 bytes, not 17 or more".into()));
    assert_eq!(why(Load::First(16)), Ok(2976));
}

#[test]
fn table_is_shown_in_columns() {
    let resolved = Resolved {
        offsets: KernelOffsets::NONE,
        matched: vec![
            Match { field: "task_pid", alternative: "task_struct.pid", offset: 1256 },
            Match { field: "upid_size", alternative: "sizeof(upid)", offset: 16 },
        ],
        missing: vec![Missing { field: "per_cpu_counters", why: "no member counters".to_owned() }],
    };
    let expected = "\
        task_pid           1256  task_struct.pid\n\
        upid_size            16  sizeof(upid)\n\
        per_cpu_counters      -  no member counters\n";
    assert_eq!(resolved.to_string(), expected);
    for series in fixtures::SERIES {
        let resolved = resolve(&fixtures::btf(series));
        let lines = resolved.matched.len() + resolved.missing.len();
        assert_eq!(resolved.to_string().lines().count(), lines, "{series}");
    }
}
