//! The SIP server of the lab: Kamailio with its user locations in the pair's database, read at
//! every call, so that a registration survives whichever host took it.

use std::fs;

use super::host::{Host, INSIDE};
use super::world::FLOATING;

/// Kamailio's program.
pub const PROGRAM: &str = "/usr/sbin/kamailio";

/// It listens on the floating address, there or not (`ip_nonlocal_bind`), and on loopback for the
/// probe. `db_mode` 3: nothing cached; a hot standby serves the reads. The clean-up of expired
/// contacts, which a hot standby refuses, is rare; a look-up passes over expired ones anyway.
const CONF: &str = r#"#!KAMAILIO
debug=1
log_stderror=yes
children=2
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
listen=udp:FLOATING:5060
listen=udp:127.0.0.1:5060
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "db_postgres.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("usrloc", "db_url", "postgres://postgres@/postgres")
modparam("usrloc", "db_mode", 3)
modparam("usrloc", "use_domain", 0)
modparam("usrloc", "timer_interval", 3600)
modparam("registrar", "max_expires", 7200)
modparam("tm", "fr_timer", 3000)

request_route {
    if (!mf_process_maxfwd_header("10")) {
        sl_send_reply("483", "Too Many Hops");
        exit;
    }
    if (is_method("OPTIONS")) {
        sl_send_reply("200", "OK");
        exit;
    }
    if (is_method("REGISTER")) {
        if (!save("location")) {
            sl_reply_error();
        }
        exit;
    }
    if (has_totag()) {
        loose_route();
        t_relay();
        exit;
    }
    if (is_method("INVITE")) {
        record_route();
        if (!lookup("location")) {
            sl_send_reply("404", "Not Found");
            exit;
        }
    }
    t_relay();
}
"#;

/// Writes a host's configuration.
pub fn install(host: &Host) -> anyhow::Result<()> {
    let text = CONF.replace("FLOATING", &FLOATING.to_string());
    fs::write(host.files.join("kamailio.cfg"), text)?;
    Ok(())
}

/// The command line that runs it in the foreground.
pub fn command() -> Vec<String> {
    let conf = format!("{INSIDE}/kamailio.cfg");
    [PROGRAM, "-DD", "-E", "-m", "32", "-M", "4", "-f", &conf].map(str::to_owned).to_vec()
}
