//! Pages of cases: parameters, what befalls the host, actions and their answers.
//!
//! ```text
//! # A sentence begins a case, on a host of its own.
//! NAME = VALUE             a parameter (nothing: not given); `agent` names the agent
//! meta NAME = VALUE        one that the cluster adds
//! host$ COMMAND            must succeed, on the host; neighbour$ and lan$ on the others
//! soon$ COMMAND            the same on the host, where it may become so within half a minute
//! kill main | kill all     SIGKILL to the oldest process of the resource, or to every one
//! nothing runs             no process of the resource is left
//! without duotone          the program is not installed any more
//! ACTION [DEPTH] -> CODE [WORDS OF THE REASON]
//! ```

use std::path::Path;

use crate::host::{Host, succeeds};
use crate::netns::eventually;

/// Plays each case of a page; all that went wrong is told at the end.
pub fn play_all(page: &Path) {
    let text = std::fs::read_to_string(page).unwrap();
    let mut wrong = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, title)) = lines.next() {
        if title.is_empty() {
            continue;
        }
        assert!(title.starts_with("# "), "{}:{}: a case has a title", page.display(), number + 1);
        let mut case = Vec::new();
        while let Some((number, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
            case.push((number + 1, line));
        }
        let Some(mut host) = Host::new("") else { return };
        for (number, line) in case {
            if let Err(words) = play(&mut host, line) {
                wrong
                    .push(format!("{}:{number}: {title}\n    {line}\n    {words}", page.display()));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn play(host: &mut Host, line: &str) -> Result<(), String> {
    for (prompt, of) in [("host$ ", "a"), ("neighbour$ ", "b"), ("lan$ ", "lan")] {
        if let Some(words) = line.strip_prefix(prompt) {
            let words = host.filled_in(words);
            return succeeds(&mut host.inside(of, &["sh", "-c", &words])).map(drop);
        }
    }
    if let Some(words) = line.strip_prefix("soon$ ") {
        let words = host.filled_in(words);
        eventually(line, || succeeds(&mut host.inside("a", &["sh", "-c", &words])).is_ok());
        return Ok(());
    }
    match line {
        "kill main" => {
            return host.processes().first().map(|main| host.kill(&[*main])).ok_or_else(none);
        }
        "kill all" => {
            let all = host.processes();
            host.kill(&all);
            return if all.is_empty() { Err(none()) } else { Ok(()) };
        }
        "nothing runs" => {
            let left = host.processes();
            return if left.is_empty() { Ok(()) } else { Err(format!("{left:?} runs")) };
        }
        "without duotone" => {
            host.program = "/nowhere/duotone".into();
            return Ok(());
        }
        _ => {}
    }
    if let Some((asked, expected)) = line.split_once(" -> ") {
        return compare(host, asked, expected);
    }
    let (name, value) = line.split_once(" =").ok_or("this line means nothing")?;
    let value = host.filled_in(value.trim());
    match name.strip_prefix("meta ") {
        Some(name) => drop(host.meta.insert(name.to_owned(), value)),
        None if name == "agent" => host.agent = value,
        None => drop(host.parameters.insert(name.to_owned(), value)),
    }
    Ok(())
}

fn none() -> String {
    "nothing of it runs".to_owned()
}

fn compare(host: &Host, asked: &str, expected: &str) -> Result<(), String> {
    let (action, depth) = asked.split_once(' ').unwrap_or((asked, "0"));
    let (code, reason) = expected.split_once(' ').unwrap_or((expected, ""));
    let code: i32 = code.parse().map_err(|_| "a code is a number")?;
    let answered = host.answers(action, depth);
    let said = answered.words.lines().find_map(|line| line.strip_prefix("ocf-exit-reason:"));
    let said = said.unwrap_or("");
    if answered.code != code || !said.contains(reason) {
        return Err(format!("answered {} {}", answered.code, answered.words.trim()));
    }
    // The administrator is told why, whatever the page asks about.
    if ![0, 7].contains(&code) && said.is_empty() {
        return Err(format!("answered {code} without a reason: {}", answered.words));
    }
    Ok(())
}
