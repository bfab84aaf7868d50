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
        match u8::try_from(body.len()) {
            Ok(length) => program.push(branch(IF_EQUAL, architecture, 0, length)),
            Err(_) => {
                program.push(branch(IF_EQUAL, architecture, 1, 0));
                program.push(statement(JUMP, body.len() as u32));
            }
        }
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
    let ranges = ranges(profile, circumstances, numbers);
    let mut backward = Backward::default();
    backward.tree(&groups(&ranges)); // begins with what it added last
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
                // The first one counts, but for those that say what is done anyhow, which runc leaves out, too.
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

/// Neighbouring ranges that are told apart by naming the odd ones, a number each: one instruction for each of those,
/// where a tree needs two to cut it out.
struct Group<'a> {
    first: u32,
    /// How many numbers the kernel has in it.
    weight: f64,
    odd: Vec<(u32, &'a Verdict)>,
    /// What all others have in common.
    base: &'a Verdict,
}

/// What loading a filter costs (measured on Linux 6.18): the kernel translates each instruction once, and then runs the
/// filter for each number it has a call for. In units of one instruction run once.
const TRANSLATED: f64 = 32.0;
/// As many numbers as the kernel tries, or a few more.
const TRIED: u32 = 480;
/// More odd ones than this in one group are never worth it.
const MOST_ODD: usize = 6;

/// The ranges in groups, so that the whole costs least: dynamic programming over where the last group begins, with the
/// depth of a balanced tree, the logarithm of a group's share, as what finding it costs.
fn groups(ranges: &[(u32, Verdict)]) -> Vec<Group<'_>> {
    let mut best: Vec<(f64, usize)> = vec![(0.0, 0)]; // what the first so many cost, and where their last group begins
    for end in 1..=ranges.len() {
        let nearest = end.saturating_sub(2 * MOST_ODD + 1);
        let choices = (nearest..end).rev().filter_map(|begin| {
            let group = group(ranges, begin, end)?;
            let (before, _) = best.get(begin)?;
            let depth = (f64::from(TRIED) / group.weight).log2().max(0.0) + group.odd.len() as f64;
            Some((before + TRANSLATED * (1 + group.odd.len()) as f64 + group.weight * depth, begin))
        });
        let cheapest = choices.min_by(|(one, _), (other, _)| one.total_cmp(other));
        best.push(cheapest.unwrap_or((f64::INFINITY, end - 1))); // there is one: a range alone is a group
    }
    let mut chosen = Vec::new();
    let mut end = ranges.len();
    while end > 0 {
        let begin = best.get(end).map_or(end - 1, |(_, begin)| *begin);
        chosen.extend(group(ranges, begin, end));
        end = begin;
    }
    chosen.reverse();
    chosen
}

/// The ranges from `begin` up to `end` as one group, if all but single numbers have the same verdict.
fn group(ranges: &[(u32, Verdict)], begin: usize, end: usize) -> Option<Group<'_>> {
    let members = ranges.get(begin..end)?;
    let after = |at: usize| ranges.get(begin + at + 1).map(|(first, _)| *first);
    let is_single = |at: usize, first: u32| after(at) == Some(first + 1);
    let wide = members.iter().enumerate().find(|(at, (first, _))| !is_single(*at, *first));
    let (_, base) = wide.map(|(_, member)| member).or(members.last())?;
    let odd: Vec<_> = members.iter().enumerate().filter(|(_, (_, verdict))| verdict != base).collect();
    if odd.len() > MOST_ODD || odd.iter().any(|(at, (first, _))| !is_single(*at, *first)) {
        return None;
    }
    let (first, _) = members.first()?;
    let beyond = ranges.get(end).map_or(u32::MAX, |(first, _)| *first);
    let weight = f64::from(beyond.min(TRIED).saturating_sub(*first).max(1));
    Some(Group {
        first: *first,
        weight,
        odd: odd.into_iter().map(|(_, (first, verdict))| (*first, verdict)).collect(),
        base,
    })
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

    /// Halves the groups, by weight, until one is left. Returns where to begin.
    fn tree(&mut self, groups: &[Group<'_>]) -> usize {
        match groups {
            [] => self.returning(Action::KillProcess.value()),
            [group] => self.chain(group),
            _ => {
                let (lower, upper) = groups.split_at(middle(groups));
                let (above, below) = (self.tree(upper), self.tree(lower));
                let first = upper.first().map_or(0, |group| group.first);
                self.fork(IF_AT_LEAST, first, above, below)
            }
        }
    }

    /// Names the odd ones of a group, then takes the rest together.
    fn chain(&mut self, group: &Group<'_>) -> usize {
        let odd: Vec<_> = group.odd.iter().map(|(number, verdict)| (*number, self.verdict(verdict))).collect();
        let base = self.verdict(group.base);
        odd.into_iter().rev().fold(base, |rest, (number, verdict)| self.fork(IF_EQUAL, number, verdict, rest))
    }

    fn verdict(&mut self, verdict: &Verdict) -> usize {
        if verdict.ways.is_empty() {
            return self.returning(verdict.otherwise.value());
        }
        self.instructions.extend(leaf(verdict).into_iter().rev());
        self.instructions.len() - 1
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

    /// A conditional jump to one of two places, wherever they are.
    fn fork(&mut self, code: u16, value: u32, yes: usize, no: usize) -> usize {
        let (yes, no) = (self.near(yes), self.near(no));
        let (yes, no) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(branch(code, value, yes, no))
    }

    /// `target`, or a jump to it that is within reach.
    fn near(&mut self, target: usize) -> usize {
        match self.distance(target) {
            ..=Self::REACH => target,
            far => self.push(statement(JUMP, far as u32)),
        }
    }
}

/// Where to cut groups so that both sides weigh about the same; neither is empty.
fn middle(groups: &[Group<'_>]) -> usize {
    let all: f64 = groups.iter().map(|group| group.weight).sum();
    let mut below = 0.0;
    let heavier = |group: &Group<'_>| {
        below += group.weight;
        below - group.weight / 2.0 >= all / 2.0
    };
    groups.iter().position(heavier).unwrap_or(groups.len()).clamp(1, groups.len() - 1)
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
