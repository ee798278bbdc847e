//! `--text`, `--payload MIN-MAX`, `--payload-file`, `--expect` and `--verify`, from outside.

use crate::local::{LOAD, a_result, client, echo_server, output, scratch, text, url};
use client::run::RunReport;
use common::http::{Request, parse, switching_protocols};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Output;
use std::thread;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

/// The opening handshake, with the greetings in the segment of the response: they come before any message.
fn greet(mut stream: TcpStream, greetings: usize) -> io::Result<WebSocket<TcpStream>> {
    let (mut request, mut byte) = (Vec::new(), [0]);
    let accept_key = loop {
        stream.read_exact(&mut byte)?;
        request.extend(byte);
        if let Request::Upgrade { accept_key, .. } = parse(&request) {
            break accept_key;
        }
    };
    let mut segment = switching_protocols(&accept_key, None);
    for number in 0..greetings {
        let greeting = format!("greeting {number}");
        segment.extend([0x81, u8::try_from(greeting.len()).expect("short")]);
        segment.extend(greeting.bytes());
    }
    stream.write_all(&segment)?;
    Ok(WebSocket::from_raw_socket(stream, Role::Server, None))
}

/// A server that sends `greetings` texts, and then answers each message with what `reply` makes of it.
fn server(greetings: usize, reply: fn(Message) -> Vec<Message>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let serve = move |stream| -> tungstenite::Result<()> {
        let mut socket = greet(stream, greetings)?;
        loop {
            let message = socket.read()?;
            if message.is_text() || message.is_binary() {
                reply(message).into_iter().try_for_each(|reply| socket.send(reply))?;
            }
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // It ends with an error when the peer closes.
            thread::spawn(move || serve(stream));
        }
    });
    url_of(address)
}

fn url_of(address: SocketAddr) -> String {
    format!("ws://{address}/")
}

fn echo(message: Message) -> Vec<Message> {
    vec![message]
}

/// A short load, of the duration that the flags give.
fn load(flags: &str) -> &str {
    if flags.contains("--duration") { "--connections 4 --warmup 0s" } else { LOAD }
}

/// Runs a short load with its JSON on standard output, and its summary on standard error.
fn run(url: &str, flags: &str) -> (Output, RunReport) {
    let output = output(&format!("run --url {url} {} --quiet --json - {flags}", load(flags)));
    let report =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (output, report)
}

/// The same of a load that succeeds: its summary, its JSON, and the report.
#[track_caller]
fn succeeds(url: &str, flags: &str) -> (String, serde_json::Value, RunReport) {
    let (output, report) = run(url, flags);
    let summary = text(&output.stderr);
    assert_eq!((output.status.code(), report.failures.total()), (Some(0), 0), "{flags}: {summary}");
    (summary, serde_json::from_slice(&output.stdout).expect("JSON"), report)
}

#[track_caller]
fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn text_of_lengths_in_a_range_after_greetings() {
    let url = server(2, echo);
    let (summary, json, report) =
        succeeds(&url, "--text --payload 10-64 --expect greeting=2 --in-flight 5 --reconnect");
    assert_says(&summary, &["payload 10 B to 64 B of text", "greetings    8", "all verified"]);
    let sent = serde_json::json!([json["text"], json["payload_min_bytes"], json["payload_bytes"]]);
    assert_eq!(sent, serde_json::json!([true, 10, 64]));
    assert_eq!((&json["greetings"], json.get("verify"), json.get("pushed")), (&8.into(), None, None));
    let echo = report.echo.expect("echoes");
    let mean = echo.bytes as f64 / echo.echoes as f64;
    assert!(echo.echoes >= 20 && (20.0..55.0).contains(&mean), "{mean} bytes in {}", echo.echoes);
    assert_eq!(echo.missing, 0);
    for flags in ["--scenario storm", "--scenario burst", "--scenario churn --rate 50", "--rate 100"] {
        let (_, json, _) = succeeds(&url, &format!("--text --payload 0-3000 --expect greeting=2 {flags}"));
        assert!(json["greetings"].as_u64() >= Some(8), "{json}");
    }
}

