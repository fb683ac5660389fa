//! Statements on a real PostgreSQL.

use duotone::adapters::probes::{Answer, Bad, CouldNotRun, ask};
use duotone::config::{Probe, ProbeKind, SqlProbe};

use crate::cluster::{Lab, Server, signal, until};
use crate::{PATIENCE, SOON, probe};

fn sql(server: &Server, query: &str) -> SqlProbe {
    let config = server.config();
    let mut connection = tokio_postgres::Config::new();
    connection.host_path(config.socket_dir).port(config.port);
    connection.user(&config.user).dbname(&config.database);
    SqlProbe { connection, password_file: None, query: query.into(), expect: None }
}

fn asking(sql: SqlProbe) -> Probe {
    probe(ProbeKind::Sql(sql), PATIENCE)
}

#[tokio::test]
async fn a_statement_that_succeeds_is_good_and_its_value_may_matter() {
    let Some(lab) = Lab::new("probe") else { return };
    let server = lab.primary();
    let good = |answer: &Answer| matches!(answer, Answer::Good(_));
    for query in ["SELECT 1", "SELECT true WHERE false", "INSERT INTO calls DEFAULT VALUES"] {
        let answer = ask(&asking(sql(&server, query))).await;
        assert!(good(&answer), "{query}: {answer:?}");
    }
    let wanting = |query: &str, value: &str| {
        asking(SqlProbe { expect: Some(value.into()), ..sql(&server, query) })
    };
    let answer = ask(&wanting("SELECT pg_is_in_recovery(), 7", "f")).await;
    assert!(good(&answer), "{answer:?}");
    let answer = ask(&wanting("SELECT pg_is_in_recovery()", "t")).await;
    assert_eq!(answer, Answer::Bad(Bad::Value("\"f\"".into())));
    let answer = ask(&wanting("SELECT 1 WHERE false", "1")).await;
    assert_eq!(answer, Answer::Bad(Bad::Value("no value".into())));
    let answer = ask(&asking(sql(&server, "SELECT * FROM nowhere"))).await;
    let said = "relation \"nowhere\" does not exist (SQLSTATE 42P01)";
    assert_eq!(answer, Answer::Bad(Bad::Sql(said.into())));
    // A user that the server does not know says nothing of it.
    let mut stranger = sql(&server, "SELECT 1");
    stranger.connection.user("nobody-here");
    let answer = ask(&asking(stranger)).await;
    assert!(matches!(answer, Answer::CouldNotRun(CouldNotRun::NotLetIn(_))), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_hangs_or_is_gone_is_bad_and_nothing_piles_up_in_it() {
    let Some(lab) = Lab::new("probehang") else { return };
    let server = lab.primary();
    let hanging = || probe(ProbeKind::Sql(sql(&server, "SELECT pg_sleep(600)")), SOON);
    for _ in 0..3 {
        let answer = ask(&hanging()).await;
        // The server's own limit is as long as ours.
        let ended = matches!(&answer, Answer::Bad(Bad::Sql(why)) if why.contains("57014"));
        assert!(ended || answer == Answer::Bad(Bad::NoAnswer(SOON)), "{answer:?}");
    }
    until("no statement goes on without its asker", || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'duotone probe'")
            == "0"
    });
    let postmaster = server.postmaster();
    signal(postmaster, "STOP");
    let answer = ask(&probe(ProbeKind::Sql(sql(&server, "SELECT 1")), SOON)).await;
    signal(postmaster, "CONT");
    assert_eq!(answer, Answer::Bad(Bad::NoAnswer(SOON)));
    server.kill_all();
    let answer = ask(&asking(sql(&server, "SELECT 1"))).await;
    assert_eq!(answer, Answer::Bad(Bad::Refused));
}
