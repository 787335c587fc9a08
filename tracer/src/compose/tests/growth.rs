//! Recorded growth in bytes and rates.

use super::{Findings, compose, kill, parts::host, report};
use crate::model::{
    account::InvocationAccount,
    events::{Invocation, Memcg},
    host::Host,
    names::{Name, Symbol, UserNames},
    recorded_growth::{AllocationSite, Recorded, Usage},
    report::{Frame, Truncated},
};

const SECOND: u64 = 1_000_000_000;

fn recorded() -> Recorded {
    let usage = |second: u64, usage| Usage { t_ns: second * SECOND, usage, max: 1000 };
    Recorded {
        curve: vec![usage(10, 100), usage(70, 700), usage(100, 1000)],
        sites: vec![
            AllocationSite {
                pages: 600,
                tgid: 100,
                comm: b"thread".to_vec(),
                ..AllocationSite::default()
            },
            AllocationSite {
                pages: 64,
                tgid: 0,
                comm: b"swapper".to_vec(),
                ..AllocationSite::default()
            },
        ],
        pages: 1000,
        unwound_pages: 250,
        pushed_out: 0,
        skipped: None,
        late_ns: None,
        dropped: 0,
    }
}

fn grown(recorded: Recorded) -> InvocationAccount {
    InvocationAccount { growth: Some(Box::new(recorded)), ..kill() }
}

#[test]
fn growth_curve_has_bytes_and_rates() {
    let growth = report(&grown(recorded())).growth.unwrap();
    let usages: Vec<u64> = growth.curve.iter().map(|point| point.usage_bytes).collect();
    assert_eq!(usages, [409_600, 2_867_200, 4_096_000]);
    let rate = growth.rate_bytes_per_s.unwrap();
    assert_eq!((rate.last_minute, rate.whole), (Some(40_960), Some(40_960)));
    assert_eq!(growth.unwound_share, Some(0.25));
    // Two thirds of it within an eighth of the time.
    assert_eq!(growth.kind.as_deref(), Some("burst"));
}

#[test]
fn growth_stack_has_name_of_its_process() {
    let report = report(&grown(recorded()));
    let victim = report.victims.first().unwrap();
    let [own, behalf] = report.growth.unwrap().stacks.try_into().unwrap();
    assert_eq!((own.pid, &own.comm), (Some(100), &victim.comm));
    assert_eq!((behalf.pid, behalf.comm, behalf.bytes), (None, None, 262_144));
}

#[test]
fn growth_stacks_are_composed_only_as_far_as_they_fit() {
    let frame = Frame { symbol: Some("x".repeat(30_000)), ..Frame::default() };
    let site = AllocationSite { user: vec![frame], ..AllocationSite::default() };
    let report = report(&grown(Recorded { sites: vec![site; 32], ..recorded() }));
    let kept = u64::try_from(report.growth.unwrap().stacks.len()).unwrap();
    assert!((10..20).contains(&kept), "{kept}");
    let field = "growth.stacks".to_owned();
    assert_eq!(report.truncated, [Truncated { field, kept, total: 32 }]);
}

#[test]
fn growth_losses_are_missing() {
    let missing = |recorded| {
        let missing = report(&grown(recorded)).source.missing;
        missing.into_iter().filter(|it| it.field == "growth.stacks").count()
    };
    assert_eq!(missing(recorded()), 0);
    assert_eq!(missing(Recorded { pushed_out: 3, ..recorded() }), 1);
    assert_eq!(missing(Recorded { dropped: 1, ..recorded() }), 1);
    assert_eq!(missing(Recorded { skipped: Some(0), ..recorded() }), 0);
    assert_eq!(missing(Recorded { dropped: 1, skipped: Some(2), ..recorded() }), 2);
    assert_eq!(missing(Recorded { late_ns: Some(3_000_000_000), ..recorded() }), 1);
}

#[test]
fn growth_without_recorder_is_absent() {
    let report = report(&kill());
    assert_eq!(report.growth, None);
    assert!(report.source.missing.iter().all(|missing| missing.field != "growth"));
}

