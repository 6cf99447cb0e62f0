//! Clocks that are set back: who is alive somewhere is known all the same.

use std::sync::Arc;

use ctxnode_store::{Clock as _, ManualClock, Role, SystemClock};
use ctxnode_sync::{NetConfig, PeerState};

use crate::support::{block_on, equal, founder_in, joined_in, run_with, two_sides, until};

/// One machine in the middle, and one that hears of the first only through it. The clock of the first is set back twice: while
/// its daemon runs, and while it does not.
#[test]
fn a_clock_that_was_set_back_silences_nobody() {
    let Some((here, there)) = two_sides() else { return };
    block_on(async {
        let at = |ips: &[_]| NetConfig { bind: ips.to_vec(), ..NetConfig::default() };
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let mac = founder_in(Arc::clone(&clock) as _, at(&[here]));
        let code = mac.invite(Role::Admin, None).await;
        let hub = joined_in(&code, "hub", Arc::new(SystemClock), at(&[here, there])).await;
        let code = hub.invite(Role::Writer, None).await;
        let phone = joined_in(&code, "phone", Arc::new(SystemClock), at(&[there])).await;
        equal(&[&mac, &hub, &phone]).await;
        phone.hears("sess_1", mac.key()).await;
        let of_mac = || phone.fleet.status().into_iter().find(|peer| peer.node == mac.key());
        until("it is heard through others", || of_mac().is_some_and(|peer| peer.state == PeerState::Forwarded)).await;

        clock.advance(-3_600_000);
        mac.runs("sess_2");
        hub.hears("sess_2", mac.key()).await;
        phone.hears("sess_2", mac.key()).await;

        mac.fleet.stop().await;
        clock.advance(-3_600_000);
        let mac = run_with(mac.store, mac.secret, at(&[here]));
        mac.runs("sess_3");
        hub.hears("sess_3", mac.key()).await;
        phone.hears("sess_3", mac.key()).await;
    });
}
