//! The compiled filter against the profile itself: the program is run as the kernel would, the rules are read one by
//! one, and both must say the same.

use std::collections::HashMap;

use super::profile::{Action, Circumstances, Comparison, Profile, Test};
use super::{DEFAULT_RULES, Filter, docker, rules, tree};
use crate::engine::oci::CapSet;

const KERNEL: (u32, u32) = (6, 18);

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
    let plain = rules().find(|rule| rule.tests.is_empty()).map(|rule| rule.action);
    let by_arguments =
        conditional.filter(|rule| rule.tests.iter().all(|test| passes(test, arguments))).map(|rule| rule.action).next();
    by_arguments.or(plain).unwrap_or(if is_newer { Action::Errno(38) } else { profile.otherwise })
}

#[track_caller]
fn compare(profile: &Profile, capabilities: CapSet) {
    let with = Circumstances { capabilities, kernel: KERNEL };
    let program = tree::compile(profile, &with);
    let native: HashMap<u32, &str> =
        syscalls::x86_64::Sysno::iter().map(|call| (call.id().unsigned_abs(), call.name())).collect();
    let compat: HashMap<u32, &str> =
        syscalls::x86::Sysno::iter().map(|call| (call.id().unsigned_abs(), call.name())).collect();
    let interesting = [
        0,
        1,
        8,
        38,
        39,
        40,
        41,
        0x20000,
        0x20008,
        0xffff_ffff,
        1 << 32,
        1 << 32 | 40,
        0x1000_0000,
        0x0002_0000,
        0x11,
        u64::MAX,
    ];
    for (architecture, names) in [(0xc000_003e, native), (0x4000_0003, compat)] {
        let spoken_of = |number: &u32| {
            names
                .get(number)
                .is_some_and(|name| profile.rules.iter().any(|rule| rule.names.iter().any(|known| known == name)))
        };
        let newest = names.keys().copied().filter(spoken_of).max().unwrap_or(0);
        for number in (0..700).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
            for argument in interesting {
                let arguments = [argument, argument, 0, 0, 0, 0];
                let name = names.get(&number).copied().filter(|_| number <= newest);
                let expected = judge(profile, &with, name, number > newest, arguments);
                let said = run(&program, architecture, number, arguments);
                assert_eq!(said, expected.value(), "call {number} ({name:?}) of {architecture:#x} with {argument:#x}");
            }
        }
    }
}

#[test]
fn the_default_profile_is_compiled_as_it_reads() {
    let profile = rules::parse(DEFAULT_RULES).unwrap();
    for capabilities in [CapSet::docker_default(), CapSet::EMPTY, CapSet::ALL, CapSet::parse("SYS_ADMIN").unwrap()] {
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
    let say = |program: &[u64], number, flags| run(program, 0xc000_003e, number, [flags, 0, 0, 0, 0, 0]);
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