#[test]
fn growth_that_was_not_recorded_has_reason() {
    const MEMCG: Memcg = Memcg { id: Some(7), memory: None, swap: None, oom_group: None };
    let host = Host {
        hooks: [("page_counter_try_charge".to_owned(), "fexit".to_owned())].into(),
        ..host()
    };
    let why = |account: &InvocationAccount| {
        let report = compose(account, &host, &Findings::default());
        assert_eq!(report.growth, None);
        let missing = report.source.missing.into_iter().find(|it| it.field == "growth");
        missing.unwrap().why
    };
    let mut account = kill();
    let mut after = |change: fn(&mut Invocation)| {
        account.invocation.as_mut().map(change);
        why(&account)
    };
    assert!(after(|_| ()).contains("is not known"));
    assert!(after(|it| it.oom_memcg = Some(MEMCG)).contains("--growth-above"));
    assert!(after(|it| it.is_memcg = Some(false)).contains("whole host"));
    assert!(after(|it| it.choice_made = false).contains("none was"));
}

#[test]
fn growth_frames_have_names_of_their_process() {
    let frame = |build_id: &str| Frame {
        build_id: Some(build_id.to_owned()),
        file_offset: Some(16),
        ..Frame::default()
    };
    let user =
        vec![frame("aa"), frame("bb"), Frame { ip: Some("0x1f".to_owned()), ..Frame::default() }];
    let mut recorded = recorded();
    let site = |tgid, user| AllocationSite { pages: 64, tgid, user, ..AllocationSite::default() };
    let nameless = vec![frame("bb"), user[2].clone()];
    recorded.sites = vec![site(100, user.clone()), site(101, user), site(102, nameless)];
    let account = grown(recorded);
    let name = |symbol: &str| Name { symbol: Some(symbol.to_owned()), ..Name::default() };
    let at = crate::model::names::FileOffset { build_id: "aa".to_owned(), file_offset: 16 };
    let names =
        UserNames { offsets: vec![(at, name("grow"))], addresses: vec![(0x1f, name("made"))] };
    let mut findings = Findings::default();
    findings.user_names.insert((account.seq, 100), names);
    findings.names_asked.insert(account.seq, ());
    let report = compose(&account, &host(), &findings);
    let stacks = report.growth.unwrap().stacks;
    let named = |stack: usize| {
        let frames = stacks[stack].user_stack.iter().flatten();
        frames.map(|frame| frame.symbol.as_deref()).collect::<Vec<_>>()
    };
    assert_eq!(named(0), [Some("grow"), None, Some("made")]);
    // An offset in a file has the same name in all processes, an address does not.
    assert_eq!(named(1), [Some("grow"), None, None]);
    let missing =
        report.source.missing.iter().find(|it| it.field.starts_with("growth.stacks.user"));
    assert!(missing.unwrap().why.contains("of process 102: "), "{missing:?}");
}

#[test]
fn kernel_addresses_without_name_are_missing() {
    let (of_trigger, of_growth) = (0xffff_ffff_8100_0000, 0xffff_ffff_8200_0000);
    let mut recorded = recorded();
    recorded.sites =
        vec![AllocationSite { pages: 64, kernel: vec![of_growth], ..AllocationSite::default() }];
    let mut account = grown(recorded);
    account.invocation.as_mut().unwrap().kernel_stack = Some(vec![of_trigger]);
    let symbol = |name: &str| Symbol { name: name.to_owned(), offset: 1, module: None };
    let mut findings = Findings::default();
    findings.names_asked.insert(account.seq, ());
    let is_missing = |findings: &Findings| {
        let missing = compose(&account, &host(), findings).source.missing;
        missing.iter().any(|it| it.field == "growth.stacks.kernel_stack.symbol")
    };
    // No address in the kernel has a name: then the trigger's stack is missing its symbols.
    assert!(!is_missing(&findings));
    findings.symbols.insert(of_trigger, symbol("out_of_memory"));
    assert!(is_missing(&findings));
    findings.symbols.insert(of_growth, symbol("try_charge_memcg"));
    assert!(!is_missing(&findings));
}
