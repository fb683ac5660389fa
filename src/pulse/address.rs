//! The floating addresses in the kernel: held, released, looked at.
//!
//! Each deed changes the kernel with one request and then tells what the kernel has, never what
//! was asked for. Whether an address may be held is not decided here. Addresses get no duplicate
//! address detection: arbitration has asked the LAN already, and DAD would cost over a second.
//!
//! While `lifetime` is on, every [`Addresses::hold`] renews the kernel's lifetime, so that an
//! address does not outlive the one who holds it.

use std::net::IpAddr;
use std::time::Duration;

use super::netlink::{Link, NetlinkError, Requests, set_link};
use super::route_messages::{
    self as messages, AddressKey, RouteKey, Wanted, default_route, floating_address,
};
use crate::config::{Floating, Mode};
use crate::protocol::event::Presence;

/// Something that was asked of the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// Add an address, or renew its lifetime.
    AddAddress(IpAddr, u8),
    /// Remove an address.
    RemoveAddress(IpAddr, u8),
    /// Add the default route through this gateway.
    AddRoute(IpAddr),
    /// Remove the default route through this gateway.
    RemoveRoute(IpAddr),
    /// Set the interface up.
    SetUp,
    /// Set the interface down.
    SetDown,
    /// Let secondary addresses outlive the primary one (`promote_secondaries`).
    PromoteSecondaries,
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Deed::AddAddress(address, prefix) => write!(f, "adding {address}/{prefix}"),
            Deed::RemoveAddress(address, prefix) => write!(f, "removing {address}/{prefix}"),
            Deed::AddRoute(gateway) => write!(f, "adding the default route via {gateway}"),
            Deed::RemoveRoute(gateway) => write!(f, "removing the default route via {gateway}"),
            Deed::SetUp => f.write_str("setting the interface up"),
            Deed::SetDown => f.write_str("setting the interface down"),
            Deed::PromoteSecondaries => f.write_str("setting promote_secondaries"),
        }
    }
}

