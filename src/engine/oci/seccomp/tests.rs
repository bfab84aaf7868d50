//! The compiled filter against the profile itself: the program is run as the kernel would, the rules are read one by
//! one, and both must say the same.

use std::collections::HashMap;

use super::profile::{Action, Circumstances, Comparison, Condition, Profile, Rule, Test};
use super::{DEFAULT_RULES, Filter, docker, rules, tree};
use crate::engine::oci::CapSet;

const KERNEL: (u32, u32) = (6, 18);
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// Runs the program on one call.
fn run(program: &[u64], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(architecture.to_le_bytes());
    data.extend(0u64.to_le_bytes());
    arguments.iter().for_each(|argument| data.extend(argument.to_le_bytes()));
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let word = program[at];
        let (code, yes, no, k) = (word as u16, (word >> 16) as u8, (word >> 24) as u8, (word >> 32) as u32);
        at += 1;
        let mut jump = |is: bool| at += usize::from(if is { yes } else { no });
        match code {
            0x20 => accumulator = u32::from_le_bytes(data[k as usize..k as usize + 4].try_into().unwrap()),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x06 => return k,
            other => panic!("opcode {other:#x}"),
        }
    }
}

fn passes(test: &Test, arguments: [u64; 6]) -> bool {
    let argument = arguments[usize::from(test.argument)];
    let argument = if test.is_wide { argument } else { argument & 0xffff_ffff };
    match test.comparison {
        Comparison::Equal(value) => argument == value,
        Comparison::NotEqual(value) => argument != value,
        Comparison::Less(value) => argument < value,
        Comparison::LessOrEqual(value) => argument <= value,
        Comparison::Greater(value) => argument > value,
        Comparison::GreaterOrEqual(value) => argument >= value,
        Comparison::Masked(mask, value) => argument & mask == value,
    }
}

/// What the rules say, read one after the other.
fn judge(profile: &Profile, with: &Circumstances, name: Option<&str>, is_newer: bool, arguments: [u64; 6]) -> Action {
    let Some(name) = name else {
        return if is_newer && matches!(profile.otherwise, Action::Errno(_)) {
            Action::Errno(38)
        } else {
            profile.otherwise
        };
    };
    let rules = || profile.rules.iter().filter(|rule| rule.holds(with) && rule.names.iter().any(|known| known == name));
    let conditional = rules().filter(|rule| !rule.tests.is_empty());
    // One that says what is done anyhow counts for nothing, as with runc: a later one of that name is heard.
    let speaks = |rule: &&Rule| rule.tests.is_empty() && rule.action != profile.otherwise;
    let plain = rules().find(speaks).map(|rule| rule.action);
    let by_arguments =
        conditional.filter(|rule| rule.tests.iter().all(|test| passes(test, arguments))).map(|rule| rule.action).next();
    by_arguments.or(plain).unwrap_or(if is_newer { Action::Errno(38) } else { profile.otherwise })
}

/// Each value that a test of the profile names, with its neighbours, alone and with bits in the upper half.
fn boundaries(profile: &Profile) -> Vec<u64> {
    let named = profile.rules.iter().flat_map(|rule| &rule.tests).flat_map(|test| match test.comparison {
        Comparison::Equal(value)
        | Comparison::NotEqual(value)
        | Comparison::Less(value)
        | Comparison::LessOrEqual(value)
        | Comparison::Greater(value)
        | Comparison::GreaterOrEqual(value) => vec![value],
        Comparison::Masked(mask, value) => {
            (0..64).map(|bit| mask & 1 << bit).filter(|bit| *bit != 0).chain([mask, value, !mask]).collect()
        }
    });
    let around = named.flat_map(|value| [value.wrapping_sub(1), value, value.wrapping_add(1)]);
    let mut all: Vec<u64> = around.flat_map(|value| [value, value ^ 1 << 32, value | 1 << 63]).collect();
    all.extend([0, 1, 0xffff_ffff, 1 << 32, u64::MAX]);
    all.sort_unstable();
    all.dedup();
    all
}

fn is_tested(profile: &Profile, name: &str) -> bool {
    profile.rules.iter().any(|rule| !rule.tests.is_empty() && rule.names.iter().any(|known| known == name))
}

