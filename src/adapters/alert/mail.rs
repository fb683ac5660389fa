//! An alert as a mail, over SMTP (RFC 5321) to one server.

use std::error::Error as _;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::{Alert, Failed, aside, rfc3339};
use crate::config::{Mail, MailTls, password};

/// Made at the first alert.
pub type Transport = Option<Tls>;

pub async fn send(
    mail: &Mail,
    tls: &mut Transport,
    alert: &Alert,
    limit: Duration,
) -> Result<String, Failed> {
    let message = message(mail, alert)?;
    let tls = match tls {
        Some(tls) => tls.clone(),
        None => {
            let of = mail.clone();
            tls.insert(aside(move || protection(&of)).await?).clone()
        }
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.server)
        .port(mail.port)
        .tls(tls)
        .timeout(Some(limit))
        .hello_name(ClientId::Domain(alert.node.clone()));
    if let Some((user, file)) = mail.login.clone() {
        let password = aside(move || password::read(&file).map_err(Failed::now)).await?;
        transport = transport.credentials(Credentials::new(user, password.to_string()));
    }
    let answer = transport
        .build()
        .send(message)
        .await
        .map_err(|error| Failed { why: causes(&error), for_good: error.is_permanent() })?;
    let words = answer.message().collect::<Vec<_>>().join(" ");
    Ok(format!("{} {words}", answer.code()))
}

fn message(mail: &Mail, alert: &Alert) -> Result<Message, Failed> {
    let cannot = |why: &dyn std::fmt::Display| Failed {
        why: format!("the mail cannot be written: {why}"),
        for_good: true,
    };
    let domain = mail.from.email.domain();
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let mut builder = Message::builder()
        .from(mail.from.clone())
        .subject(alert.headline())
        .date(alert.at)
        .message_id(Some(format!("<{}@{domain}>", alert.id)))
        // RFC 3834: so that nobody's "I am away" answers.
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        builder = builder.to(to.clone());
    }
    builder.body(body(alert)).map_err(|why| cannot(&why))
}

fn body(alert: &Alert) -> String {
    let more = alert.held_back.map_or(String::new(), |held| {
        let since = rfc3339(held.since);
        format!("and {} more of this kind since {since} were not told one by one\n", held.count)
    });
    let Alert { text, pair, node, peer, term, .. } = alert;
    let (at, kind, severity) = (rfc3339(alert.at), alert.kind.word(), alert.severity.word());
    format!(
        "{text}\n{more}\nseen by {node}, whose peer is {peer}, of the pair {pair}\n{at}, term \
         {term}, {kind}, {severity}\n\nOn {node}: duotone status, duotone history\n"
    )
}

fn protection(mail: &Mail) -> Result<Tls, Failed> {
    if mail.tls == MailTls::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(mail.server_name.clone());
    if let Some(path) = &mail.ca {
        let failed = |why: &dyn std::fmt::Display| {
            Failed::now(format!("{} holds no certificates: {why}", path.display()))
        };
        let pem = std::fs::read(path).map_err(|why| failed(&why))?;
        parameters = parameters
            .certificate_store(CertificateStore::None)
            .add_root_certificate(Certificate::from_pem(&pem).map_err(|why| failed(&why))?);
    }
    let parameters = parameters.build().map_err(|error| Failed::now(causes(&error)))?;
    Ok(match mail.tls {
        MailTls::Tls => Tls::Wrapper(parameters),
        MailTls::StartTls | MailTls::None => Tls::Required(parameters),
    })
}

fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Its own text has the first one already.
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
