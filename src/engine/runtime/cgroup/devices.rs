//! Device rules as an eBPF program, for version 2 cgroups.
//!
//! The kernel asks the program for every open and mknod, with the device in a `bpf_cgroup_dev_ctx`: access and type in
//! one word, major, minor. Rules are tried from the last to the first, since a later one wins.

use crate::engine::oci::{DeviceKind, DeviceRule};

// eBPF opcodes (include/uapi/linux/bpf.h and bpf_common.h): class | size or operation | source
const LOAD_WORD: u8 = 0x61; // LDX | MEM | W
const MOVE_REG: u8 = 0xbf; // ALU64 | MOV | X
const MOVE_IMM: u8 = 0xb7; // ALU64 | MOV | K
const AND_IMM: u8 = 0x57; // ALU64 | AND | K
const SHIFT_RIGHT_IMM: u8 = 0x77; // ALU64 | RSH | K
const JUMP_NE_IMM: u8 = 0x55; // JMP | JNE | K
const EXIT: u8 = 0x95; // JMP | EXIT

const R0: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// BPF_DEVCG_ACC_MKNOD, _READ, _WRITE.
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

/// The program for `rules`; what no rule speaks of is denied.
pub(super) fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_WORD, TYPE, CONTEXT, 0, 0),
        instruction(MOVE_REG, ACCESS, TYPE, 0, 0),
        instruction(AND_IMM, TYPE, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT_IMM, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(one_rule(rule));
        if is_about_everything(rule) {
            return program; // the kernel refuses programs with parts that can't be reached
        }
    }
    program.extend([instruction(MOVE_IMM, R0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

fn is_about_everything(rule: &DeviceRule) -> bool {
    let is_all = rule.access.read && rule.access.write && rule.access.mknod;
    rule.kind == DeviceKind::Any && rule.major.is_none() && rule.minor.is_none() && is_all
}

/// Decides if the rule matches, else falls through to what follows.
fn one_rule(rule: &DeviceRule) -> Vec<u64> {
    let mut checks: Vec<(u8, i32)> = Vec::new();
    match rule.kind {
        DeviceKind::Any => {}
        DeviceKind::Block => checks.push((TYPE, 1)),
        DeviceKind::Char => checks.push((TYPE, 2)),
    }
    checks.extend(rule.major.map(|major| (MAJOR, major as i32)));
    checks.extend(rule.minor.map(|minor| (MINOR, minor as i32)));
    let granted = [(rule.access.mknod, MKNOD), (rule.access.read, READ), (rule.access.write, WRITE)];
    let beyond: i32 = granted.iter().filter(|(is_granted, _)| !is_granted).map(|(_, bit)| bit).sum();

    // an allow rule must cover all that is asked for; a deny rule hits when any of it is asked for
    let mut body = Vec::new();
    let verdict = [instruction(MOVE_IMM, R0, 0, 0, i32::from(rule.allow)), instruction(EXIT, 0, 0, 0, 0)];
    if beyond != 0 {
        let mask = if rule.allow { beyond } else { (MKNOD | READ | WRITE) & !beyond };
        body.push(instruction(MOVE_REG, SCRATCH, ACCESS, 0, 0));
        body.push(instruction(AND_IMM, SCRATCH, 0, 0, mask));
        if rule.allow {
            body.push(instruction(JUMP_NE_IMM, SCRATCH, 0, 2, 0));
        } else {
            body.push(instruction(JUMP_NE_IMM, SCRATCH, 0, 1, 0));
            body.push(instruction(JUMP_ALWAYS, 0, 0, 2, 0));
        }
    }
    body.extend(verdict);
    let mut code = Vec::new();
    for (index, (register, value)) in checks.iter().enumerate() {
        let to_end = checks.len() - index - 1 + body.len();
        code.push(instruction(JUMP_NE_IMM, *register, 0, to_end as i16, *value));
    }
    code.extend(body);
    code
}

const JUMP_ALWAYS: u8 = 0x05; // JMP | JA

/// One `struct bpf_insn` as it lies in memory on a little-endian machine.
fn instruction(code: u8, dst: u8, src: u8, offset: i16, imm: i32) -> u64 {
    u64::from(code) | u64::from(dst | src << 4) << 8 | u64::from(offset as u16) << 16 | u64::from(imm as u32) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::oci::DeviceAccess;

    /// Runs the program as the kernel would, on one request.
    fn decide(program: &[u64], kind: u32, access: i32, major: u32, minor: u32) -> bool {
        let mut registers = [0i64; 11];
        let mut at = 0usize;
        loop {
            let word = program[at];
            let (code, dst, src) = (word as u8, (word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
            let (offset, imm) = ((word >> 16) as u16 as i16, (word >> 32) as u32 as i32);
            at += 1;
            match code {
                LOAD_WORD => {
                    registers[dst] = match offset {
                        0 => i64::from(kind | (access as u32) << 16),
                        4 => i64::from(major),
                        _ => i64::from(minor),
                    }
                }
                MOVE_REG => registers[dst] = registers[src],
                MOVE_IMM => registers[dst] = i64::from(imm),
                AND_IMM => registers[dst] &= i64::from(imm),
                SHIFT_RIGHT_IMM => registers[dst] = (registers[dst] as u64 >> imm) as i64,
                JUMP_NE_IMM if registers[dst] != i64::from(imm) => at = at.wrapping_add_signed(offset as isize),
                JUMP_NE_IMM => {}
                JUMP_ALWAYS => at = at.wrapping_add_signed(offset as isize),
                EXIT => return registers[0] == 1,
                other => panic!("opcode {other:#x}"),
            }
        }
    }

    #[test]
    fn later_rules_win_and_the_rest_is_denied() {
        let rule = |allow, kind, major, minor, letters| DeviceRule {
            allow,
            kind,
            major,
            minor,
            access: DeviceAccess::parse(letters).unwrap(),
        };
        let rules = [
            rule(false, DeviceKind::Any, None, None, "rwm"),
            rule(true, DeviceKind::Char, None, None, "m"),
            rule(true, DeviceKind::Char, Some(1), Some(3), "rwm"),
            rule(true, DeviceKind::Char, Some(136), None, "rwm"),
            rule(false, DeviceKind::Char, Some(136), Some(9), "w"),
        ];
        let program = program(&rules);
        let (block, char) = (1, 2);
        for (kind, access, major, minor, expected) in [
            (char, READ | WRITE, 1, 3, true),
            (char, READ, 1, 1, false),
            (char, MKNOD, 1, 1, true),
            (char, MKNOD | READ, 1, 1, false),
            (block, MKNOD, 8, 0, false),
            (char, READ | WRITE, 136, 4, true),
            (char, READ | WRITE, 136, 9, false),
            (char, READ, 136, 9, true),
        ] {
            assert_eq!(decide(&program, kind, access, major, minor), expected, "{kind} {access} {major}:{minor}");
        }
    }
}
