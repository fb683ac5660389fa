//! A service that starts slowly is asked, and not called failed before its time.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use duotone::adapters::probes::Asking;
use duotone::config::{Probe, ProbeKind};
use duotone::protocol::health::Grade;

use crate::{PATIENCE, free_port, ms, probe};

/// The grades through which a port goes that opens when it was called failed, or `opens` after the
/// start.
async fn grades(grace: Duration, opens: Duration) -> Vec<Grade> {
    let target = ([127, 0, 0, 1], free_port()).into();
    let asked = probe(ProbeKind::Tcp(target), ms(200));
    let asked = Probe { interval: ms(20), fall: 3, grace, ..asked };
    let mut asking = Asking::start(&[asked], true);
    let (begun, mut listener) = (Instant::now(), None);
    let mut seen = vec![asking.grade()];
    while asking.grade() != Grade::Good {
        assert!(begun.elapsed() < PATIENCE, "{seen:?}");
        if listener.is_none() && (begun.elapsed() >= opens || asking.grade() == Grade::Failed) {
            listener = Some(TcpListener::bind(target).unwrap());
        }
        asking.next().await;
        if seen.last() != Some(&asking.grade()) {
            seen.push(asking.grade());
        }
    }
    seen
}

#[tokio::test]
async fn within_its_grace_a_service_that_does_not_answer_is_starting() {
    use Grade::{Failed, Good, Unknown};
    assert_eq!(grades(ms(60_000), ms(500)).await, [Unknown, Good]);
    assert_eq!(grades(ms(0), ms(60_000)).await, [Unknown, Failed, Good]);
}
