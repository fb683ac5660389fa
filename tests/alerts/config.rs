//! `[alerts]` as it is read, and what each mistake is told.

use std::time::Duration;

use duotone::config::{AlertKind, MailTls};

use crate::parse;

const MAIL: &str = "[alerts.mail]\nserver = \"192.0.2.25\"\nfrom = \"duotone@example.com\"\n\
                    to = [\"Night shift <night@example.com>\", \"day@example.com\"]\n";

#[test]
fn alerts_are_read() {
    let more = "user = \"duotone\"\npassword_file = \"/etc/duotone/mail.password\"\n\
                [alerts.webhook]\nurl = \"https://example.com/x\"\n[alerts.syslog]\n";
    let alerts = parse(&format!("{MAIL}{more}")).expect("valid").alerts.expect("alerts");
    assert_eq!(alerts.kinds, AlertKind::ALL);
    assert_eq!((alerts.at_most, alerts.within), (6, Duration::from_secs(600)));
    let mail = alerts.mail.expect("mail");
    assert_eq!((mail.server.as_str(), mail.port, mail.tls), ("192.0.2.25", 587, MailTls::StartTls));
    assert_eq!(mail.server_name, "192.0.2.25");
    assert_eq!(mail.to[0].to_string(), "Night shift <night@example.com>");
    assert_eq!(alerts.syslog.expect("syslog").facility, "daemon");
    let few = "events = [\"role\", \"held\"]\nat_most = 2\nwithin = \"1min\"\n[alerts.syslog]\n";
    let alerts = parse(few).expect("valid").alerts.expect("alerts");
    assert_eq!(alerts.kinds, [AlertKind::Role, AlertKind::Held]);
    assert_eq!((alerts.at_most, alerts.within), (2, Duration::from_secs(60)));
}

#[test]
fn what_is_wrong_with_alerts_is_said_with_the_fix() {
    let mail = |old: &str, new: &str| {
        assert!(MAIL.contains(old), "{old}");
        MAIL.replacen(old, new, 1)
    };
    for (lines, said) in [
        (String::new(), "there is nobody to tell; write [alerts.mail]"),
        ("events = [\"rolle\"]\n[alerts.syslog]\n".into(), "did you mean \"role\"?"),
        ("events = []\n[alerts.syslog]\n".into(), "events names none"),
        ("at_most = 0\n[alerts.syslog]\n".into(), "a whole number from 1 to 1000"),
        ("within = \"10ms\"\n[alerts.syslog]\n".into(), "write \"1s\" or more"),
        ("[alerts.syslog]\nfacility = \"kernel\"\n".into(), "unknown value \"kernel\""),
        (mail("server = \"192.0.2.25\"\n", ""), "server is missing"),
        (mail("192.0.2.25", "192.0.2.25:smtp"), "write \"HOST\" or \"HOST:PORT\""),
        (mail("from = \"duotone@example.com\"\n", ""), "from is missing"),
        (mail("duotone@example.com", "duotone"), "is no mail address"),
        (
            mail("day@example.com", "day@example.com\\r\\nBcc: all@example.com"),
            "is no mail address",
        ),
        (mail("to = [", "too = ["), "unknown key \"too\""),
        (format!("{MAIL}tls = \"ssl\"\n"), "write one of \"none\", \"starttls\", \"tls\""),
        (format!("{MAIL}tls = \"none\"\nca = \"/etc/ca.pem\"\n"), "of no use with tls = \"none\""),
        (
            format!("{MAIL}tls = \"none\"\nuser = \"u\"\npassword_file = \"/etc/p\"\n"),
            "everybody on the way could read the password",
        ),
        (format!("{MAIL}user = \"u\"\n"), "there is no password for it"),
        (format!("{MAIL}password_file = \"/etc/p\"\n"), "whose is it?"),
        (format!("{MAIL}password = \"s3cret\"\n"), "unknown key \"password\""),
        ("[alerts.webhook]\n".into(), "url is missing"),
        ("[alerts.webhook]\nurl = \"example.com\"\n".into(), "cannot be asked"),
        ("[alerts.webhook]\nurl = \"ftp://example.com\"\n".into(), "is of no web server"),
        ("[alerts.webhook]\nurl = \"https://u:p@example.com\"\n".into(), "it holds a password"),
    ] {
        let errors = parse(&lines).expect_err(&lines);
        assert!(errors.contains(said), "{lines}: {errors}");
    }
}

/// What the example shows as comments is right when it is written.
#[test]
fn the_example_s_comments_are_valid() {
    let example = include_str!("../../examples/duotone.toml");
    let from = example.find("# [[hook]]").expect("the hook's comment");
    let lines = example[from..].lines().map(|line| line.trim_start_matches('#'));
    let text = format!("{}{}\n", &example[..from], lines.collect::<Vec<_>>().join("\n"));
    let config = duotone::config::Config::parse(&text, "duotone.toml", Some("pbx-b"));
    let config = config.map_err(|errors| errors.to_string()).expect("valid");
    assert_eq!(config.hooks[0].name, "tell-trunk");
    let alerts = config.alerts.expect("alerts");
    assert!(alerts.mail.is_some() && alerts.webhook.is_some() && alerts.syslog.is_some());
    assert_eq!(alerts.kinds, AlertKind::ALL);
}
