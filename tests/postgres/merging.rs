//! Salvaged rows go back into the serving database, once, and the command line says so.

use std::process::{Command, Output};

use duotone::protocol::action::DatabaseDeed;
use serde_json::Value;

use crate::cluster::{Lab, Server, runtime};
use crate::rejoin::{assert_back, parted, salvages};

struct Cli<'a> {
    lab: &'a Lab,
    a: &'a Server,
}

impl Cli<'_> {
    /// The command line on one of the two nodes.
    fn say(&self, server: &Server, words: &[&str]) -> Output {
        let config = server.config();
        let file = server.dir.join("duotone.toml");
        let text = format!(
            "[pair]\nname = \"office\"\nkey_file = \"/nowhere/key\"\nstate_dir = \"{0}\"\n\
             [[node]]\nname = \"pbx-a\"\n[[node]]\nname = \"pbx-b\"\n\
             [[link]]\nkind = \"udp\"\ninterface = \"eth1\"\n\
             addresses = {{ pbx-a = \"10.9.0.1\", pbx-b = \"10.9.0.2\" }}\n\
             [floating]\ninterface = \"eth0\"\naddresses = [\"192.0.2.10/24\"]\n\
             gateways = [\"192.0.2.1\"]\n\
             [postgres]\ndata_dir = \"{0}/data\"\nbin_dir = \"{1}\"\nos_user = \"{2}\"\n\
             user = \"{2}\"\nsocket_dir = \"{0}\"\nport = {3}\n\
             hosts = {{ pbx-a = \"{4}\", pbx-b = \"{5}\" }}\n\
             salvage_dir = \"{6}\"\n",
            server.dir.display(),
            config.bin_dir.display(),
            config.os_user,
            config.port,
            self.a.address(duotone::protocol::identity::NodeId::A),
            self.a.address(duotone::protocol::identity::NodeId::B),
            config.salvage_dir.display(),
        );
        std::fs::write(&file, text).expect("configuration");
        let _ = self.lab;
        Command::new(env!("CARGO_BIN_EXE_duotone"))
            .args(["salvage"])
            .args(words)
            .arg("--config")
            .arg(file)
            .args(["--node", &Lab::names()[server.node.index()]])
            .output()
            .expect("duotone")
    }

    fn json(&self, server: &Server, words: &[&str]) -> Value {
        let output = self.say(server, &[words, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!("{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        })
    }
}

#[test]
fn rows_are_merged_once() {
    let Some(lab) = Lab::new("merge") else { return };
    runtime().block_on(async {
        let (a, b) = parted(
            &lab,
            &[
                "CREATE TABLE callers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)",
                "CREATE TABLE bills (id int PRIMARY KEY, caller int REFERENCES callers, \
               cents int, euros numeric GENERATED ALWAYS AS (cents / 100.0) STORED)",
                "CREATE TABLE \"No key\" (t text)",
                "CREATE TABLE gone (n int PRIMARY KEY)",
            ],
            &[
                "INSERT INTO callers (name) VALUES ('alice')",
                // The table that refers comes first by name.
                "INSERT INTO bills VALUES (1, 1, 250)",
                "INSERT INTO calls VALUES (1), (2), (3)",
                "INSERT INTO \"No key\" VALUES ('alone')",
                "INSERT INTO gone VALUES (1)",
            ],
        )
        .await;
        b.sql("DROP TABLE gone");
        b.sql("ALTER TABLE calls ADD note text");
        b.sql("INSERT INTO calls VALUES (2, NULL), (3, 'another call')");
        let cli = Cli { lab: &lab, a: &a };
        let mut at_a = a.database();
        at_a.perform(DatabaseDeed::Rejoin { common: None }).await;
        assert_back(&mut at_a, &a, &b).await;

        let listed = cli.json(&a, &["list"]);
        assert_eq!(listed["salvages"].as_array().expect("a list").len(), 1);
        let id = listed["salvages"][0]["manifest"]["id"].as_str().expect("an id").to_owned();
        assert!(listed["salvages"][0]["merged"].is_null());
        let shown = cli.json(&a, &["show", &id, "--table", "calls"]);
        assert_eq!(shown["rows"].as_array().expect("rows").len(), 3);
        let text = cli.say(&a, &["show", &id]);
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains("postgres.public.No key") && text.contains("\"alone\""), "{text}");

        // Here is the standby: the rows go to the other.
        let refused = cli.say(&a, &["merge", &id]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(6), "{said}");
        assert!(said.contains("pbx-b") && said.contains("scp -rp"), "{said}");
        assert_eq!(cli.say(&a, &["merge", "nosuch"]).status.code(), Some(2));

        let directory = salvages(&a)[0].directory.display().to_string();
        let counts = |words: &[&str]| {
            let merged = cli.json(&b, words);
            let tables = merged["merged"]["tables"].as_array().expect("tables").clone();
            tables
                .iter()
                .map(|one| {
                    let count = |key: &str| one[key].as_u64().expect("a count");
                    let name = one["table"].as_str().expect("a name").to_owned();
                    let all =
                        [count("inserted"), count("present"), count("different"), count("failed")];
                    (name.replace("postgres.public.", ""), all)
                })
                .collect::<Vec<_>>()
        };
        let expect = |list: [(&str, [u64; 4]); 5]| list.map(|(name, all)| (name.to_owned(), all));
        let first = expect([
            ("No key", [1, 0, 0, 0]),
            ("bills", [1, 0, 0, 0]),
            ("callers", [1, 0, 0, 0]),
            ("calls", [1, 1, 1, 0]),
            ("gone", [0, 0, 0, 1]),
        ]);
        assert_eq!(counts(&["merge", &directory, "--dry-run"]), first);
        assert_eq!(b.sql("SELECT count(*) FROM callers"), "0", "a dry run changes nothing");
        assert_eq!(counts(&["merge", &directory]), first);
        let again = expect([
            ("No key", [0, 1, 0, 0]),
            ("bills", [0, 1, 0, 0]),
            ("callers", [0, 1, 0, 0]),
            ("calls", [0, 2, 1, 0]),
            ("gone", [0, 0, 0, 1]),
        ]);
        assert_eq!(counts(&["merge", &directory]), again);
        assert_eq!(b.sql("SELECT euros FROM bills"), "2.5000000000000000");
        assert_eq!(
            b.sql("SELECT string_agg(n || coalesce(note, '-'), ',' ORDER BY n) FROM calls"),
            "1-,2-,3another call"
        );
        // The number is taken: its sequence knows.
        assert_eq!(b.sql("INSERT INTO callers (name) VALUES ('bob') RETURNING id"), "2");
        let output = cli.say(&b, &["merge", &directory]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "not every row: {said}");
        assert!(said.contains("there is no such table"), "{said}");
        assert!(salvages(&a)[0].merged.is_some());
    });
}
