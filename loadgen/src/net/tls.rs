//! TLS as a client, over a socket that never blocks: what is trusted, and a stream that says what went wrong with a certificate in one line.
//! Imports nothing of this crate.

use std::{
    io::{self, ErrorKind, Read, Write},
    path::Path,
    sync::Arc,
};

use mio::net::TcpStream;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// Bytes that a stream takes before the kernel takes them; whoever sends more has to wait.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// The configuration of all connections of a run. Trusted are the system's certificates and those of the PEM file `ca`; with `insecure` any
/// certificate passes, but its key must have signed the handshake.
///
/// # Errors
/// One line: the file cannot be read or holds no certificate, or there is nothing to trust.
pub fn client_config(insecure: bool, ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = if insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))).with_no_client_auth()
    } else {
        builder.with_root_certificates(roots(ca)?).with_no_client_auth()
    };
    // RFC 6455's handshake is HTTP/1.1; a server that would rather speak h2 must not choose it.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each connection stands for another client, which the server has never met: every handshake is to cost the server a full one.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // What of the system's store is no certificate is left out, as everybody leaves it out.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let failed = |error: &dyn std::fmt::Display| format!("--ca {}: {error}", path.display());
        let mut certificates = 0;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
            roots.add(certificate.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
            certificates += 1;
        }
        if certificates == 0 {
            return Err(failed(&"expected a PEM file with certificates"));
        }
    }
    if roots.is_empty() {
        return Err("this system trusts no certificates: try --ca FILE, or -k".into());
    }
    Ok(roots)
}

/// Passes any certificate, whoever issued it to whomever.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS over a non-blocking socket. The handshake makes its way inside [`flush`](TlsStream::flush) when the socket is writable and
/// [`read`](TlsStream::read) when it is readable, until [`is_handshaking`](TlsStream::is_handshaking) is false; only then does
/// [`write`](TlsStream::write) take anything.
pub struct TlsStream<S = TcpStream> {
    connection: ClientConnection,
    socket: S,
}

impl<S: Read + Write> TlsStream<S> {
    /// A stream that will ask for `host`, a name or an IP address, over a socket that may still be connecting.
    ///
    /// # Errors
    /// `InvalidInput` for a host that no certificate can be for.
    pub fn new(socket: S, config: &Arc<ClientConfig>, host: &str) -> io::Result<TlsStream<S>> {
        let refused = |error: &dyn std::fmt::Display| io::Error::new(ErrorKind::InvalidInput, format!("{host}: {error}"));
        let name = ServerName::try_from(host.to_owned()).map_err(|error| refused(&error))?;
        let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(|error| refused(&error))?;
        connection.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        Ok(TlsStream { connection, socket })
    }

    /// The socket itself, to be registered.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Whether the handshake is still under way.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Reads into `buffer`, which is not empty. 0 is the end: the server's close_notify, or its connection's end without one, which many
    /// servers leave out; a WebSocket says itself where it ends.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there yet; `UnexpectedEof` in the handshake; `InvalidData` with one line for what is wrong with the
    /// server's TLS or its certificate; or the socket's.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && self.is_handshaking() => {
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection during the TLS handshake"));
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            self.connection.read_tls(&mut self.socket)?;
            let processed = self.connection.process_new_packets();
            // Our part of the handshake, or the alert that says what we refuse. Where that fails, what was read still counts, and a later call
            // fails.
            let _ = self.flush();
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, explained(&error)))?;
        }
    }

    /// Takes bytes from the front of `bytes` and hands to the kernel what it takes of them; returns how many were taken. Those that the kernel
    /// did not take are kept, a bounded number, and have to be [flushed](TlsStream::flush).
    ///
    /// # Errors
    /// `WouldBlock` where nothing was taken: the handshake is under way, or something is still kept. Or the socket's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush()? || self.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = self.connection.writer().write(bytes)?;
        self.flush()?;
        Ok(taken)
    }

    /// Hands to the kernel what is kept; tells whether all of it went.
    ///
    /// # Errors
    /// The socket's.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// What went wrong, in a line for whoever typed the URL.
