//! A program that speaks TLS by rustls, for the tests of capture: `rustls-client HOST:PORT PATH BODY` posts
//! and waits for the answer; `rustls-client HOST:PORT --plan FILE` says what a plan has, see `hoop_tests::tls::plan`. It believes every certificate: the tests' servers make their own.

use std::{
    io::{IoSlice, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, Stream,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("HOST:PORT PATH BODY");
    let (host, path, body) = (next()?, next()?, next()?);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer))
        .with_no_client_auth();
    let config = Arc::new(config);
    if path == "--plan" {
        let talks: Vec<Talk> = serde_json::from_str(&std::fs::read_to_string(body)?)?;
        return talks.iter().try_for_each(|talk| say(&host, &config, talk));
    }
    let name = ServerName::try_from("localhost")?;
    let mut connection = ClientConnection::new(config, name)?;
    let mut socket = TcpStream::connect(&host)?;
    let mut tls = Stream::new(&mut connection, &mut socket);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    // In two slices, as HTTP libraries write.
    let slices = [IoSlice::new(head.as_bytes()), IoSlice::new(body.as_bytes())];
    let written = tls.write_vectored(&slices)?;
    let rest = [head.as_bytes(), body.as_bytes()].concat();
    tls.write_all(&rest[written..])?;
    tls.flush()?;
    let mut answer = Vec::new();
    // The server may close without saying so in TLS.
    let _ = tls.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.contains("the answer"), "no answer: {answer}");
    Ok(())
}

/// What to say on a connection of its own.
#[derive(Debug, serde::Deserialize)]
struct Talk {
    send: Vec<String>,
    until: String,
}

fn say(host: &str, config: &Arc<ClientConfig>, talk: &Talk) -> Result<()> {
    let bytes = |text: &str| text.chars().map(|byte| byte as u8).collect::<Vec<u8>>();
    let name = ServerName::try_from("localhost")?;
    let mut connection = ClientConnection::new(Arc::clone(config), name)?;
    let mut socket = TcpStream::connect(host)?;
    let mut tls = Stream::new(&mut connection, &mut socket);
    for piece in &talk.send {
        tls.write_all(&bytes(piece))?;
    }
    let (mut seen, mut room) = (Vec::new(), [0; 16_384]);
    let until = bytes(&talk.until);
    while !seen.windows(until.len()).any(|window| window == until) {
        let received = tls.read(&mut room)?;
        ensure!(received > 0, "the connection ended early");
        seen.extend_from_slice(&room[..received]);
    }
    Ok(())
}

/// Believes everybody.
#[derive(Debug)]
struct Believer;

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
