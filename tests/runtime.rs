//! Containers made by the runtime itself, seen from inside.
//!
//! The runtime clones its caller, which must have one thread only; a usual test has several. So this program brings no
//! harness: it runs its stories one after the other in its only thread, and takes a name as a filter like any test.

#![allow(clippy::unwrap_used)] // a test fails by panicking

#[path = "runtime/stories.rs"]
mod stories;
#[path = "runtime/yard.rs"]
mod yard;

fn main() {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if std::env::args().any(|argument| argument == "--list") {
        stories::ALL.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    assert!(rustix::process::geteuid().is_root(), "these tests make containers, which needs root");
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
    let mut failed = Vec::new();
    for (name, story) in stories::ALL.iter().filter(|(name, _)| wanted(name)) {
        match std::panic::catch_unwind(story) {
            Ok(()) => println!("test {name} ... ok"),
            Err(_) => {
                println!("test {name} ... FAILED");
                failed.push(*name);
            }
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