#[test]
fn the_bytes_of_a_file() {
    let file = scratch("payload");
    fs::write(&file, "{\"grüße\": 1}\n").expect("a file");
    for flags in ["", "--text", "--rate 100", "--in-flight 9 --verify any"] {
        let (summary, json, report) =
            succeeds(&server(0, echo), &format!("--payload-file {} {flags}", file.display()));
        assert_says(&summary, &["payload 15 B", "from a file"]);
        assert_eq!((&json["payload_file"], &json["payload_bytes"]), (&true.into(), &15.into()));
        let echo = report.echo.expect("echoes");
        assert_eq!((echo.bytes, echo.missing), (15 * echo.echoes, 0));
    }
    // A server that changes a byte.
    let change = |message: Message| {
        let mut bytes = message.into_data().to_vec();
        bytes[14] ^= 1;
        vec![Message::binary(bytes)]
    };
    let (output, report) = run(&server(0, change), &format!("--payload-file {}", file.display()));
    assert_eq!((output.status.code(), report.failures.wrong_echo), (Some(1), 4), "{}", text(&output.stderr));
}

#[test]
fn replies_of_any_content() {
    let url = server(0, |message| vec![Message::text(format!("{} bytes", message.len()))]);
    let hdr = scratch("hdr");
    let (summary, json, report) = succeeds(&url, &format!("--verify any --hdr {}", hdr.display()));
    assert_says(&summary, &["replies", "connections, of any content", "p99.9"]);
    assert!(!summary.contains("verified") && !summary.contains("pushed"), "{summary}");
    assert_eq!(json["verify"], "any");
    let echo = report.echo.expect("replies");
    assert_eq!((echo.bytes, echo.missing, echo.latency.0.len()), (8 * echo.echoes, 0, echo.echoes));
    let hdr = fs::read_to_string(hdr).expect("a file");
    assert!(hdr.contains(&format!("Total count    = {:12}]", echo.echoes)), "{hdr}");
    // More replies than messages: the others are pushed.
    let url = server(0, |message| vec![message.clone(), message]);
    let (summary, _, report) = succeeds(&url, "--verify any --rate 100 --duration 300ms");
    assert_eq!(report.echo.map(|echo| (echo.echoes, echo.missing)), Some((30, 0)));
    assert!(report.pushed.is_some(), "{summary}");
    // It is no echo.
    let (output, report) = run(&url, "");
    assert!(report.failures.wrong_echo > 0 && output.status.code() == Some(1), "{}", text(&output.stderr));
}

#[test]
fn no_reply_is_awaited() {
    let url = server(1, |message| vec![Message::binary(vec![0; 10]), message]);
    let hdr = scratch("hdr");
    let flags = format!("--verify none --rate 500 --payload 20 --hdr {} --duration 300ms", hdr.display());
    let (summary, json, report) = succeeds(&url, &flags);
    assert_says(&summary, &["sent         150 in", "no reply awaited", "pushed", "0 missing"]);
    assert!(!summary.contains("verified") && !summary.contains("latency"), "{summary}");
    assert_eq!(json["verify"], "none");
    let (echo, pushed) = (report.echo.expect("messages"), report.pushed.expect("pushed"));
    assert_eq!((echo.sent, echo.echoes, echo.missing, echo.bytes), (150, 0, 0, 0));
    assert!(pushed.messages > 4 && pushed.bytes > 10 * pushed.messages, "{pushed:?}");
    let hdr = fs::read_to_string(hdr).expect("a file");
    assert!(hdr.contains("Total count    =            4]"), "of the handshakes: {hdr}");
    for flags in ["--scenario storm", "--scenario churn --rate 50", "--scenario idle"] {
        succeeds(&url, &format!("--verify none {flags}"));
    }
}

#[test]
fn idle_connections_take_pushes() {
    let (summary, json, report) = succeeds(&server(3, echo), "--scenario idle --duration 500ms");
    assert_says(&summary, &["pushed       12 messages from the server that are no replies, 120 B"]);
    assert_eq!((report.hold.map(|hold| (hold.held, hold.lost)), json.get("verify")), (Some((4, 0)), None));
    assert_eq!(json["pushed"], serde_json::json!({"messages": 12, "bytes": 120}));
    let (_, json, _) = succeeds(&server(3, echo), "--scenario idle --duration 500ms --expect greeting=2");
    assert_eq!((&json["greetings"], &json["pushed"]["messages"]), (&8.into(), &4.into()));
}

#[test]
fn what_fails_names_the_flag_that_helps() {
    let too_early = ["wrong_echo", "a message arrived before one was sent", "add --expect greeting"];
    let missing = ["timeout", "no greeting in time", "omit --expect greeting"];
    for (greetings, flags, parts) in [
        (1, "", too_early),
        (2, "--expect greeting", too_early),
        (0, "--expect greeting --connect-timeout 200ms", missing),
    ] {
        let (output, _) = run(&server(greetings, echo), flags);
        assert_eq!(output.status.code(), Some(1), "{flags}");
        assert_says(&text(&output.stderr), &parts);
    }
    // One that answers with the other type.
    let binary = server(0, |message| vec![Message::binary(message.into_data())]);
    let said = text(&run(&binary, "--text").0.stderr);
    assert_says(&said, &["an echo is a binary message instead of a text one", "--verify any or none"]);
}

