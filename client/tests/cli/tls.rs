//! `wss://`: through HAProxy, as SECURITY.md configures it, to stage 4, with certificates of all sorts.

use crate::local::{CLIENT, LOAD, client, scratch, text};
use crate::secure::{Authority, Proxy, self_signed};
use crate::stage::{Stage, until};
use client::run::RunReport;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

/// Stage 4 behind HAProxy with a certificate of `authority` for localhost; `None` where one of the programs is missing.
fn pair(authority: &Authority, bind: &str) -> Option<(Proxy, Stage)> {
    let stage = Stage::start("stage4-zero-buffer", &[])?;
    let certificate = authority.issue(&["localhost", "127.0.0.1"], 3000);
    Some((Proxy::start(&certificate, bind, address(&stage))?, stage))
}

fn address(stage: &Stage) -> &str {
    stage.url.trim_start_matches("ws://").split('/').next().expect("an address")
}

fn url(proxy: &Proxy) -> String {
    format!("wss://localhost:{}/echo", proxy.port)
}

/// Runs a short load on four connections.
fn run(url: &str, flags: &[&str]) -> (Output, RunReport) {
    let mut client = client(&format!("run --url {url} {LOAD} --quiet --json -"));
    let output = client.args(flags).output().expect("the client runs");
    let report =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (output, report)
}

#[track_caller]
fn all_well((output, report): (Output, RunReport)) -> RunReport {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    report
}

/// The line of complaint of a run whose four attempts failed as TLS.
#[track_caller]
fn tls_complaint((output, report): (Output, RunReport)) -> String {
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), report.failures.tls), (Some(1), 4), "{said}");
    assert_eq!(report.connect.map(|connect| connect.opened), Some(0), "{said}");
    said.lines().find(|line| line.starts_with("client: ")).expect("a complaint").to_owned()
}

