//! What `tests/mutations/run` asks of the simulator: promises alone, and one line about what broke.

/// Only what was promised counts: neither the stories' words, nor coverage, nor fresh seeds.
pub fn promises_only() -> bool {
    std::env::var_os("PROMISES").is_some()
}

/// Names what found a mutation.
pub fn found(by: &str, sentence: &str) {
    if promises_only() {
        let line = sentence.lines().next().unwrap_or_default();
        println!("FOUND {by}: {line}");
    }
}