fn explained(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!("the certificate is for {names}, not for {}: try -k", expected.to_str())
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the certificate's issuer is not trusted here: try --ca FILE, or -k".into()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the certificate has expired: try -k".into()
        }
        // With -k this is what is still asked.
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "a signature is wrong: the server's key is not its certificate's, or the issuer is another of the same name".into()
        }
        // The type within is of a crate that rustls does not pass on; its name is all there is.
        Error::InvalidCertificate(CertificateError::Other(other)) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server's certificate is that of a certificate authority (CA:TRUE), which is none for a server: issue one from it, or try -k"
                .into()
        }
        Error::InvalidCertificate(error) => format!("the certificate does not pass, {error}: try -k"),
        Error::InvalidMessage(error) => format!("the server does not speak TLS here, {error:?}: is it ws://?"),
        Error::AlertReceived(alert) => format!("the server broke TLS off with the alert {alert:?}"),
        error => error.to_string(),
    }
}

/// `localhost` of `DnsName("localhost")`, which is how rustls presents the names of a certificate.
fn bare(presented: &str) -> &str {
    let inside = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.map_or(presented, |inside| inside.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixStream};

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
    use rustls::{
        HandshakeKind, ServerConfig, ServerConnection,
        pki_types::PrivateKeyDer,
        sign::{CertifiedKey, SingleCertAndKey},
    };

    use super::*;

    fn certificate(params: CertificateParams) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    }

    fn params(name: &str) -> CertificateParams {
        CertificateParams::new([name.to_owned()]).unwrap()
    }

    fn server_config(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        // Unlike `with_single_cert`, this does not ask whether the key is the certificate's.
        let pair = SingleCertAndKey::from(CertifiedKey::new(vec![certificate.der().clone()], key));
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(pair));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// What a client trusts that was given this file by `--ca`.
    fn trusting(certificate: &rcgen::Certificate, file: &str) -> Arc<ClientConfig> {
        let path = std::env::temp_dir().join(format!("fantail-load-{}-{file}.pem", std::process::id()));
        fs::write(&path, certificate.pem()).unwrap();
        let config = client_config(false, Some(&path));
        fs::remove_file(&path).unwrap();
        config.unwrap()
    }

    /// A client and a server that take turns.
    struct Pair {
        client: TlsStream<UnixStream>,
        server: ServerConnection,
        socket: UnixStream,
    }

    impl Pair {
        fn new(client: &Arc<ClientConfig>, host: &str, server: &Arc<ServerConfig>) -> Pair {
            let (ours, theirs) = UnixStream::pair().unwrap();
            for socket in [&ours, &theirs] {
                socket.set_nonblocking(true).unwrap();
            }
            let client = TlsStream::new(ours, client, host).unwrap();
            Pair { client, server: ServerConnection::new(Arc::clone(server)).unwrap(), socket: theirs }
        }

        /// The server reads and writes once; returns what it got of the client.
        fn serve(&mut self) -> Vec<u8> {
            let _ = self.server.read_tls(&mut self.socket);
            // An alert from the client is an error here, and the client's to explain.
            let _ = self.server.process_new_packets();
            let mut received = vec![0; 1 << 16];
            let length = self.server.reader().read(&mut received).unwrap_or_default();
            received.truncate(length);
            while self.server.wants_write() && self.server.write_tls(&mut self.socket).is_ok() {}
            received
        }

        fn shake_hands(&mut self) -> Result<(), String> {
            while self.client.is_handshaking() || self.server.is_handshaking() {
                self.client.flush().unwrap();
                self.serve();
                match self.client.read(&mut [0; 16]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.to_string()),
                    Ok(length) => panic!("{length} bytes in the handshake"),
                }
            }
            Ok(())
        }

        fn broken(mut self) -> String {
            self.shake_hands().expect_err("the handshake fails")
        }
    }

    #[test]
    fn bytes_go_both_ways_and_each_handshake_is_a_full_one() {
        let (certificate, key) = certificate(params("localhost"));
        let (client, server) = (trusting(&certificate, "both-ways"), server_config(&certificate, &key));
        for _ in 0..2 {
            let mut pair = Pair::new(&client, "localhost", &server);
            assert_eq!(pair.client.write(b"early").unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(pair.shake_hands(), Ok(()));
            assert_eq!(pair.server.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(pair.server.handshake_kind(), Some(HandshakeKind::Full));

            let sent: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
            let (mut taken, mut got) = (0, Vec::new());
            while taken < sent.len() {
                match pair.client.write(&sent[taken..]) {
                    Ok(length) => taken += length,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        assert!(taken - got.len() < 1 << 20, "the buffers have their bounds");
                        got.extend(pair.serve());
                    }
                }
            }
            while got.len() < sent.len() {
                pair.client.flush().unwrap();
                got.extend(pair.serve());
            }
            assert!(got == sent);

            pair.server.writer().write_all(b"answer").unwrap();
            pair.server.send_close_notify();
            pair.serve();
            let mut buffer = [0; 4];
            assert_eq!((pair.client.read(&mut buffer).unwrap(), &buffer), (4, b"answ"));
            assert_eq!((pair.client.read(&mut buffer).unwrap(), &buffer[..2]), (2, &b"er"[..]));
            assert_eq!(pair.client.read(&mut buffer).unwrap(), 0);
        }
    }

    #[test]
    fn an_end_without_close_notify_is_an_end() {
        let (certificate, key) = certificate(params("localhost"));
        let mut pair = Pair::new(&client_config(true, None).unwrap(), "localhost", &server_config(&certificate, &key));
        pair.shake_hands().unwrap();
        pair.server.writer().write_all(b"last").unwrap();
        pair.serve();
        drop(pair.socket);
        let mut buffer = [0; 16];
        assert_eq!(pair.client.read(&mut buffer).unwrap(), 4);
        assert_eq!(pair.client.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_one_line() {
        let (good, key) = certificate(params("localhost"));
        let (expired, expired_key) = {
            let mut params = params("localhost");
            (params.not_before, params.not_after) = (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
            certificate(params)
        };
        let (other, other_key) = {
            let mut params = CertificateParams::new(["b.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, "another issuer");
            certificate(params)
        };
        let (authority, authority_key) = {
            let mut params = params("localhost");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            certificate(params)
        };
        let (_, foreign_key) = certificate(params("localhost"));
        let any = client_config(true, None).unwrap();
        for (client, server, text) in [
            (trusting(&other, "issuer"), server_config(&good, &key), "the certificate's issuer is not trusted here: try --ca FILE, or -k"),
            (
                trusting(&other, "name"),
                server_config(&other, &other_key),
                "the certificate is for b.example, 127.0.0.1, not for localhost: try -k",
            ),
            (trusting(&expired, "expired"), server_config(&expired, &expired_key), "the certificate has expired: try -k"),
            (
                trusting(&authority, "authority"),
                server_config(&authority, &authority_key),
                "the server's certificate is that of a certificate authority (CA:TRUE), which is none for a server: issue one from it, or try -k",
            ),
            (
                Arc::clone(&any),
                server_config(&good, &foreign_key),
                "a signature is wrong: the server's key is not its certificate's, or the issuer is another of the same name",
            ),
        ] {
            assert_eq!(Pair::new(&client, "localhost", &server).broken(), text);
        }
        for (certificate, key) in [(&other, &other_key), (&expired, &expired_key), (&authority, &authority_key)] {
            assert_eq!(Pair::new(&any, "localhost", &server_config(certificate, key)).shake_hands(), Ok(()));
        }
        assert_eq!(Pair::new(&trusting(&other, "address"), "127.0.0.1", &server_config(&other, &other_key)).shake_hands(), Ok(()));
    }

    #[test]
    fn what_is_no_tls_is_said_in_one_line() {
        for (answer, text) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "the server does not speak TLS here, InvalidContentType: is it ws://?"),
            (b"\x15\x03\x03\x00\x02\x02\x28", "the server broke TLS off with the alert HandshakeFailure"),
            (b"", "the server closed the connection during the TLS handshake"),
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let mut client = TlsStream::new(ours, &client_config(true, None).unwrap(), "localhost").unwrap();
            assert!(client.flush().unwrap());
            let _ = theirs.read(&mut [0; 1 << 14]).unwrap();
            theirs.write_all(answer).unwrap();
            drop(theirs);
            assert_eq!(client.read(&mut [0; 16]).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = client_config(false, Some(&root.join("Cargo.toml"))).unwrap_err();
        assert!(text.ends_with("Cargo.toml: expected a PEM file with certificates"), "{text}");
        let text = client_config(false, Some(&root.join("missing.pem"))).unwrap_err();
        assert!(text.starts_with("--ca ") && text.contains("missing.pem: "), "{text}");
        let (ours, _) = UnixStream::pair().unwrap();
        assert!(TlsStream::new(ours, &client_config(true, None).unwrap(), "a b").is_err());
    }
}