fn name(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn echoes_over_both_versions_of_tls() {
    let authority = Authority::new("issuer");
    let ca = ["--ca", name(&authority.file)];
    for version in ["TLSv1.2", "TLSv1.3"] {
        let bind = format!("ssl-min-ver {version} ssl-max-ver {version}");
        let Some((proxy, _stage)) = pair(&authority, &bind) else { return };
        let (output, report) = run(&url(&proxy), &ca);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        for part in ["tcp", "tls", "upgrade", "handshake"] {
            assert_eq!(json["connect"][part]["count"], 4, "{part}: {json}");
        }
        assert_eq!(json["connect"]["tls_resumed"], 0, "full handshakes are the default");
        assert!(text(&output.stderr).contains("of which     TCP p50"), "{}", text(&output.stderr));
        assert!(all_well((output, report)).echo.is_some_and(|echo| echo.echoes > 0));
        let by_address = format!("wss://127.0.0.1:{}/echo", proxy.port);
        all_well(run(&by_address, &[&ca[..], &["--in-flight", "16", "--payload", "4KiB"]].concat()));
        let large = run(&url(&proxy), &[&ca[..], &["--in-flight", "2", "--payload", "1MiB"]].concat());
        assert!(all_well(large).echo.is_some_and(|echo| echo.bytes > 4 << 20));
    }
}

#[test]
fn storms_churn_and_an_open_loop() {
    let authority = Authority::new("issuer");
    let Some((proxy, _stage)) = pair(&authority, "") else { return };
    let url = url(&proxy);
    let with = |more: &str| {
        let mut client = client(&format!("run --url {url} --quiet --json - --warmup 0s {more}"));
        let output = client.args(["--ca", name(&authority.file)]).output().expect("the client runs");
        let report = serde_json::from_slice(&output.stdout).expect("a report");
        all_well((output, report))
    };
    let storm = with("--connections 50 --scenario storm --duration 500ms");
    let connect = storm.connect.expect("connections");
    let parts = connect.parts.expect("over TLS");
    assert_eq!((connect.opened, parts.tls.0.len()), (50 * connect.rounds, connect.opened));
    assert_eq!(storm.close.expect("closed").closed, connect.opened, "by the closing handshake");
    let churn = with("--connections 20 --scenario churn --rate 100 --duration 1s").churn.expect("churn");
    assert_eq!(churn.parts.as_ref().expect("over TLS").tls.0.len(), churn.opened);
    assert!(churn.opened > 10 && churn.echoes == churn.opened, "{churn:?}");
    let open = with("--connections 20 --rate 500 --duration 500ms").echo.expect("echoes");
    assert!(open.echoes == open.sent && open.missing == 0, "{open:?}");
}

#[test]
fn lost_connections_are_replaced() {
    let authority = Authority::new("issuer");
    let Some((proxy, mut stage)) = pair(&authority, "") else { return };
    let address = address(&stage).to_owned();
    let flags = format!("run --url {} --connections 8 --scenario idle --duration 8s --quiet", url(&proxy));
    let file = scratch("reconnect.json");
    let mut client = client(&flags);
    client.args(["--reconnect", "--ca", name(&authority.file), "--json", name(&file)]);
    let mut running = client.spawn().expect("the client runs");
    until("eight connections", Duration::from_secs(20), || {
        let active = stage.metrics().value("ws_connections_active");
        if active == Some(8.0) { Ok(()) } else { Err(format!("{active:?}")) }
    });
    stage.kill();
    let _stage = Stage::start("stage4-zero-buffer", &["--addr", &address]).expect("built");
    assert!(running.wait().expect("it ends").success());
    let report: RunReport = serde_json::from_slice(&fs::read(file).expect("a result")).expect("JSON");
    let reconnect = report.reconnect.expect("counts");
    assert_eq!((reconnect.lost, reconnect.reconnected), (8, 8));
}

#[test]
fn certificates_are_verified() {
    let (authority, other) = (Authority::new("issuer"), Authority::new("another issuer"));
    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let server = address(&stage);
    let trusted = |names: &[&str], until_year| authority.issue(names, until_year);
    let own = self_signed(&["localhost"], false, 3000);
    let issuer = self_signed(&["localhost"], true, 3000);
    let expired_issuer = self_signed(&["localhost"], true, 2020);
    let other_issuer = self_signed(&["other.example"], true, 3000);
    let (ca, of_others) = (Some(authority.file.clone()), Some(other.file.clone()));
    for (certificate, ca, said) in [
        (trusted(&["localhost"], 3000), ca.clone(), Ok(())),
        (own.clone(), Some(own.clone()), Ok(())),
        (issuer.clone(), Some(issuer.clone()), Ok(())),
        (trusted(&["localhost"], 3000), of_others, Err(["has an unknown issuer", "--ca FILE"])),
        (trusted(&["localhost"], 3000), None, Err(["has an unknown issuer", "--insecure"])),
        (trusted(&["localhost"], 2020), ca.clone(), Err(["expired on 2020-01-01T00:00:00Z", "renew"])),
        (
            trusted(&["a.example", "10.0.0.7"], 3000),
            ca.clone(),
            Err(["is not for localhost, but for a.example", "--url"]),
        ),
        (own, ca.clone(), Err(["is self-signed", "--ca FILE"])),
        (issuer, ca, Err(["is self-signed", "--insecure"])),
        (expired_issuer.clone(), Some(expired_issuer), Err(["expired on 2020-01-01", "renew"])),
        (other_issuer.clone(), Some(other_issuer), Err(["is not for localhost, but for other", "--url"])),
    ] {
        let Some(proxy) = Proxy::start(&certificate, "", server) else { return };
        let flags: Vec<&str> = ca.iter().flat_map(|file| ["--ca", name(file)]).collect();
        let result = run(&url(&proxy), &flags);
        match said {
            Ok(()) => drop(all_well(result)),
            Err(parts) => {
                let line = tls_complaint(result);
                assert!(parts.iter().all(|part| line.contains(part)), "{parts:?}: {line}");
                all_well(run(&url(&proxy), &["--insecure"]));
            }
        }
    }
}

#[test]
fn client_certificates_are_presented() {
    let (authority, other) = (Authority::new("issuer"), Authority::new("another issuer"));
    let (known, unknown) = (authority.issue(&["client"], 3000), other.issue(&["client"], 3000));
    for (version, alert) in [("TLSv1.2", "handshake_failure"), ("TLSv1.3", "certificate_required")] {
        let bind = format!(
            "verify required ca-file {} ssl-min-ver {version} ssl-max-ver {version}",
            authority.file.display()
        );
        let Some((proxy, _stage)) = pair(&authority, &bind) else { return };
        let with = |more: &[&str]| run(&url(&proxy), &[&["--ca", name(&authority.file)], more].concat());
        all_well(with(&["--cert", name(&known), "--key", name(&known)]));
        let said = tls_complaint(with(&[]));
        assert!(said.contains(&format!("the TLS alert {alert}")) && said.contains("--cert"), "{said}");
        let said = tls_complaint(with(&["--cert", name(&unknown), "--key", name(&unknown)]));
        assert!(said.contains("the TLS alert unknown_ca") && said.contains("issuer of --cert"), "{said}");
    }
}

#[test]
fn sessions_are_resumed_on_request_only() {
    let authority = Authority::new("issuer");
    for version in ["TLSv1.2", "TLSv1.3"] {
        let bind = format!("ssl-min-ver {version} ssl-max-ver {version}");
        let Some((proxy, _stage)) = pair(&authority, &bind) else { return };
        // One after the other, so that each has the tickets of those before.
        let flags = ["--ca", name(&authority.file), "--connect-rate", "40", "--shards", "1"];
        let resumed = |more: &[&str]| {
            let connect = all_well(run(&url(&proxy), &[&flags[..], more].concat())).connect;
            connect.and_then(|connect| connect.parts).map(|parts| parts.tls_resumed)
        };
        assert_eq!(resumed(&[]), Some(0));
        assert!(resumed(&["--tls-resume"]).is_some_and(|resumed| (1..4).contains(&resumed)), "{version}");
    }
}

/// A server that answers each connection with these bytes.
fn answering(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
            // So that what it has not read does not reset the connection.
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    port
}

#[test]
fn tls_and_plain_ports_are_told_apart() {
    const NGINX: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 85\r\n\r\n<html>\r\n<head><title>400 The \
        plain HTTP request was sent to HTTPS port</title></head>\r\n";
    for (scheme, answer, parts) in [
        ("wss", &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], ["'HTTP/1.1 400 Bad Request'", "as ws://"]),
        ("wss", b"SSH-2.0-OpenSSH_9.9\r\n", ["without TLS: 'SSH-2.0-OpenSSH_9.9'", "as ws://"]),
        ("ws", b"\x15\x03\x01\x00\x02\x02\x50", ["a TLS alert: it expects TLS", "as wss://"]),
        ("ws", NGINX, ["400 Bad Request, body '<html>': it expects TLS", "as wss://"]),
    ] {
        let line = tls_complaint(run(&format!("{scheme}://127.0.0.1:{}/", answering(answer)), &[]));
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?}: {line}");
    }
    let Some(stage) = Stage::start("stage4-zero-buffer", &[]) else { return };
    let line = tls_complaint(run(&stage.url.replace("ws://", "wss://"), &[]));
    assert!(line.contains("the server answered without TLS: 'HTTP/1.1 400"), "{line}");
}

