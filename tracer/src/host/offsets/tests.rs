//! The offsets of real kernels, against numbers that pahole and bpftool give for the same BTF.

use oomwhy_common::offsets::{ABSENT, KernelOffsets};

use super::*;
use crate::host::fixtures;

/// One column per [`fixtures::SERIES`].
#[rustfmt::skip]
const EXPECTED: &[(&str, [u32; 6])] = &[
    ("oc_memcg", [16, 16, 16, 16, 16, 16]),
    ("oc_nodemask", [8, 8, 8, 8, 8, 8]),
    ("oc_gfp_mask", [24, 24, 24, 24, 24, 24]),
    ("oc_order", [28, 28, 28, 28, 28, 28]),
    ("oc_totalpages", [32, 32, 32, 32, 32, 32]),
    ("oc_chosen", [40, 40, 40, 40, 40, 40]),
    ("oc_chosen_points", [48, 48, 48, 48, 48, 48]),
    ("oc_constraint", [56, 56, 56, 56, 56, 56]),
    ("task_pid", [2232, 2232, 2416, 2432, 2704, 2872]),
    ("task_tgid", [2236, 2236, 2420, 2436, 2708, 2876]),
    ("task_comm", [2736, 2736, 2976, 2976, 3248, 3408]),
    ("task_flags", [36, 36, 44, 44, 44, 44]),
    ("task_mm", [2056, 2056, 2272, 2304, 2576, 2744]),
    ("task_signal", [2832, 2832, 3072, 3072, 3344, 3520]),
    ("task_real_cred", [2712, 2712, 2952, 2952, 3224, 3384]),
    ("task_start_boottime", [2544, 2544, 2784, 2784, 3056, 3224]),
    ("task_cgroups", [3328, 3328, 3600, 3584, 3880, 4072]),
    ("task_vfork_done", [2440, 2440, 2624, 2624, 2896, 3064]),
    ("task_real_parent", [2248, 2248, 2432, 2448, 2720, 2888]),
    ("task_mems_allowed", [3184, 3184, 3456, 3448, 3744, 3936]),
    ("task_memcg_in_oom", [4824, 4824, 5088, ABSENT, ABSENT, ABSENT]),
    ("signal_oom_score_adj", [1010, 1010, 1026, 1018, 1066, 1074]),
    ("signal_nr_threads", [8, 8, 8, 8, 8, 8]),
    ("signal_live", [4, 4, 4, 4, 4, 4]),
    ("signal_oom_mm", [1016, 1016, 1032, 1024, 1072, 1080]),
    ("signal_pid_tgid", [360, 360, 368, 360, 368, 384]),
    ("pid_level", [4, 4, 4, 4, 4, 4]),
    ("pid_numbers", [96, 96, 96, 112, 144, 128]),
    ("upid_size", [16, 16, 16, 16, 16, 16]),
    ("upid_nr", [0, 0, 0, 0, 0, 0]),
    ("cred_uid", [8, 8, 8, 8, 8, 8]),
    ("mm_total_vm", [192, 192, 192, 256, 360, 608]),
    ("mm_pgtables_bytes", [104, 104, 96, 152, 168, 392]),
    ("mm_flags", [880, 880, 904, 1128, 1240, 1504]),
    ("mm_rss_file", [712, 712, 728, 832, 936, 1216]),
    ("mm_rss_anon", [720, 720, 736, 872, 976, 1256]),
    ("mm_rss_swap", [728, 728, 744, 912, 1016, 1296]),
    ("mm_rss_shmem", [736, 736, 752, 952, 1056, 1336]),
    ("per_cpu_counters", [ABSENT, ABSENT, ABSENT, 24, 24, 24]),
    ("css_set_memory", [32, 32, 32, 32, 32, 32]),
    ("css_cgroup", [0, 0, 0, 0, 0, 0]),
    ("memcg_cgroup", [0, 0, 0, 0, 0, 0]),
    ("memcg_memory", [208, 208, 256, 256, 256, 256]),
    ("memcg_swap", [320, 320, 448, 512, 448, 448]),
    ("memcg_kmem", [432, 432, 640, ABSENT, ABSENT, ABSENT]),
    ("memcg_oom_group", [817, 817, 1184, 960, 832, 752]),
    ("memcg_vmstats", [ABSENT, ABSENT, 1472, 1136, 1008, 952]),
    ("memcg_vmstats_array", [1152, 1152, ABSENT, ABSENT, ABSENT, ABSENT]),
    ("vmstats_state", [ABSENT, ABSENT, 0, 0, 0, 0]),
    ("counter_usage", [0, 0, 0, 0, 0, 0]),
    ("counter_max", [32, 32, 152, 224, 160, 160]),
    ("counter_high", [24, 24, 144, 216, 152, 152]),
    ("counter_low", [16, 16, 136, 208, 144, 144]),
    ("counter_min", [8, 8, 128, 200, 136, 136]),
    ("counter_parent", [40, 40, 160, 232, 168, 168]),
    ("cgroup_kn", [248, 248, 248, 256, 256, 296]),
    ("kernfs_parent", [8, 8, 8, 8, 8, 8]),
    ("kernfs_name", [16, 16, 16, 16, 16, 16]),
    ("kernfs_id", [104, 104, 104, 96, 96, 96]),
    ("signal_flags", [116, 116, 116, 116, 116, 116]),
    ("signal_thread_head", [16, 16, 16, 16, 16, 16]),
    ("task_thread_node", [2424, 2424, 2608, 2608, 2880, 3048]),
    ("task_memcg_oom_gfp_mask", [4832, 4832, 5096, ABSENT, ABSENT, ABSENT]),
    ("task_memcg_oom_order", [4836, 4836, 5100, ABSENT, ABSENT, ABSENT]),
    ("mm_arg_start", [312, 312, 312, 376, 480, 728]),
    ("mm_arg_end", [320, 320, 320, 384, 488, 736]),
    ("mm_exe_file", [928, 928, 944, 1168, 1280, 1536]),
    ("file_dentry", [24, 24, 24, 72, 72, 72]),
    ("file_mnt", [16, 16, 16, 64, 64, 64]),
    ("dentry_parent", [24, 24, 24, 24, 24, 24]),
    ("dentry_name", [40, 40, 40, 40, 40, 40]),
    ("vfsmount_root", [0, 0, 0, 0, 0, 0]),
    ("mount_mnt", [32, 32, 32, 32, 32, 32]),
    ("mount_parent", [16, 16, 16, 16, 16, 16]),
    ("mount_mountpoint", [24, 24, 24, 24, 24, 24]),
    ("cgroup_memory", [408, 408, 576, 584, 584, 672]),
];

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
    let expected: Vec<_> = EXPECTED.iter().map(|(field, _)| *field).collect();
    assert_eq!(expected, KernelOffsets::NAMES);
}

#[test]
fn offsets_are_those_of_pahole() {
    for (column, series) in fixtures::SERIES.into_iter().enumerate() {
        let resolved = fixture(series);
        for (field, expected) in EXPECTED {
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
