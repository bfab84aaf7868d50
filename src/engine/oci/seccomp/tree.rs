//! A profile as classic BPF: by architecture, then a balanced tree over ranges of numbers, arguments in the leaves.
//!
//! The native table and, where the profile names it, the 32-bit one are covered. Numbers of the x32 ABI are answered with
//! ENOSYS, as kernels without x32 do, whatever the profile says: to the filter they are other numbers than those its
//! rules name, so a profile that forbids a few calls would let them through. Any other architecture ends the process.

use std::collections::{BTreeMap, HashMap};

use super::profile::{Action, Circumstances, Comparison, Profile, Test};

// include/uapi/linux/audit.h
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;

// offsets in struct seccomp_data (include/uapi/linux/seccomp.h), little endian
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

// opcodes (include/uapi/linux/bpf_common.h)
const LOAD: u16 = 0x20; // LD | W | ABS
const AND: u16 = 0x54; // ALU | AND | K
const JUMP: u16 = 0x05; // JMP | JA
const IF_EQUAL: u16 = 0x15; // JMP | JEQ | K
const IF_GREATER: u16 = 0x25; // JMP | JGT | K
const IF_AT_LEAST: u16 = 0x35; // JMP | JGE | K
const RETURN: u16 = 0x06; // RET | K

/// `__X32_SYSCALL_BIT` (arch/x86/include/uapi/asm/unistd.h); no other machine has numbers that large.
const X32: u32 = 0x4000_0000;

const ENOSYS: Action = Action::Errno(38);

/// What happens to one number: the first way whose tests pass, else the last resort.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    ways: Vec<(Vec<Test>, Action)>,
    otherwise: Action,
}

/// Compiles the rules that hold in these circumstances.
pub(super) fn compile(profile: &Profile, circumstances: &Circumstances) -> Vec<u64> {
    let mut program = vec![statement(LOAD, ARCHITECTURE)];
    let judged = tables().into_iter().take(if profile.covers_compat { 2 } else { 1 });
    for (architecture, numbers) in judged {
        let body = table(profile, circumstances, &numbers);
        program.push(branch(IF_EQUAL, architecture, 1, 0));
        program.push(statement(JUMP, body.len() as u32));
        program.extend(body);
    }
    program.push(statement(RETURN, Action::KillProcess.value()));
    program
}

/// Names and numbers of each architecture a process of this machine can use, its own first.
fn tables() -> Vec<(u32, HashMap<&'static str, u32>)> {
    if cfg!(target_arch = "x86_64") {
        let native = syscalls::x86_64::Sysno::iter().map(|call| (call.name(), call.id().unsigned_abs())).collect();
        let compat = syscalls::x86::Sysno::iter().map(|call| (call.name(), call.id().unsigned_abs())).collect();
        vec![(AUDIT_ARCH_X86_64, native), (AUDIT_ARCH_I386, compat)]
    } else {
        let native = syscalls::aarch64::Sysno::iter().map(|call| (call.name(), call.id().unsigned_abs())).collect();
        vec![(AUDIT_ARCH_AARCH64, native)]
    }
}

/// The part for one architecture; every path through it ends in a return.
fn table(profile: &Profile, circumstances: &Circumstances, numbers: &HashMap<&'static str, u32>) -> Vec<u64> {
    let mut backward = Backward::default();
    backward.tree(&ranges(profile, circumstances, numbers)); // begins with what it added last
    backward.push(statement(LOAD, NUMBER));
    backward.instructions.into_iter().rev().collect()
}