#[test]
fn both_sides_of_a_race_may_be_over_tls() {
    let authority = Authority::new("issuer");
    let Some((proxy, stage)) = pair(&authority, "") else { return };
    let load = "--connections 4 --hold 0s --duration 100ms --quiet --json -";
    let raced = client(&format!("race {} {} {load}", url(&proxy), stage.url))
        .args(["--ca", name(&authority.file)])
        .output();
    let raced = raced.expect("the client runs");
    assert_eq!(raced.status.code(), Some(0), "{}", text(&raced.stderr));
}

/// One line each, and nothing is connected to.
#[test]
fn bad_flags_are_rejected() {
    let authority = Authority::new("issuer");
    let (one, two) = (authority.issue(&["a"], 3000), authority.issue(&["b"], 3000));
    let file = |content: &str| {
        let file = scratch("bad.pem");
        fs::write(&file, content).expect("a file");
        name(&file).to_owned()
    };
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let (empty, cut) = (file(""), file("-----BEGIN CERTIFICATE-----\nAAAA\n"));
    let (encrypted, garbage) = (file(encrypted), file(garbage));
    let (one, two) = (name(&one), name(&two));
    for (flags, part) in [
        (&["--ca", "/nowhere.pem"][..], "cannot read /nowhere.pem: No such file"),
        (&["--ca", "/dev/zero"], "longer than"),
        (&["--ca", &empty], "has no certificate in PEM"),
        (&["--ca", &cut], "is not valid PEM: a section has no END line"),
        (&["--ca", one, "--insecure"], "--insecure"),
        (&["--cert", one], "--key"),
        (&["--key", one], "--cert"),
        (&["--cert", one, "--key", &empty], "has no private key in PEM"),
        (&["--cert", one, "--key", &encrypted], "openssl pkey"),
        (&["--cert", one, "--key", two], "does not match the first certificate"),
        (&["--cert", &garbage, "--key", two], "is not valid X.509"),
        (&["--ca", &garbage], "certificate 1 in"),
        (&["--url", "ws://127.0.0.1:1/", "--insecure"], "--insecure is for wss:// only"),
        (&["--url", "ws://127.0.0.1:1/", "--ca", one], "--ca is for wss:// only"),
        (&["--url", "ws://127.0.0.1:1/", "--tls-resume"], "--tls-resume is for wss:// only"),
    ] {
        let mut client = client("run");
        if !flags.contains(&"--url") {
            client.args(["--url", "wss://127.0.0.1:1/"]);
        }
        let rejected = client.args(flags).output().expect("the client runs");
        let said = text(&rejected.stderr);
        assert_eq!((rejected.status.code(), said.lines().count()), (Some(2), 1), "{flags:?}: {said}");
        assert!(said.starts_with("client: ") && said.contains(part), "{flags:?}: {said}");
    }
    let anatomy = client("anatomy --pid 1 --url wss://127.0.0.1:1/").output().expect("the client runs");
    assert_eq!(anatomy.status.code(), Some(2), "{}", text(&anatomy.stderr));
}

/// Without --ca, the system's certificates count.
#[test]
fn system_certificates_are_used() {
    let authority = Authority::new("issuer");
    let Some((proxy, _stage)) = pair(&authority, "") else { return };
    let with = |file: &Path| {
        let mut client = Command::new(CLIENT);
        client.args(["run", "--quiet", "--url", &url(&proxy)]).args(LOAD.split(' '));
        client.env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR").output().expect("the client runs")
    };
    let trusted = with(&authority.file);
    assert!(trusted.status.success(), "{}", text(&trusted.stderr));
    let none = with(Path::new("/dev/null"));
    let said = text(&none.stderr);
    assert_eq!((none.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("no trusted certificates") && said.contains("--ca FILE"), "{said}");
}