#[track_caller]
fn compare(profile: &Profile, capabilities: CapSet) {
    let with = Circumstances { capabilities, kernel: KERNEL };
    let program = tree::compile(profile, &with);
    let native: HashMap<u32, &str> =
        syscalls::x86_64::Sysno::iter().map(|call| (call.id().unsigned_abs(), call.name())).collect();
    let compat: HashMap<u32, &str> =
        syscalls::x86::Sysno::iter().map(|call| (call.id().unsigned_abs(), call.name())).collect();
    let boundaries = boundaries(profile);
    for (architecture, names) in [(X86_64, native), (I386, compat)] {
        if architecture == I386 && !profile.covers_compat {
            assert_eq!(run(&program, I386, 3, [0; 6]), Action::KillProcess.value());
            continue;
        }
        let spoken_of = |number: &u32| {
            names
                .get(number)
                .is_some_and(|name| profile.rules.iter().any(|rule| rule.names.iter().any(|known| known == name)))
        };
        let newest = names.keys().copied().filter(spoken_of).max().unwrap_or(0);
        let x32 = 0x4000_0000;
        for number in (0..700).chain(x32..x32 + 700).chain([x32 - 1, 0x7fff_ffff, 0x8000_0000, u32::MAX]) {
            let name = names.get(&number).copied().filter(|_| number <= newest);
            let looks_at_arguments = name.is_some_and(|name| is_tested(profile, name));
            let values = if looks_at_arguments { boundaries.as_slice() } else { &[0, u64::MAX] };
            for (first, second) in values.iter().flat_map(|value| [(*value, *value), (*value, 0), (0, *value)]) {
                let arguments = [first, second, 0, second, first, first];
                let expected = match number {
                    0x4000_0000.. => Action::Errno(38), // x32, which is closed whatever the profile says
                    _ => judge(profile, &with, name, number > newest, arguments),
                };
                let said = run(&program, architecture, number, arguments);
                assert_eq!(said, expected.value(), "call {number} ({name:?}) of {architecture:#x} with {arguments:x?}");
            }
        }
    }
}

/// The capabilities that some rule of the profile asks for.
fn that_matter(profile: &Profile) -> Vec<CapSet> {
    let conditions = profile.rules.iter().flat_map(|rule| &rule.conditions);
    let mut found: Vec<CapSet> = conditions
        .filter_map(|condition| match condition {
            Condition::Has(capability) | Condition::HasNot(capability) => Some(*capability),
            _ => None,
        })
        .collect();
    found.sort_unstable_by_key(|set| set.bits());
    found.dedup();
    found
}

#[test]
fn the_default_profile_is_compiled_as_it_reads() {
    let profile = rules::parse(DEFAULT_RULES).unwrap();
    let each = that_matter(&profile);
    assert!(each.len() > 10, "{each:?}");
    for capability in each {
        compare(&profile, CapSet::EMPTY.union(capability));
        compare(&profile, CapSet::ALL.without(capability));
    }
    for capabilities in [CapSet::docker_default(), CapSet::EMPTY, CapSet::ALL] {
        compare(&profile, capabilities);
    }
}

#[test]
fn every_comparison_of_a_json_profile_is_compiled_as_it_reads() {
    let ops = ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"];
    let names = ["read", "write", "open", "close", "stat", "fstat", "lstat"];
    let rule = |(op, name): (&&str, &&str)| {
        format!(
            r#"{{"names":["{name}"],"action":"SCMP_ACT_ALLOW","args":[
                {{"index":0,"value":4294967336,"valueTwo":40,"op":"SCMP_CMP_{op}"}},
                {{"index":1,"value":40,"valueTwo":40,"op":"SCMP_CMP_{op}"}}]}}"#
        )
    };
    let rules: Vec<String> = ops.iter().zip(&names).map(rule).collect();
    for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ALLOW"] {
        let json = format!(r#"{{"defaultAction":"{default}","syscalls":[{}]}}"#, rules.join(","));
        let mut profile = docker::parse(&json).unwrap();
        if default == "SCMP_ACT_ALLOW" {
            profile.rules.iter_mut().for_each(|rule| rule.action = Action::Errno(13));
        }
        if default == "SCMP_ACT_ERRNO" {
            compare(&profile, CapSet::EMPTY);
        }
    }
}

#[test]
fn the_filter_is_small_and_the_way_through_it_short() {
    let filter = Filter::default_for(CapSet::docker_default(), KERNEL);
    assert!(filter.instructions().len() < 600, "{} instructions", filter.instructions().len());
}

