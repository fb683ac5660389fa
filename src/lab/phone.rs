//! The phone: registers, takes calls, and places a steady stream of them through the floating
//! address, all with sipp and without retransmission (`-nr`), so that every lost message shows.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::clock;
use super::run_directory::record_process;
use super::watch::CALLER_PORT;
use super::world::{FLOATING, PHONE, PHONE_ADDRESS};

/// New calls per second.
pub const RATE: u32 = 50;

const REGISTER_PATIENCE: Duration = Duration::from_secs(2);

const REGISTER: &str = r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="register">
<send><![CDATA[
REGISTER sip:[remote_ip] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:phone@[remote_ip]>;tag=[call_number]
To: <sip:phone@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 REGISTER
Contact: <sip:phone@[local_ip]:5070>
Max-Forwards: 70
Expires: 3600
Content-Length: 0

]]></send>
<recv response="100" optional="true"></recv>
<recv response="200"></recv>
</scenario>
"#;

const CALL: &str = r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="call">
<send><![CDATA[
INVITE sip:phone@[remote_ip] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[remote_ip]>;tag=[pid]c[call_number]
To: <sip:phone@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:caller@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="100" optional="true"></recv>
<recv response="180" optional="true"></recv>
<recv response="200" rrs="true"></recv>
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
From: <sip:caller@[remote_ip]>;tag=[pid]c[call_number]
To: <sip:phone@[remote_ip]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<pause milliseconds="100"/>
<send><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
From: <sip:caller@[remote_ip]>;tag=[pid]c[call_number]
To: <sip:phone@[remote_ip]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"></recv>
</scenario>
"#;

/// The phone's running programs.
pub struct Phone {
    files: PathBuf,
    programs: Vec<Child>,
}

impl Phone {
    /// Writes its scenarios and takes calls from now on.
    pub fn start(files: &Path) -> anyhow::Result<Self> {
        let files = files.join("phone");
        fs::create_dir_all(&files)?;
        fs::write(files.join("register.xml"), REGISTER)?;
        fs::write(files.join("call.xml"), CALL)?;
        let mut phone = Phone { files, programs: Vec::new() };
        phone.launch("callee", &["-sn", "uas", "-p", "5070"])?;
        Ok(phone)
    }

    /// Registers through the floating address, asking again until `patience` ends.
    ///
    /// # Errors
    /// Nobody took the registration.
    pub fn register(&mut self, patience: Duration) -> anyhow::Result<()> {
        let file = self.files.join("register.xml");
        let end = clock::now() + patience;
        let mut registered = false;
        while !registered && clock::now() < end {
            let mut command = self.sipp("register");
            command.args(["-nr", "-sf"]).arg(&file).args(["-p", "5064", "-m", "1"]);
            command.args(["-recv_timeout", "1000"]).arg(FLOATING.to_string());
            let mut child = command.spawn().context("start sipp")?;
            // sipp's own time limits do not end it in every case; this does.
            let seen = clock::wait_until(REGISTER_PATIENCE, Duration::from_millis(50), || {
                child.try_wait().is_ok_and(|status| status.is_some())
            });
            let _ = child.kill();
            registered = child.wait()?.success() && seen?;
        }
        anyhow::ensure!(registered, "the registration through {FLOATING} was not answered");
        Ok(())
    }

    /// Places calls, [`RATE`] a second, until hung up.
    pub fn call(&mut self) -> anyhow::Result<()> {
        let file = self.files.join("call.xml").to_string_lossy().into_owned();
        let (port, rate) = (CALLER_PORT.to_string(), RATE.to_string());
        let floating = FLOATING.to_string();
        let steady = ["-sf", &file, "-p", &port, "-r", &rate, "-l", "5000", "-m", "1000000"];
        // A call whose answer never comes is simply over: no CANCEL, no BYE of sipp's own.
        let give_up = ["-recv_timeout", "2000", "-default_behaviors", "none", &floating];
        self.launch("caller", &[&steady[..], &give_up].concat())
    }

    /// No more calls.
    pub fn hang_up(&mut self) {
        for mut program in self.programs.drain(..).rev() {
            let _ = program.kill();
            let _ = program.wait();
        }
    }

    fn launch(&mut self, name: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = self.sipp(name);
        command.arg("-nr").args(arguments);
        let child = self.spawn(command)?;
        self.programs.push(child);
        Ok(())
    }

    /// Starts what [`Phone::sipp`] has made, on record.
    pub fn spawn(&self, mut command: Command) -> anyhow::Result<Child> {
        let child = command.spawn().context("start sipp")?;
        record_process(child.id())?;
        Ok(child)
    }

    /// Where it keeps its files.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// sipp in the phone's namespace, without a terminal.
    pub fn sipp(&self, name: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{PHONE}"))
            .args(["sipp", "-nostdin", "-i", &PHONE_ADDRESS.to_string(), "-trace_err"])
            .arg("-error_file")
            .arg(self.files.join(format!("{name}.err")))
            .current_dir(&self.files)
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        match File::create(self.files.join(format!("{name}.log"))) {
            Ok(log) => command.stderr(log),
            Err(_) => command.stderr(Stdio::null()),
        };
        command
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.hang_up();
    }
}
