//! A [`Stream`] against rustls's server, with the bytes of both in any pieces.

use super::{Certificates, Client, Options, Status, Stream, explain, provider};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::sync::{Arc, LazyLock};

struct Pair {
    config: Arc<ServerConfig>,
    client: Client,
}

/// A server with a certificate for `localhost`, and clients that trust it, by version of TLS.
static PAIRS: LazyLock<[Pair; 2]> = LazyLock::new(|| [&TLS12, &TLS13].map(pair));

fn pair(version: &'static SupportedProtocolVersion) -> Pair {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let file = std::env::temp_dir().join(format!("stream-{}-{version:?}.pem", std::process::id()));
    std::fs::write(&file, certificate.pem()).expect("a file");
    let ca = Certificates::read(file.to_str().expect("UTF-8")).expect("a certificate");
    std::fs::remove_file(&file).expect("removed");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a key");
    let options = Options { ca: Some(&ca), resume: true, ..Options::default() };
    Pair { config: Arc::new(config), client: Client::new("localhost", options).expect("a client") }
}

/// Both ends of a connection, and what has passed between them.
struct Both {
    client: Stream,
    server: ServerConnection,
    /// What the client has decrypted.
    plaintext: Vec<u8>,
    to_server: Vec<u8>,
    /// The lengths of the pieces, used round-robin.
    pieces: Vec<usize>,
    next: usize,
    status: Status,
}

impl Both {
    fn new(pair: &Pair, pieces: &[usize]) -> Both {
        let mut both = Both {
            client: Stream::new(&pair.client).expect("random bytes"),
            server: ServerConnection::new(pair.config.clone()).expect("a server"),
            plaintext: Vec::new(),
            to_server: Vec::new(),
            pieces: pieces.to_vec(),
            next: 0,
            status: Status::Handshaking,
        };
        both.status = both.client.receive(&mut [], &mut both.plaintext, &mut both.to_server).expect("hello");
        both
    }

    fn piece_len(&mut self) -> usize {
        self.next += 1;
        self.pieces[self.next % self.pieces.len()]
    }

    /// Passes bytes until there are none.
    fn settle(&mut self) {
        loop {
            let sent = std::mem::take(&mut self.to_server);
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let mut piece = &rest[..self.piece_len().min(rest.len())];
                rest = &rest[piece.len()..];
                while !piece.is_empty() {
                    self.server.read_tls(&mut piece).expect("from memory");
                    self.server.process_new_packets().expect("valid records");
                }
            }
            let mut sent = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut sent).expect("to memory");
            }
            if sent.is_empty() && self.to_server.is_empty() {
                return;
            }
            let mut at = 0;
            while at < sent.len() {
                let end = sent.len().min(at + self.piece_len());
                let piece = &mut sent[at..end];
                self.status =
                    self.client.receive(piece, &mut self.plaintext, &mut self.to_server).expect("valid");
                at = end;
            }
        }
    }

    /// Has the client send, and the server read, this message.
    fn deliver(&mut self, message: &[u8]) {
        self.client.send(message, &mut self.to_server).expect("open");
        self.settle();
        let mut read = vec![0; message.len()];
        self.server.reader().read_exact(&mut read).expect("all of it");
        assert!(read == message, "the server read something else");
    }
}