#[test]
fn new_namespaces_need_a_capability() {
    let program = |capabilities| Filter::default_for(capabilities, KERNEL).instructions;
    let (clone, clone3, unshare) = (56, 435, 272);
    let (none, admin) = (program(CapSet::docker_default()), program(CapSet::parse("SYS_ADMIN").unwrap()));
    let say = |program: &[u64], number, flags| run(program, X86_64, number, [flags, 0, 0, 0, 0, 0]);
    let (allow, eperm, enosys) = (Action::Allow.value(), Action::Errno(1).value(), Action::Errno(38).value());
    assert_eq!(say(&none, clone, 0x1200011), allow);
    assert_eq!(say(&none, clone, 0x1000_0000), eperm);
    assert_eq!(say(&none, clone3, 0), enosys);
    assert_eq!(say(&none, unshare, 0), eperm);
    for number in [clone, clone3, unshare] {
        assert_eq!(say(&admin, number, 0x1000_0000), allow);
    }
}

#[test]
fn an_unknown_machine_ends_the_process() {
    let filter = Filter::default_for(CapSet::EMPTY, KERNEL);
    assert_eq!(run(filter.instructions(), 0x1234, 0, [0; 6]), Action::KillProcess.value());
}

#[test]
fn a_broken_profile_is_refused_in_words() {
    let refused = |json| Filter::from_docker_json(json, CapSet::EMPTY, KERNEL).unwrap_err();
    assert_eq!(refused(r#"{"defaultAction":"SCMP_ACT_FLY"}"#), "unsupported action: SCMP_ACT_FLY");
    assert!(refused("{").contains("EOF"));
}

#[test]
fn the_x32_abi_is_closed() {
    for json in [r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#, r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#] {
        let filter = Filter::from_docker_json(json, CapSet::ALL, KERNEL).unwrap();
        for number in [0, 59, 514, 520] {
            let said = run(filter.instructions(), X86_64, 0x4000_0000 | number, [0; 6]);
            assert_eq!(said, Action::Errno(38).value(), "{json} with x32 call {number}");
        }
    }
}

#[test]
fn the_32_bit_abi_is_judged_only_where_the_profile_names_it() {
    let said = |architectures: &str| {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO",{architectures}
            "syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW"}}]}}"#
        );
        let filter = Filter::from_docker_json(&json, CapSet::EMPTY, KERNEL).unwrap();
        assert_eq!(run(filter.instructions(), X86_64, 0, [0; 6]), Action::Allow.value());
        run(filter.instructions(), I386, 3, [0; 6])
    };
    assert_eq!(said(""), Action::KillProcess.value());
    assert_eq!(said(r#""architectures":["SCMP_ARCH_X86_64"],"#), Action::KillProcess.value());
    assert_eq!(said(r#""architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"#), Action::Allow.value());
    let map = r#""archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],"#;
    assert_eq!(said(map), Action::Allow.value());
}

#[test]
fn tests_of_the_same_argument_are_alternatives() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["personality"],"action":"SCMP_ACT_ERRNO",
        "errnoRet":13,"args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#;
    let filter = Filter::from_docker_json(json, CapSet::EMPTY, KERNEL).unwrap();
    let said = |argument| run(filter.instructions(), X86_64, 135, [argument, 0, 0, 0, 0, 0]);
    assert_eq!([said(1), said(2), said(3)], [Action::Errno(13), Action::Errno(13), Action::Allow].map(Action::value));
}

#[test]
fn includes_and_excludes_decide_whether_a_rule_holds() {
    let said = |filters: &str| {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[{{"names":["read"],
            "action":"SCMP_ACT_LOG",{filters}}}]}}"#
        );
        let filter = Filter::from_docker_json(&json, CapSet::docker_default(), KERNEL).unwrap();
        run(filter.instructions(), X86_64, 0, [0; 6]) == Action::Log.value()
    };
    assert!(said(r#""includes":{"caps":["CAP_CHOWN","CAP_KILL"]}"#));
    assert!(!said(r#""includes":{"caps":["CAP_CHOWN","CAP_SYS_ADMIN"]}"#));
    assert!(!said(r#""excludes":{"caps":["CAP_SYS_ADMIN","CAP_CHOWN"]}"#));
    assert!(said(r#""includes":{"arches":["arm","amd64"]},"excludes":{"caps":["CAP_SYS_ADMIN"]}"#));
    assert!(!said(r#""excludes":{"arches":["amd64"]}"#));
    assert!(said(r#""includes":{"minKernel":"6.18"}"#) && !said(r#""includes":{"minKernel":"6.19"}"#));
    assert!(said(r#""excludes":{"minKernel":"6.19"}"#) && !said(r#""excludes":{"minKernel":"4.8"}"#));
}

#[test]
fn every_action_has_its_value() {
    let said = |action: &str| {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["read"],"action":"{action}",
            "errnoRet":7}}]}}"#
        );
        Filter::from_docker_json(&json, CapSet::EMPTY, KERNEL)
            .map(|filter| run(&filter.instructions, X86_64, 0, [0; 6]))
    };
    // include/uapi/linux/seccomp.h
    for (action, value) in [
        ("SCMP_ACT_ALLOW", 0x7fff_0000),
        ("SCMP_ACT_LOG", 0x7ffc_0000),
        ("SCMP_ACT_TRACE", 0x7ff0_0007),
        ("SCMP_ACT_ERRNO", 0x0005_0007),
        ("SCMP_ACT_TRAP", 0x0003_0000),
        ("SCMP_ACT_KILL", 0),
        ("SCMP_ACT_KILL_THREAD", 0),
        ("SCMP_ACT_KILL_PROCESS", 0x8000_0000),
    ] {
        assert_eq!(said(action), Ok(value), "{action}");
    }
    assert_eq!(said("SCMP_ACT_NOTIFY"), Err("unsupported action: SCMP_ACT_NOTIFY".to_owned()));
}

#[test]
fn a_rule_that_says_what_is_done_anyhow_counts_for_nothing() {
    let rule = |action| Rule { conditions: Vec::new(), action, tests: Vec::new(), names: vec!["read".to_owned()] };
    let rules = vec![rule(Action::Log), rule(Action::Errno(7)), rule(Action::Trap)];
    let profile = Profile { otherwise: Action::Log, covers_compat: true, rules };
    let program = tree::compile(&profile, &Circumstances { capabilities: CapSet::EMPTY, kernel: KERNEL });
    assert_eq!(run(&program, X86_64, 0, [0; 6]), Action::Errno(7).value());
    compare(&profile, CapSet::EMPTY);
}

mod any_profile {
    //! Profiles nobody would write, compiled and read, must still say the same.

    use proptest::prelude::*;

    use super::*;

    fn a_comparison() -> impl Strategy<Value = Comparison> {
        let value = || prop_oneof![0u64..4, any::<u64>(), Just(1 << 32), Just(0xffff_ffff)];
        prop_oneof![
            value().prop_map(Comparison::Equal),
            value().prop_map(Comparison::NotEqual),
            value().prop_map(Comparison::Less),
            value().prop_map(Comparison::LessOrEqual),
            value().prop_map(Comparison::Greater),
            value().prop_map(Comparison::GreaterOrEqual),
            (value(), value()).prop_map(|(mask, value)| Comparison::Masked(mask, value)),
        ]
    }

    fn is_int(comparison: Comparison) -> bool {
        let fits = |value: u64| u32::try_from(value).is_ok();
        match comparison {
            Comparison::Equal(value)
            | Comparison::NotEqual(value)
            | Comparison::Less(value)
            | Comparison::LessOrEqual(value)
            | Comparison::Greater(value)
            | Comparison::GreaterOrEqual(value) => fits(value),
            Comparison::Masked(mask, value) => fits(mask) && fits(value),
        }
    }

    fn an_action() -> impl Strategy<Value = Action> {
        prop_oneof![
            Just(Action::Allow),
            Just(Action::Log),
            (0u16..4096).prop_map(Action::Errno),
            Just(Action::Trap),
            Just(Action::KillThread),
            Just(Action::KillProcess),
        ]
    }

    fn a_rule() -> impl Strategy<Value = Rule> {
        const NAMES: [&str; 8] =
            ["read", "write", "socket", "clone", "personality", "ioctl", "mseal", "nothing_of_this_name"];
        // a test of an int is of our own profile's making, which names no value that is none
        let test = (0u8..2, any::<bool>(), a_comparison()).prop_map(|(argument, is_wide, comparison)| Test {
            argument,
            is_wide: is_wide || !is_int(comparison),
            comparison,
        });
        let tests = prop::collection::vec(test, 0..4);
        (an_action(), tests, prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4)).prop_map(
            |(action, tests, names)| Rule {
                conditions: Vec::new(),
                action,
                tests,
                names: names.into_iter().map(str::to_owned).collect(),
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn is_compiled_as_it_reads(
            otherwise in an_action(),
            covers_compat in any::<bool>(),
            rules in prop::collection::vec(a_rule(), 0..6),
        ) {
            compare(&Profile { otherwise, covers_compat, rules }, CapSet::EMPTY);
        }
    }
}
