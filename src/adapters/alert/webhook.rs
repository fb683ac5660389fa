//! An alert as the JSON body of an HTTP POST.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::{Alert, Failed, aside};
use crate::adapters::tls;
use crate::config::{Tls, Webhook, headers};

/// Of what a server says beside its refusal, so much is told.
const WORDS: usize = 200;

/// Made at the first alert.
pub type Client = Option<reqwest::Client>;

pub async fn send(hook: &Webhook, client: &mut Client, alert: &Alert) -> Result<String, Failed> {
    let client = match client {
        Some(client) => client,
        None => {
            let ca = hook.ca.clone();
            let tls = hook.url.starts_with("https");
            client.insert(aside(move || build(tls, ca.as_deref())).await?)
        }
    };
    let headers = match hook.headers_file.clone() {
        None => HeaderMap::new(),
        Some(path) => aside(move || headers::read(&path).map_err(Failed::now)).await?,
    };
    let request = client
        .post(&hook.url)
        .header(CONTENT_TYPE, "application/json")
        .headers(headers)
        .body(alert.data().to_string());
    let response = request.send().await.map_err(|error| Failed::now(causes(&error)))?;
    let status = response.status();
    if status.is_success() {
        return Ok(status.to_string());
    }
    let words = beginning(response).await;
    Err(Failed { why: format!("{status}{words}"), for_good: for_good(status) })
}

fn build(with_tls: bool, ca: Option<&Path>) -> Result<reqwest::Client, Failed> {
    // A redirect would send what the headers hold to somebody else; a kept connection would be
    // found dead when it is needed.
    let builder =
        reqwest::Client::builder().redirect(Policy::none()).no_proxy().pool_max_idle_per_host(0);
    let trusts = if with_tls {
        let tls = Tls { ca: ca.map(Path::to_owned), server_name: None, verify: true };
        tls::client_config(&tls).map_err(Failed::now)?
    } else {
        // It wants one even where nothing is encrypted.
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Failed::now)?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    };
    let agent = concat!("duotone/", env!("CARGO_PKG_VERSION"));
    builder
        .tls_backend_preconfigured(trusts)
        .user_agent(agent)
        .build()
        .map_err(|error| Failed::now(causes(&error)))
}

/// What would be answered the same again (RFC 9110 §15.5), but for "later" and "too often".
fn for_good(status: StatusCode) -> bool {
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !later.contains(&status)
}

async fn beginning(mut response: Response) -> String {
    let mut words = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        words.extend_from_slice(&chunk);
        if words.len() >= WORDS {
            words.truncate(WORDS);
            break;
        }
    }
    let words = String::from_utf8_lossy(&words);
    if words.trim().is_empty() { String::new() } else { format!(": {}", words.trim()) }
}

/// An error with what is behind it, without the address: it may hold a secret.
fn causes(error: &reqwest::Error) -> String {
    let mut text = match (error.is_connect(), error.is_builder()) {
        (true, _) => "cannot be reached".to_owned(),
        (_, true) => "the request cannot be made".to_owned(),
        (false, false) => "no answer".to_owned(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