/// The first number of each run of equal verdicts, in order, beginning with 0.
fn ranges(
    profile: &Profile,
    circumstances: &Circumstances,
    numbers: &HashMap<&'static str, u32>,
) -> Vec<(u32, Verdict)> {
    let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
    let mut newest_known = 0;
    for rule in &profile.rules {
        // a call counts as known even if its rule does not hold here: it is refused then, not denied to exist
        let known = rule.names.iter().filter_map(|name| numbers.get(name.as_str()).copied());
        newest_known = known.clone().fold(newest_known, u32::max);
        if !rule.holds(circumstances) {
            continue;
        }
        for number in known {
            let fresh = || Verdict { ways: Vec::new(), otherwise: profile.otherwise };
            let verdict = verdicts.entry(number).or_insert_with(fresh);
            if !rule.tests.is_empty() {
                verdict.ways.push((rule.tests.clone(), rule.action));
            } else if verdict.otherwise == profile.otherwise {
                verdict.otherwise = rule.action;
            }
        }
    }
    let plain = |action| Verdict { ways: Vec::new(), otherwise: action };
    // nothing is newer than what a permissive profile means
    let beyond = if matches!(profile.otherwise, Action::Errno(_)) { ENOSYS } else { profile.otherwise };
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    for number in 0..=newest_known + 1 {
        let mut verdict = match verdicts.remove(&number) {
            Some(verdict) => verdict,
            None if number > newest_known => plain(beyond),
            None => plain(profile.otherwise),
        };
        if !verdict.ways_differ() {
            verdict.ways.clear();
        }
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((number, verdict));
        }
    }
    if ranges.last().is_none_or(|(_, last)| *last != plain(ENOSYS)) {
        ranges.push((X32, plain(ENOSYS)));
    }
    ranges
}

impl Verdict {
    /// Whether some way leads elsewhere than the last resort; if none does, the tests can be left out.
    fn ways_differ(&self) -> bool {
        self.ways.iter().any(|(_, action)| *action != self.otherwise)
    }
}

/// A table's instructions from its last to its first: jumps only go forward, so what they lead to is there already, and
/// all ways to one verdict can share one return. Fewer instructions are loaded, translated and checked faster.
#[derive(Default)]
struct Backward {
    instructions: Vec<u64>,
    /// The return of each value that was added last, and so is nearest.
    returns: HashMap<u32, usize>,
}

impl Backward {
    /// How far a conditional jump goes, less the one instruction that its other way may still need.
    const REACH: usize = 254;

    fn push(&mut self, instruction: u64) -> usize {
        self.instructions.push(instruction);
        self.instructions.len() - 1
    }

    /// How many instructions the next one would have to skip to get to `target`.
    fn distance(&self, target: usize) -> usize {
        self.instructions.len() - target - 1
    }

    /// Halves the ranges until one is left. Returns where to begin.
    fn tree(&mut self, ranges: &[(u32, Verdict)]) -> usize {
        match ranges {
            [] => self.returning(Action::KillProcess.value()),
            [(_, verdict)] if verdict.ways.is_empty() => self.returning(verdict.otherwise.value()),
            [(_, verdict)] => {
                self.instructions.extend(leaf(verdict).into_iter().rev());
                self.instructions.len() - 1
            }
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let (above, below) = (self.tree(upper), self.tree(lower));
                let from = upper.first().map_or(0, |(from, _)| *from);
                let (above, below) = (self.near(above), self.near(below));
                let (yes, no) = (self.distance(above) as u8, self.distance(below) as u8);
                self.push(branch(IF_AT_LEAST, from, yes, no))
            }
        }
    }

    fn returning(&mut self, value: u32) -> usize {
        match self.returns.get(&value) {
            Some(at) if self.distance(*at) <= Self::REACH => *at,
            _ => {
                let at = self.push(statement(RETURN, value));
                self.returns.insert(value, at);
                at
            }
        }
    }

    /// `target`, or a jump to it that is within reach.
    fn near(&mut self, target: usize) -> usize {
        match self.distance(target) {
            ..=Self::REACH => target,
            far => self.push(statement(JUMP, far as u32)),
        }
    }
}