fn message(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_may_be_cut_anywhere(
        version in 0..2usize,
        pieces in prop::collection::vec(prop_oneof![1..8usize, 1..400usize, 1..40_000usize], 1..6),
        messages in prop::collection::vec(prop_oneof![0..64usize, 0..12_000usize], 1..4),
        updates in any::<bool>(),
    ) {
        let mut both = Both::new(&PAIRS[version], &pieces);
        both.settle();
        prop_assert_eq!(both.status, Status::Open);
        for len in messages {
            if updates && version == 1 {
                both.server.refresh_traffic_keys().expect("TLS 1.3");
            }
            let sent = message(len);
            both.server.writer().write_all(&sent).expect("to memory");
            both.settle();
            prop_assert!(both.plaintext == sent, "{} bytes of {}", both.plaintext.len(), len);
            both.plaintext.clear();
            both.deliver(&sent);
        }
        both.server.send_close_notify();
        both.settle();
        prop_assert_eq!(both.status, Status::Closed);
        both.client.close(&mut both.to_server);
        both.settle();
        prop_assert!(both.server.process_new_packets().expect("valid").peer_has_closed());
    }

    /// A frame is sent while the beginning of a record waits for its end.
    #[test]
    fn both_directions_are_independent(version in 0..2usize, len in 1..2_000usize, cut in 1..2_000usize) {
        let mut both = Both::new(&PAIRS[version], &[1_000]);
        both.settle();
        both.server.writer().write_all(&message(len)).expect("to memory");
        let mut sent = Vec::new();
        both.server.write_tls(&mut sent).expect("to memory");
        let cut = cut.min(sent.len() - 1);
        let (first, second) = sent.split_at_mut(cut);
        both.client.receive(first, &mut both.plaintext, &mut both.to_server).expect("valid");
        both.deliver(b"meanwhile");
        both.client.receive(second, &mut both.plaintext, &mut both.to_server).expect("valid");
        prop_assert_eq!(&both.plaintext, &message(len));
    }

    /// Whatever a server sends, in the handshake and after it, is an error at worst.
    #[test]
    fn no_bytes_panic(
        version in 0..2usize,
        is_open in any::<bool>(),
        records in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 0..4),
        end in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut both = Both::new(&PAIRS[version], &[1_000]);
        if is_open {
            both.settle();
        }
        let framed = records.iter().flat_map(|(kind, content)| {
            let len = (content.len() as u16).to_be_bytes();
            [&[20 + kind % 5, 3, 3], &len[..], content].concat()
        });
        let mut bytes: Vec<u8> = framed.chain(end).collect();
        if let Err(error) = both.client.receive(&mut bytes, &mut both.plaintext, &mut both.to_server) {
            prop_assert!(!both.client.explain(&error).is_empty());
            return Ok(());
        }
        let _ = both.client.send(b"x", &mut both.to_server);
        both.client.close(&mut both.to_server);
    }
}

#[test]
fn a_second_connection_resumes_the_session() {
    for pair in &*PAIRS {
        let resumed = |_| {
            let mut both = Both::new(pair, &[100]);
            both.settle();
            both.client.is_resumed()
        };
        // Other tests may use up the tickets.
        assert!((0..20).any(resumed));
    }
}

#[test]
fn a_failure_is_explained_and_the_server_is_sent_an_alert() {
    let other =
        Client::new("other.example", Options { insecure: true, ..Options::default() }).expect("a client");
    assert!(format!("{other:?}").contains("other.example"));
    for Pair { config, client } in &*PAIRS {
        let trusting = Client { name: "other.example".try_into().expect("a name"), ..client.clone() };
        let pair = Pair { config: config.clone(), client: trusting };
        let mut both = Both::new(&pair, &[1_000]);
        both.server.read_tls(&mut &both.to_server[..]).expect("from memory");
        both.server.process_new_packets().expect("valid");
        both.to_server.clear();
        let mut sent = Vec::new();
        while both.server.wants_write() {
            both.server.write_tls(&mut sent).expect("to memory");
        }
        let error =
            both.client.receive(&mut sent, &mut both.plaintext, &mut both.to_server).expect_err("a name");
        let why = "the server's certificate is not for other.example, but for localhost";
        assert_eq!((explain(&error).as_str(), both.client.explain(&error).as_str()), (why, why));
        both.server.read_tls(&mut &both.to_server[..]).expect("from memory");
        let alert = both.server.process_new_packets().expect_err("an alert");
        assert_eq!(explain(&alert), "the server sent the TLS alert bad_certificate");
    }
}
