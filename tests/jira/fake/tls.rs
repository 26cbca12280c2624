//! HTTPS on loopback: a certificate authority for one test, and a certificate
//! of it for the hosts that are played.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned, crypto::ring::default_provider,
    pki_types::PrivatePkcs8KeyDer,
};

/// What one fake shows.
pub struct Tls {
    pub config: Arc<ServerConfig>,
    /// PEM of the authority. Goes with this value.
    pub ca_file: PathBuf,
}

impl Tls {
    pub fn new(hosts: &[String], self_signed: bool) -> Tls {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "CA of a test");
        let key = KeyPair::generate().expect("a key");
        let pem = authority.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(authority, key);

        let mut site = CertificateParams::new(hosts).expect("names of hosts");
        site.distinguished_name
            .push(DnType::CommonName, "a Jira of a test");
        let key = KeyPair::generate().expect("a key");
        let certificate = if self_signed {
            site.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            site.self_signed(&key)
        } else {
            site.signed_by(&key, &issuer)
        };
        let certificate = certificate.expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .expect("a certificate that fits its key");

        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fake-jira-ca-{}-{number}.pem", std::process::id());
        let ca_file = std::env::temp_dir().join(name);
        fs::write(&ca_file, pem).expect("a file for the CA");
        Tls {
            config: Arc::new(config),
            ca_file,
        }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.ca_file);
    }
}

/// The handshake happens with the first bytes.
pub fn accept(
    config: &Arc<ServerConfig>,
    stream: TcpStream,
) -> Option<StreamOwned<ServerConnection, TcpStream>> {
    let connection = ServerConnection::new(Arc::clone(config)).ok()?;
    Some(StreamOwned::new(connection, stream))
}