fn leaf(verdict: &Verdict) -> Vec<u64> {
    let mut program = Vec::new();
    for (tests, action) in &verdict.ways {
        let mut steps: Vec<Step> = tests.iter().flat_map(test).collect();
        steps.push(Step::Plain(statement(RETURN, action.value())));
        let length = steps.len();
        program.extend(steps.into_iter().enumerate().map(|(at, step)| {
            let fail = (length - at - 1) as u8; // at most six tests of five steps
            match step {
                Step::Plain(instruction) => instruction,
                Step::Branch { code, value, yes, no } => branch(code, value, yes.unwrap_or(fail), no.unwrap_or(fail)),
            }
        }));
    }
    program.push(statement(RETURN, verdict.otherwise.value()));
    program
}

/// An instruction of a test; a jump to `None` leaves this way for the next one.
enum Step {
    Plain(u64),
    Branch { code: u16, value: u32, yes: Option<u8>, no: Option<u8> },
}

/// The instructions that go on if the test passes. What they load is gone afterwards.
fn test(test: &Test) -> Vec<Step> {
    let low_at = ARGUMENTS + 8 * u32::from(test.argument);
    let load = |at| Step::Plain(statement(LOAD, at));
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let on = Some(0);
    let mut steps = Vec::new();
    let mut high = |steps_for: &mut dyn FnMut(u32) -> Vec<Step>, value: u64| {
        if test.is_wide {
            steps.push(load(low_at + 4));
            steps.extend(steps_for(halves(value).0));
        }
    };
    let low = match test.comparison {
        Comparison::Equal(value) => {
            high(&mut |high| vec![Step::Branch { code: IF_EQUAL, value: high, yes: on, no: None }], value);
            vec![Step::Branch { code: IF_EQUAL, value: halves(value).1, yes: on, no: None }]
        }
        Comparison::NotEqual(value) => {
            // a differing upper half passes at once, over the two steps of the lower
            high(&mut |high| vec![Step::Branch { code: IF_EQUAL, value: high, yes: on, no: Some(2) }], value);
            vec![Step::Branch { code: IF_EQUAL, value: halves(value).1, yes: None, no: on }]
        }
        Comparison::Greater(value) | Comparison::GreaterOrEqual(value) => {
            let mut upper = |high| {
                vec![
                    Step::Branch { code: IF_GREATER, value: high, yes: Some(3), no: on },
                    Step::Branch { code: IF_EQUAL, value: high, yes: on, no: None },
                ]
            };
            high(&mut upper, value);
            let code = if matches!(test.comparison, Comparison::Greater(_)) { IF_GREATER } else { IF_AT_LEAST };
            vec![Step::Branch { code, value: halves(value).1, yes: on, no: None }]
        }
        Comparison::Less(value) | Comparison::LessOrEqual(value) => {
            let mut upper = |high| {
                vec![
                    Step::Branch { code: IF_GREATER, value: high, yes: None, no: on },
                    Step::Branch { code: IF_EQUAL, value: high, yes: on, no: Some(2) },
                ]
            };
            high(&mut upper, value);
            let code = if matches!(test.comparison, Comparison::Less(_)) { IF_AT_LEAST } else { IF_GREATER };
            vec![Step::Branch { code, value: halves(value).1, yes: None, no: on }]
        }
        Comparison::Masked(mask, value) => {
            let mut upper = |high| {
                vec![
                    Step::Plain(statement(AND, halves(mask).0)),
                    Step::Branch { code: IF_EQUAL, value: high, yes: on, no: None },
                ]
            };
            high(&mut upper, value);
            vec![
                Step::Plain(statement(AND, halves(mask).1)),
                Step::Branch { code: IF_EQUAL, value: halves(value).1, yes: on, no: None },
            ]
        }
    };
    steps.push(load(low_at));
    steps.extend(low);
    steps
}

fn statement(code: u16, k: u32) -> u64 {
    u64::from(code) | u64::from(k) << 32
}

fn branch(code: u16, k: u32, yes: u8, no: u8) -> u64 {
    statement(code, k) | u64::from(yes) << 16 | u64::from(no) << 24
}
