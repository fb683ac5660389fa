//! Does a web server give a page? One GET on a connection of its own; no redirect is followed, no
//! proxy is used.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::{Answer, Bad, CouldNotRun, judge};
use crate::config::HttpProbe;

/// The text is looked for in the beginning of the page.
const READ_MAX: usize = 1 << 20;

/// A client for one page.
pub(super) struct Client {
    client: reqwest::Client,
    url: reqwest::Url,
    host: Host,
    known: Known,
}

enum Host {
    Address(IpAddr),
    /// Resolved anew for each question; the permit is a look-up that still runs.
    Name(String, Arc<Semaphore>),
}

/// The addresses that the library connects to, whatever name it asks for.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<Vec<IpAddr>>>);

impl Resolve for Known {
    fn resolve(&self, _name: Name) -> Resolving {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let addresses = known.into_iter().map(|ip| SocketAddr::new(ip, 0));
        let addresses: Addrs = Box::new(addresses.collect::<Vec<_>>().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

impl Client {
    /// Connects to nobody yet.
    pub fn new(probe: &HttpProbe, trust: ClientConfig) -> Result<Client, CouldNotRun> {
        let failed = |why: String| CouldNotRun::File(format!("HTTP: {why}"));
        let mut url = probe.url.clone();
        let written = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let host = match written.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(written, Arc::new(Semaphore::new(1))),
        };
        if let Some(name) = &probe.tls.server_name {
            url.set_host(Some(name)).map_err(|error| failed(error.to_string()))?;
        }
        let known = Known::default();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(trust)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .dns_resolver(known.clone())
            .user_agent(concat!("duotone/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Client { client, url, host, known })
    }

    /// Asks once.
    pub async fn ask(&self, probe: &HttpProbe, timeout: Duration) -> Answer {
        let asked = Instant::now();
        let end = asked + timeout;
        let addresses = match &self.host {
            Host::Address(address) => vec![*address],
            Host::Name(name, running) => match look_up(name, running, end).await {
                Ok(addresses) => addresses,
                Err(reason) => return Answer::CouldNotRun(reason),
            },
        };
        *self.known.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        match timeout_at(end, self.get(probe)).await {
            Ok(None) => Answer::Good(asked.elapsed()),
            Ok(Some(answer)) => answer,
            Err(_) => Answer::Bad(Bad::NoAnswer(timeout)),
        }
    }

    /// What is wrong with the page.
    async fn get(&self, probe: &HttpProbe) -> Option<Answer> {
        let mut response = match self.client.get(self.url.clone()).send().await {
            Ok(response) => response,
            Err(error) => return Some(cause(&error)),
        };
        let status = response.status().as_u16();
        if !probe.accept.contains(status) {
            return Some(Answer::Bad(Bad::HttpStatus(status)));
        }
        let text = probe.contains.as_ref()?;
        let mut body = Vec::new();
        while body.len() < READ_MAX {
            let searched = body.len().saturating_sub(text.len());
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Some(cause(&error)),
            }
            if body[searched..].windows(text.len()).any(|window| window == text.as_bytes()) {
                return None;
            }
        }
        Some(Answer::Bad(Bad::Lacks(text.clone())))
    }
}

/// The addresses of a name, by the system's resolver, which cannot be interrupted: while one look-up
/// runs there is no second.
async fn look_up(
    name: &str,
    running: &Arc<Semaphore>,
    end: Instant,
) -> Result<Vec<IpAddr>, CouldNotRun> {
    let failed = |why: String| CouldNotRun::Name { name: name.to_owned(), why };
    let Ok(permit) = Arc::clone(running).try_acquire_owned() else {
        return Err(failed("the last look-up still runs".into()));
    };
    let asked = name.to_owned();
    let looked_up = tokio::task::spawn_blocking(move || {
        let found = std::net::ToSocketAddrs::to_socket_addrs(&(asked.as_str(), 0));
        drop(permit);
        found.map(|addresses| addresses.map(|address| address.ip()).collect::<Vec<_>>())
    });
    match timeout_at(end, looked_up).await {
        Ok(Ok(Ok(addresses))) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(Ok(_))) => Err(failed("it has no address".into())),
        Ok(Ok(Err(error))) => Err(failed(error.to_string())),
        Ok(Err(_)) | Err(_) => Err(failed("the resolver does not answer".into())),
    }
}

/// What an error of the library says about the server: what the kernel or TLS said is under it.
fn cause(error: &reqwest::Error) -> Answer {
    let mut innermost = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return judge("talk over the connection", io);
        }
        innermost = inner.to_string();
        source = inner.source();
    }
    Answer::Bad(Bad::NotUnderstood(innermost))
}
