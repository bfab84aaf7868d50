//! How the programs of this package are linked.
//!
//! At a fixed address: every container has a shim, which is this same program. Of a program that may lie anywhere, the
//! loader has to rewrite a megabyte of addresses at each start, which takes milliseconds and leaves pages that no other
//! process shares; linked so, shims share them all. Libraries, stack and heap lie at random addresses as ever.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |part: &str| std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
        println!("cargo::rustc-link-arg-benches=-no-pie");
    }
}
