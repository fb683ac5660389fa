//! Certificates as an administrator makes them: an authority, and servers' that it signed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Scratch;

/// The authority and its servers' certificates: `NAME.pem` and `NAME.key` in `dir`.
pub struct Authority {
    pub dir: PathBuf,
}

impl Authority {
    /// `None`, said on standard error, without openssl.
    pub fn new(scratch: &Scratch, name: &str) -> Option<Authority> {
        if !crate::has("/usr/bin/openssl") {
            return None;
        }
        let dir = scratch.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        let config = format!(
            "[req]\ndistinguished_name = dn\n[dn]\n\
             [ca]\ndefault_ca = it\n[it]\ndatabase = {dir}/index\nserial = {dir}/serial\n\
             new_certs_dir = {dir}\ncertificate = {dir}/ca.pem\nprivate_key = {dir}/ca.key\n\
             default_md = sha256\npolicy = any\ncopy_extensions = copy\nunique_subject = no\n\
             [any]\ncommonName = supplied\n",
            dir = dir.display()
        );
        std::fs::write(dir.join("config"), config).unwrap();
        std::fs::write(dir.join("index"), "").unwrap();
        std::fs::write(dir.join("serial"), "01\n").unwrap();
        let authority = Authority { dir };
        authority.openssl(&format!(
            "req -x509 {KEY} -keyout ca.key -out ca.pem -subj /CN={name} -days 30 -config config \
             -addext basicConstraints=critical,CA:TRUE"
        ));
        Some(authority)
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A server's, valid for a time, for these names (as in `subjectAltName`).
    pub fn sign(&self, name: &str, from: &str, until: &str, names: &str) {
        self.openssl(&format!(
            "req -new {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name} -config config \
             -addext subjectAltName={names}"
        ));
        self.openssl(&format!(
            "ca -batch -config config -in {name}.csr -out {name}.pem -notext \
             -startdate {from} -enddate {until}"
        ));
    }

    /// One that is right for 127.0.0.1 and for the name `pbx.test`.
    pub fn sign_good(&self) {
        self.sign("good", "20200101000000Z", "20991231235959Z", "IP:127.0.0.1,DNS:pbx.test");
    }

    pub fn sign_expired(&self) {
        self.sign("expired", "20200101000000Z", "20210101000000Z", "IP:127.0.0.1");
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(&self.dir)
            .output()
            .expect("openssl");
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// What a probe wants to be proved.
pub fn tls(ca: &Path) -> duotone::config::Tls {
    duotone::config::Tls { ca: Some(ca.to_owned()), server_name: None, verify: true }
}