#[test]
fn usual_results_have_no_new_fields() {
    let (summary, json, _) = succeeds(&url(), "");
    assert_says(&summary, &["payload 32 B\n", "all verified"]);
    for name in ["text", "payload_min_bytes", "payload_file", "verify", "greetings", "pushed"] {
        assert_eq!(json.get(name), None, "{name}");
    }
}

#[test]
fn results_are_merged_if_their_messages_are_alike() {
    let url = server(1, |message| vec![message.clone(), message]);
    let made = |flags: &str| {
        let file = scratch("result.json");
        let ran = output(&format!("run --url {url} {LOAD} --quiet {flags} --json {}", file.display()));
        assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
        file
    };
    let any = [0, 1].map(|_| made("--verify any --expect greeting --rate 100"));
    let merge = |files: [&PathBuf; 2]| {
        output(&format!("merge {} {} --json -", files[0].display(), files[1].display()))
    };
    let merged = merge([&any[0], &any[1]]);
    let json: serde_json::Value = serde_json::from_slice(&merged.stdout).expect("JSON");
    assert_eq!(
        (&json["verify"], &json["greetings"], &json["clients"]),
        (&"any".into(), &8.into(), &2.into())
    );
    let one: Vec<RunReport> = any
        .iter()
        .map(|file| serde_json::from_str(&fs::read_to_string(file).expect("a file")).expect("JSON"))
        .collect();
    let pushed: u64 = one.iter().filter_map(|report| report.pushed).map(|pushed| pushed.messages).sum();
    assert_eq!(json["pushed"]["messages"].as_u64().unwrap_or_default(), pushed);
    let usual = a_result(&url_of(echo_server("127.0.0.1:0")));
    let differs = merge([&any[0], &usual]);
    let said = text(&differs.stderr);
    assert!(differs.status.code() == Some(1) && said.contains("--verify any"), "{said}");
}

#[test]
fn a_race_takes_them_too() {
    let load = "--connections 4 --hold 0s --duration 100ms --quiet --text --payload 5-50 --expect greeting";
    let ran = output(&format!("race {} {} {load} --verify any", server(1, echo), server(1, echo)));
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
}

/// One line each, and nothing is sent.
#[test]
fn contradictions_and_bad_values_are_rejected() {
    let binary = scratch("binary");
    fs::write(&binary, b"ab\xff").expect("a file");
    let binary = binary.display();
    for (flags, named) in [
        ("--verify none", "give --rate"),
        ("--verify none --text --duration 1s", "give --rate"),
        ("--verify none --scenario burst", "choose another scenario"),
        ("--verify none --scenario burst --rate 10", "choose another scenario"),
        ("--verify some", "[possible values: echo, any, none]"),
        ("--expect hello", "neither 'greeting' nor 'greeting=N'"),
        ("--expect greeting=0", "must be at least 1"),
        ("--expect greeting=x", "not a whole number"),
        ("--expect greeting=1_001", "more than 1000"),
        ("--payload 64-32", "give the range as MIN-MAX"),
        ("--payload 1-", "not a size"),
        ("--payload 1-17MiB", "more than 16"),
        ("--payload 1-2-3", "not a size"),
        ("--payload 0-1MiB --in-flight 1024", "which is more than 64"),
        ("--payload-file /nowhere/x", "cannot read it: No such file"),
        ("--payload-file /", "cannot read it"),
        ("--payload-file /dev/zero", "longer than 16"),
        ("--payload-file /dev/null --payload 5", "cannot be used with"),
        (&format!("--payload-file {binary} --text"), "not UTF-8 from byte 2 on: omit --text"),
    ] {
        for subcommand in ["run", "race ws://127.0.0.1:1/ ws://127.0.0.1:1/"] {
            if flags.contains("burst") && subcommand != "run" {
                continue;
            }
            let rejected = client(&format!("{subcommand} {flags}")).output().expect("the client runs");
            let said = text(&rejected.stderr);
            assert_eq!((rejected.status.code(), said.lines().count()), (Some(2), 1), "{flags}: {said}");
            assert!(said.starts_with("client: ") && said.contains(named), "{flags}: {said}");
        }
    }
    let (_, _, report) = succeeds(&server(0, echo), &format!("--payload-file {binary}"));
    assert_eq!(report.payload_bytes, 3, "it is sent in binary messages");
    succeeds(&server(0, echo), "--payload-file /dev/null --text");
}