/// Why something is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The kernel could not be asked.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// There is no such interface.
    #[error("interface {0} does not exist")]
    NoInterface(String),
    /// The kernel refused a deed.
    #[error("{deed} on {interface}: {error}")]
    Refused {
        /// Where.
        interface: String,
        /// What.
        deed: Deed,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The probes' sockets.
    #[error("probing on {interface}: {error}")]
    Probing {
        /// Where.
        interface: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The interface has no carrier or is down.
    #[error("interface {0} is down or has no carrier")]
    NoCarrier(String),
}

/// What the kernel has.
#[derive(Debug)]
pub struct Seen {
    /// All of it, in one word.
    pub presence: Presence,
    /// The interface; `None` when it does not exist or could not be looked at.
    pub link: Option<Link>,
    /// The floating addresses that are there.
    pub addresses: Vec<IpAddr>,
    /// Why it is not otherwise, when something went wrong.
    pub trouble: Option<Trouble>,
}

/// The floating addresses of one group.
#[derive(Debug)]
pub struct Addresses {
    floating: Floating,
    /// Whole seconds that an address lives without renewal; `None` for ever.
    lifetime: Option<u32>,
    requests: Requests,
    /// The interface (by index) that keeps secondary addresses when the primary goes.
    promotes: Option<u32>,
}

/// The kernel's state, compared with what is wanted.
#[derive(Default)]
struct View {
    /// Floating addresses, with the prefix length that the kernel has.
    addresses: Vec<AddressKey>,
    /// Of these, those that cannot be used (duplicate address detection failed).
    unusable: Vec<IpAddr>,
    /// Default routes that bear our mark.
    routes: Vec<RouteKey>,
}

impl Addresses {
    /// Opens the routing socket in the network namespace of the calling thread. The lifetime is
    /// cut to whole seconds, one at least, and used when `floating.lifetime` says so.
    pub fn open(floating: &Floating, lifetime: Duration) -> Result<Addresses, NetlinkError> {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).max(1);
        Ok(Addresses {
            lifetime: floating.lifetime.then_some(seconds),
            floating: floating.clone(),
            requests: Requests::open()?,
            promotes: None,
        })
    }

    /// [`Addresses::establish`], then [`Addresses::look`].
    pub fn hold(&mut self) -> Seen {
        let trouble = self.establish();
        self.look(trouble)
    }

    /// [`Addresses::remove`], then [`Addresses::look`].
    pub fn release(&mut self) -> Seen {
        let trouble = self.remove();
        self.look(trouble)
    }

    /// Makes all addresses and routes be there, the interface up; renews lifetimes. What is there
    /// in another form (another prefix length, another gateway) is replaced.
    pub fn establish(&mut self) -> Option<Trouble> {
        self.on_interface(|this, link| {
            let mut trouble = this.apply(&link, this.hold_deeds(&link))?;
            let view = this.view(&link)?;
            let strays = this.strays(&view);
            if !strays.is_empty() {
                trouble = this.apply(&link, strays)?;
                trouble = this.apply(&link, this.hold_deeds(&link))?.or(trouble);
            }
            Ok(trouble)
        })
    }

    /// Makes none of them be there, addresses first; then the interface as the standby keeps it.
    /// Nothing is wrong when they, or the interface, are gone already.
    pub fn remove(&mut self) -> Option<Trouble> {
        let trouble = self.on_interface(|this, link| {
            let mut trouble = this.apply(&link, this.release_deeds(&link))?;
            let view = this.view(&link)?;
            let rest = everything(&view);
            if !rest.is_empty() {
                trouble = this.apply(&link, rest)?.or(trouble);
            }
            Ok(trouble)
        });
        trouble.filter(|trouble| !matches!(trouble, Trouble::NoInterface(_)))
    }

    /// Sets the interface up when the role is the interface itself.
    pub fn raise(&mut self) -> Option<Trouble> {
        self.on_interface(|this, link| match this.floating.mode {
            Mode::Interface { .. } if !link.up => this.apply(&link, vec![Deed::SetUp]),
            Mode::Interface { .. } | Mode::Address => Ok(None),
        })
    }

    /// What the kernel has now; `trouble` is handed on unless looking fails, too.
    pub fn look(&mut self, trouble: Option<Trouble>) -> Seen {
        let seen = self.link().and_then(|link| match link {
            Some(link) => self.view(&link).map(|view| Some((link, view))),
            None => Ok(None),
        });
        let (presence, link, addresses, trouble) = match seen {
            Ok(Some((link, view))) => {
                let usable = self.usable(&view);
                (self.judge(&link, &view, &usable), Some(link), usable, trouble)
            }
            Ok(None) => (Presence::Absent, None, Vec::new(), trouble),
            Err(error) => (Presence::Unknown, None, Vec::new(), Some(error.into())),
        };
        Seen { presence, link, addresses, trouble }
    }

    /// From now on these are the addresses; those that are no longer configured are given up.
    pub fn reconfigure(&mut self, floating: &Floating) -> Option<Trouble> {
        let old = self.floating.clone();
        // The interface itself stays as it is: only addresses and routes go.
        self.floating = Floating {
            addresses: without(&old.addresses, &floating.addresses),
            gateways: without(&old.gateways, &floating.gateways),
            mode: Mode::Address,
            ..old
        };
        let gone = self.floating.addresses.len() + self.floating.gateways.len();
        let trouble = if gone == 0 { None } else { self.remove() };
        self.floating = floating.clone();
        trouble
    }

    /// What moves, and where.
    pub fn floating(&self) -> &Floating {
        &self.floating
    }

    fn link(&mut self) -> Result<Option<Link>, NetlinkError> {
        self.requests.link(&self.floating.interface)
    }

    fn on_interface(
        &mut self,
        deed: impl FnOnce(&mut Self, Link) -> Result<Option<Trouble>, NetlinkError>,
    ) -> Option<Trouble> {
        let trouble = self.link().and_then(|link| match link {
            Some(link) => deed(self, link),
            None => Ok(Some(Trouble::NoInterface(self.floating.interface.clone()))),
        });
        trouble.unwrap_or_else(|error| Some(error.into()))
    }

    fn hold_deeds(&self, link: &Link) -> Vec<Deed> {
        let mut deeds = Vec::new();
        if self.promotes != Some(link.index) {
            deeds.push(Deed::PromoteSecondaries);
        }
        if !link.up {
            deeds.push(Deed::SetUp);
        }
        let addresses = self.floating.addresses.iter();
        deeds.extend(addresses.map(|&(address, prefix)| Deed::AddAddress(address, prefix)));
        deeds.extend(self.floating.gateways.iter().map(|&gateway| Deed::AddRoute(gateway)));
        deeds
    }

    fn release_deeds(&self, link: &Link) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let addresses = self.floating.addresses.iter();
        deeds.extend(addresses.map(|&(address, prefix)| Deed::RemoveAddress(address, prefix)));
        deeds.extend(self.floating.gateways.iter().map(|&gateway| Deed::RemoveRoute(gateway)));
        match self.floating.mode {
            Mode::Interface { bare: true } if !link.up => deeds.push(Deed::SetUp),
            Mode::Interface { bare: false } if link.up => deeds.push(Deed::SetDown),
            Mode::Interface { .. } | Mode::Address => {}
        }
        deeds
    }

    /// Removals of what is there in another form than wanted.
    fn strays(&self, view: &View) -> Vec<Deed> {
        let wanted_routes: Vec<_> = self.wanted_routes().collect();
        everything(&View {
            addresses: view
                .addresses
                .iter()
                .filter(|found| {
                    !self.floating.addresses.contains(found) || view.unusable.contains(&found.0)
                })
                .copied()
                .collect(),
            routes: view
                .routes
                .iter()
                .filter(|found| !wanted_routes.contains(found))
                .copied()
                .collect(),
            unusable: Vec::new(),
        })
    }

    /// Carries the deeds out with one request; returns the first refusal that matters.
    fn apply(&mut self, link: &Link, deeds: Vec<Deed>) -> Result<Option<Trouble>, NetlinkError> {
        let changes = deeds.iter().map(|deed| self.change(link, deed)).collect();
        let answers = self.requests.change(changes)?;
        let mut trouble = None;
        for (deed, answer) in deeds.into_iter().zip(answers) {
            let Some(error) = answer else {
                if deed == Deed::PromoteSecondaries {
                    self.promotes = Some(link.index);
                }
                continue;
            };
            let already = match deed {
                Deed::RemoveAddress(..) => libc::EADDRNOTAVAIL,
                Deed::RemoveRoute(_) => libc::ESRCH,
                Deed::AddRoute(_) => libc::EEXIST,
                Deed::AddAddress(..) | Deed::SetUp | Deed::SetDown | Deed::PromoteSecondaries => 0,
            };
            if error.raw_os_error() != Some(already) && trouble.is_none() {
                let interface = self.floating.interface.clone();
                trouble = Some(Trouble::Refused { interface, deed, error });
            }
        }
        Ok(trouble)
    }

    fn change(&self, link: &Link, deed: &Deed) -> super::netlink::Change {
        match *deed {
            Deed::AddAddress(address, prefix) => {
                let wanted = Wanted::Present { lifetime: self.lifetime };
                floating_address(link.index, address, prefix, wanted)
            }
            Deed::RemoveAddress(address, prefix) => {
                floating_address(link.index, address, prefix, Wanted::Gone)
            }
            Deed::AddRoute(gateway) => {
                let wanted = Wanted::Present { lifetime: self.lifetime };
                default_route(link.index, gateway, self.source_for(gateway), wanted)
            }
            Deed::RemoveRoute(gateway) => default_route(link.index, gateway, None, Wanted::Gone),
            Deed::SetUp => set_link(link.index, true),
            Deed::SetDown => set_link(link.index, false),
            Deed::PromoteSecondaries => messages::promote_secondaries(link.index),
        }
    }

    /// The source address of what leaves through a gateway.
    fn source_for(&self, gateway: IpAddr) -> Option<IpAddr> {
        let mut addresses = self.floating.addresses.iter().map(|(address, _)| *address);
        let first = addresses.find(|address| address.is_ipv4() == gateway.is_ipv4());
        first.filter(|_| self.floating.source)
    }

    fn wanted_routes(&self) -> impl Iterator<Item = RouteKey> {
        let gateways = self.floating.gateways.iter();
        gateways.map(|&gateway| RouteKey { gateway, source: self.source_for(gateway) })
    }

    fn view(&mut self, link: &Link) -> Result<View, NetlinkError> {
        let mut view = View::default();
        let found = self.requests.dump(&messages::addresses_of(link.index))?;
        for (key, usable) in found.iter().filter_map(|m| messages::read_address(m, link.index)) {
            if self.floating.addresses.iter().any(|(address, _)| *address == key.0) {
                view.addresses.push(key);
                if !usable {
                    view.unusable.push(key.0);
                }
            }
        }
        for ipv4 in [true, false] {
            if self.floating.addresses.iter().any(|(address, _)| address.is_ipv4() == ipv4) {
                let found = self.requests.dump(&messages::default_routes_of(link.index, ipv4))?;
                let ours = found.iter().filter_map(|m| messages::read_route(m, link.index));
                view.routes.extend(ours);
            }
        }
        Ok(view)
    }

    fn usable(&self, view: &View) -> Vec<IpAddr> {
        let wanted = self.floating.addresses.iter();
        let usable = wanted
            .filter(|wanted| view.addresses.contains(wanted) && !view.unusable.contains(&wanted.0));
        usable.map(|wanted| wanted.0).collect()
    }

    fn judge(&self, link: &Link, view: &View, usable: &[IpAddr]) -> Presence {
        let all = usable.len() == self.floating.addresses.len()
            && self.wanted_routes().all(|wanted| view.routes.contains(&wanted));
        // An IPv6 route that outlives its address expires by itself; the kernel shows it a while
        // longer.
        let lasts = |route: &RouteKey| route.gateway.is_ipv4() || self.lifetime.is_none();
        if view.addresses.is_empty() && !view.routes.iter().any(lasts) {
            Presence::Absent
        } else if all && link.up {
            Presence::Held
        } else {
            Presence::Partial
        }
    }
}

/// Removals of all that is there, addresses first.
fn everything(view: &View) -> Vec<Deed> {
    let addresses = view.addresses.iter().map(|key| Deed::RemoveAddress(key.0, key.1));
    let routes = view.routes.iter().map(|route| Deed::RemoveRoute(route.gateway));
    addresses.chain(routes).collect()
}

/// Removes the floating addresses and their routes once, without a daemon; for the service
/// manager to call after the daemon has ended. An interface that does not exist has none.
pub fn release_all(floating: &Floating) -> Result<Presence, Trouble> {
    let seen = Addresses::open(floating, Duration::ZERO)?.release();
    match (seen.presence, seen.trouble) {
        (Presence::Absent, _) | (_, None) => Ok(seen.presence),
        (_, Some(trouble)) => Err(trouble),
    }
}

fn without<T: PartialEq + Copy>(all: &[T], kept: &[T]) -> Vec<T> {
    all.iter().filter(|one| !kept.contains(one)).copied().collect()
}
